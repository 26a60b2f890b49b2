# SPDX-License-Identifier: Apache-2.0
"""A wave runs one hook for all resources of an operation.

It works over rows, not memory: it takes the resources whose row says that the hook is not done,
starts them on the process's pool within the limits, polls what is started with back-off (one
thread for all, never one for each), and writes what changed in groups. Run again after a crash,
it goes on where the rows stand: a recorded handle is polled on, a start without a recorded handle
is looked up by `find`.
"""

from collections.abc import Iterator
from typing import Any

from karbor.db import models, repository
from karbor.plugins.interface import Hook
from karbor.protection import run as runs
from karbor.protection.book import Book
from karbor.protection.crew import Crew
from karbor.protection.item import Item, items_of
from karbor.statuses import ResourceStatus


class Wave:
    """One hook of one run. `work` returns when every resource of the hook is done or failed."""

    def __init__(self, run: runs.Run, hook: Hook) -> None:
        self.run, self.hook = run, hook

    def work(self) -> None:
        """Raises Interrupted, and OperationFailed where one failed resource ends the operation."""
        items, failed = self._items()
        if failed and self.run.makes_checkpoint:
            raise runs.OperationFailed(runs.first_cause(failed))
        blocked = {ancestor for row in failed for ancestor in self.run.graph.ancestors(row.position)}
        book = Book(self.run)
        for group in self._groups(items):
            Crew(self.run, self.hook, book, group, blocked).work()

    def _items(self) -> tuple[list[Item], list[Any]]:
        """What is to be worked on, and the rows of what has failed; the other rows, which are large, are let go."""
        rows = repository.find(
            models.OperationResource, filters={'operation_id': self.run.id}, sort=[('position', 'asc')]
        )
        self.run.done = sum(row.status == ResourceStatus.ACTIVE for row in rows)
        failed = [row for row in rows if row.status == ResourceStatus.ERROR]
        return items_of(filter(self._is_due, rows), self.run), failed

    def _groups(self, items: list[Item]) -> Iterator[list[Item]]:
        """``items`` in the groups whose order counts."""
        if self.hook is Hook.MAIN:
            yield items
            return
        by_level: dict[int, list[Item]] = {}
        for item in items:
            by_level.setdefault(self.run.graph.levels[item.position], []).append(item)
        for level in sorted(by_level, reverse=self.hook is not Hook.PREPARE_BEGIN):
            yield by_level[level]

    def _is_due(self, row: Any) -> bool:
        if row.status == ResourceStatus.ERROR or row.hooks & self.hook:
            return False
        resource = self.run.graph.nodes[row.position]
        work = self.run.work_on(resource)
        return work is not None and self.hook in work.hooks_of(resource)
