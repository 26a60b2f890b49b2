# SPDX-License-Identifier: Apache-2.0
"""A bank in memory, for tests and examples: it ends with the process."""

import bisect
import io
import threading
from collections.abc import Iterator
from typing import BinaryIO

from oslo_config import cfg

from karbor import exception
from karbor.plugins.banks import interface

BEHIND = '\x7f'  # sorts behind every character of a key


class _Store:
    """Objects by key, and their keys in order."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.objects: dict[str, bytes] = {}
        self.keys: list[str] = []


_stores: dict[str, _Store] = {}
_lock = threading.Lock()


class MemoryBank(interface.Bank):
    """Banks of one ``memory_bank_name`` share what they hold; without a name each has its own."""

    OPTIONS = {'memory_bank_plugin': [cfg.StrOpt('memory_bank_name', default='', help='Banks of one name are one.')]}

    def __init__(self, config: cfg.ConfigOpts) -> None:
        super().__init__(config)
        group = config.memory_bank_plugin if 'memory_bank_plugin' in config else None
        name = group.memory_bank_name if group else ''
        with _lock:
            self._store = _stores.setdefault(name, _Store()) if name else _Store()

    def _write(self, key: str, chunks: Iterator[bytes]) -> None:
        value, store = b''.join(chunks), self._store
        with store.lock:
            if key not in store.objects:
                if self._is_nested(key):
                    raise exception.BankKeyInvalid(f'another object lies above or below {key[:80]!r}')
                bisect.insort(store.keys, key)
            store.objects[key] = value

    def _open(self, key: str) -> BinaryIO:
        with self._store.lock:
            if key not in self._store.objects:
                raise exception.BankObjectNotFound('there is no such object')
            return io.BytesIO(self._store.objects[key])

    def _delete(self, key: str) -> None:
        store = self._store
        with store.lock:
            if store.objects.pop(key, None) is not None:
                del store.keys[bisect.bisect_left(store.keys, key)]

    def _list(self, prefix: str, after: str | None, reverse: bool) -> Iterator[str]:
        with self._store.lock:
            found = self._beginning_with(prefix)
        if after is not None:
            found = found[: bisect.bisect_left(found, after)] if reverse else found[bisect.bisect_right(found, after) :]
        return reversed(found) if reverse else iter(found)

    def _beginning_with(self, prefix: str) -> list[str]:
        keys = self._store.keys
        return keys[bisect.bisect_left(keys, prefix) : bisect.bisect_left(keys, prefix + BEHIND)]

    def _is_nested(self, key: str) -> bool:
        above = key
        while above := above.rpartition('/')[0]:
            if above in self._store.objects:
                return True
        return bool(self._beginning_with(f'{key}/'))
