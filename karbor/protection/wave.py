# SPDX-License-Identifier: Apache-2.0
"""A wave runs one hook for all resources of an operation.

It works over rows, not memory: it takes the resources whose row says that the hook is not done,
starts them on the process's pool within the limits, polls what is started with back-off (one
thread for all, never one for each), and writes what changed in groups. Run again after a crash,
it goes on where the rows stand: a recorded handle is polled on, a start without a recorded handle
is looked up by `find`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from karbor.db import models, repository
from karbor.plugins.interface import Hook
from karbor.protection import run as runs
from karbor.protection.book import Book
from karbor.protection.crew import Crew
from karbor.protection.item import items_of
from karbor.statuses import OperationType, ResourceStatus


class Wave:
    """One hook of one run. `work` returns when every resource of the hook is done or failed."""

    def __init__(self, run: runs.Run, hook: Hook) -> None:
        self.run, self.hook = run, hook

    def work(self) -> None:
        """Raises Interrupted, and OperationFailed where one failed resource ends the operation."""
        rows = self._rows()
        failed = [row for row in rows if row.status == ResourceStatus.ERROR]
        if failed and self.run.operation_type == OperationType.PROTECT:
            raise runs.OperationFailed(runs.first_cause(failed))
        blocked = {ancestor for row in failed for ancestor in self.run.graph.ancestors(row.position)}
        self.run.done = sum(row.status == ResourceStatus.ACTIVE for row in rows)
        book = Book(self.run)
        for group in self._groups([row for row in rows if self._is_due(row)]):
            Crew(self.run, self.hook, book, items_of(group, self.run), blocked).work()

    def _rows(self) -> Sequence[Any]:
        return repository.find(
            models.OperationResource, filters={'operation_id': self.run.id}, sort=[('position', 'asc')]
        )

    def _groups(self, rows: list[Any]) -> Iterator[list[Any]]:
        """``rows`` in the groups whose order counts."""
        if self.hook is Hook.MAIN:
            yield rows
            return
        by_level: dict[int, list[Any]] = {}
        for row in rows:
            by_level.setdefault(row.level, []).append(row)
        for level in sorted(by_level, reverse=self.hook is not Hook.PREPARE_BEGIN):
            yield by_level[level]

    def _is_due(self, row: Any) -> bool:
        if row.status == ResourceStatus.ERROR or row.hooks & self.hook:
            return False
        resource = self.run.graph.nodes[row.position]
        work = self.run.work_on(resource)
        return work is not None and self.hook in work.hooks_of(resource)
