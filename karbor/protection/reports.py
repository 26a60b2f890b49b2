# SPDX-License-Identifier: Apache-2.0
"""What plugins report of their own accord, while they are at work on a resource."""

import threading
from collections.abc import Callable
from typing import Any

from karbor.objects import operation_resource
from karbor.objects.restore import Restore
from karbor.protection import run as runs
from karbor.protection.book import Book
from karbor.protection.calls import Calls
from karbor.protection.item import Item
from karbor.statuses import ResourceStatus


class Reports:
    """What plugins say through `Restore.update_resource_status`, from any thread: written with the rest while the crew
    is at work, at once when it is not.
    """

    def __init__(self, run: runs.Run, calls: Calls, book: Book) -> None:
        self.run, self.calls, self.book = run, calls, book
        # (type, new id) -> position
        self._new_ids = {(old[0], new): run.graph.positions[old] for old, new in list(run.new_ids.items())}
        self._lock = threading.Lock()
        self._is_closed = False

    def close(self) -> None:
        with self._lock:
            self._is_closed = True

    def restore_for(self, item: Item) -> Restore:
        """The restore as the plugin of ``item`` gets it."""
        assert self.run.restore is not None  # noqa: S101  the caller looked
        restore = self.run.restore.obj_clone()

        def recorder(type: str, id: str, status: ResourceStatus | None, details: str | None) -> None:
            if not self._told(item, (type, id), {'status': status, 'status_details': details}):
                operation_resource.record_for_restore(restore.id, type, id, status, details)

        restore.recorder = recorder
        return restore

    def teller(self, item: Item) -> Callable[..., None]:
        """The `Assignment.tell` of ``item``. Nothing is written for a crew that has gone: it raises Interrupted."""

        def tell(key: tuple[str, str], **values: Any) -> None:
            if not self._told(item, key, values):
                raise runs.Interrupted('the work on this resource was given up')

        return tell

    def _told(self, item: Item, key: tuple[str, str], values: dict[str, Any]) -> bool:
        with self._lock:
            if not self._is_closed:
                self.calls.tell(self._take, item, (key, values))
            return not self._is_closed

    def _take(self, item: Item, said: Any, _: Any) -> None:
        """A report names the original's id or the new one; an id that is not known yet is the new one of the item."""
        key, values = said
        position = self.run.graph.positions.get(key, self._new_ids.get(key))
        if position is None:
            position = self._new_ids[key] = item.position
            values = {**values, 'new_id': key[1]}
        if position == item.position and 'new_id' in values:
            item.new_id = values['new_id']
        self.book.enter(position, **values)
