# SPDX-License-Identifier: Apache-2.0
"""Banks as plugins written for Karbor 1.6 know them: the base classes, and that surface over Karbor's banks.

A value is a text, bytes or anything that JSON can hold, and is read as what was written. In the
bank, a text stands as it is unless it would read as JSON; then it is a JSON string.
"""

from abc import ABC, abstractmethod
from typing import Any

import orjson
from oslo_config import cfg

from karbor import exception as faults
from karbor.plugins.banks import interface
from karbor.plugins.legacy import exception, polling


class BankPlugin(ABC):
    """A store of objects by key. Keys are rooted paths of ``[A-Za-z0-9/_.\\-@]``, values are texts or JSON."""

    def __init__(self, config: cfg.ConfigOpts | None = None) -> None:
        super().__init__()
        self._config = config

    @abstractmethod
    def update_object(self, key: str, value: Any, context: Any = None) -> None:
        """Store ``value`` under ``key``. Raises BankCreateObjectFailed, BankUpdateObjectFailed."""

    @abstractmethod
    def get_object(self, key: str, context: Any = None) -> Any:
        """The value. Raises BankGetObjectFailed."""

    @abstractmethod
    def list_objects(
        self,
        prefix: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
        sort_dir: str | None = None,
        context: Any = None,
    ) -> Any:
        """Full keys that begin with ``prefix``, behind ``marker``. Raises BankListObjectsFailed."""

    @abstractmethod
    def delete_object(self, key: str, context: Any = None) -> None:
        """Remove the object. Raises BankDeleteObjectFailed."""

    @abstractmethod
    def get_owner_id(self, context: Any = None) -> str:
        """Who writes to the bank."""


class LeasePlugin(ABC):
    """What some banks do besides. Karbor keeps its own leases, of operations, and calls none of these."""

    @abstractmethod
    def acquire_lease(self) -> None:
        """Raises AcquireLeaseFailed."""

    @abstractmethod
    def renew_lease(self) -> None: ...

    @abstractmethod
    def check_lease_validity(self) -> bool: ...


class Bank:
    """A bank of Karbor's, whole: its keys are full ones."""

    def __init__(self, bank: interface.Bank, owner_id: str = '', is_writable: bool = True) -> None:
        self._store: interface.Bank | interface.Section = bank
        self._owner_id, self.is_writable = owner_id, is_writable

    def update_object(self, key: str, value: Any, context: Any = None) -> None:
        """Store ``value``. Raises BankUpdateObjectFailed, BankReadonlyViolation."""
        self._require_writable()
        try:
            self._store.put(self._place(key), _stored(value))
        except (faults.BankError, TypeError) as fault:
            raise exception.BankUpdateObjectFailed(reason=fault, key=key) from fault

    create_object = update_object

    def get_object(self, key: str, context: Any = None) -> Any:
        """The value, as it was written. Raises BankGetObjectFailed."""
        try:
            data = self._store.get(self._place(key))
        except faults.BankError as fault:
            raise exception.BankGetObjectFailed(reason=fault, key=key) from fault
        return data if key.rpartition('/')[2].startswith('data_') else _read(data)

    def list_objects(
        self,
        prefix: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
        sort_dir: str | None = None,
        context: Any = None,
    ) -> list[str]:
        """Keys behind ``marker`` in the order ``sort_dir`` (asc, desc). Raises BankListObjectsFailed."""
        try:
            after = None if marker is None else self._place(marker)
            return self._store.list(self._prefix(prefix), limit, after, sort_dir == 'desc')
        except faults.BankError as fault:
            raise exception.BankListObjectsFailed(reason=fault) from fault

    def delete_object(self, key: str, context: Any = None) -> None:
        """Remove the object, if it is there. Raises BankDeleteObjectFailed, BankReadonlyViolation."""
        self._require_writable()
        try:
            self._store.delete(self._place(key))
        except faults.BankError as fault:
            raise exception.BankDeleteObjectFailed(reason=fault, key=key) from fault

    def get_owner_id(self, context: Any = None) -> str:
        return self._owner_id

    def get_sub_section(self, section: str, is_writable: bool = True) -> 'BankSection':
        """What lies below ``section``, read-only where this is."""
        raw = interface.Section(_bank_of(self._store), self._below(section))
        return BankSection(raw, self._owner_id, is_writable and self.is_writable)

    def _below(self, section: str) -> str:
        return '/' + section.strip('/')

    def _place(self, key: str) -> str:
        return key if key.startswith('/') else f'/{key}'

    def _prefix(self, prefix: str | None) -> str:
        return self._place(prefix or '')

    def _require_writable(self) -> None:
        polling.may_write()
        if not self.is_writable:
            raise exception.BankReadonlyViolation()


class BankSection(Bank):
    """A part of a bank: names are relative to it, and cannot leave it. ``bank`` is the whole."""

    def __init__(self, section: interface.Section, owner_id: str = '', is_writable: bool = True) -> None:
        super().__init__(section.bank, owner_id, is_writable)
        self.bank = Bank(section.bank, owner_id, is_writable)
        self._store = self._section = section

    def _below(self, section: str) -> str:
        return f'{self._section.prefix}/{section.strip("/")}'

    def _place(self, key: str) -> str:
        return key.strip('/')

    def _prefix(self, prefix: str | None) -> str:
        return (prefix or '').lstrip('/')


def _bank_of(store: interface.Bank | interface.Section) -> interface.Bank:
    return store.bank if isinstance(store, interface.Section) else store


def _stored(value: Any) -> bytes:
    """Raises TypeError for what JSON cannot hold."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str) and not _is_json(value.encode()):
        return value.encode()
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


def _read(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True
