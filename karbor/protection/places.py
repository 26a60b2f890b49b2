# SPDX-License-Identifier: Apache-2.0
"""How many resources of one type of a provider this process works on at once, and whose turn it is."""

import collections
import threading

from oslo_config import cfg

CONF = cfg.CONF
Kind = tuple[str, str]  # provider id, resource type


class Places:
    """The places of each kind, as many as `max_concurrent_resources_per_type`. Operations that wait for one get
    equal parts: a large one does not keep the small ones out.
    """

    def __init__(self) -> None:
        self._taken: dict[Kind, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self._waiting: dict[Kind, set[str]] = collections.defaultdict(set)
        self._lock = threading.Lock()

    def take(self, kind: Kind, operation_id: str) -> bool:
        """Whether the operation has one place more now; if not, it is remembered as waiting."""
        limit = CONF.protection.max_concurrent_resources_per_type
        with self._lock:
            taken, others = self._taken[kind], self._waiting[kind] - {operation_id}
            part = -(-limit // (len(others) + 1))
            if taken.total() >= limit or taken[operation_id] >= part:
                self._waiting[kind].add(operation_id)
                return False
            self._waiting[kind].discard(operation_id)
            taken[operation_id] += 1
            return True

    def keep(self, kind: Kind, operation_id: str) -> None:
        """The operation has a place since an earlier run: it is counted, whatever the limit."""
        with self._lock:
            self._taken[kind][operation_id] += 1

    def give(self, kind: Kind, operation_id: str) -> None:
        """A place is free again."""
        with self._lock:
            self._taken[kind][operation_id] -= 1

    def leave(self, operation_id: str) -> None:
        """The operation has and wants no place any more."""
        with self._lock:
            for kind in list(self._taken):
                self._taken[kind].pop(operation_id, None)
                self._waiting[kind].discard(operation_id)
