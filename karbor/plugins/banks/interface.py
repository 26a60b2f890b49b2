# SPDX-License-Identifier: Apache-2.0
"""The contract of banks: where checkpoints are kept.

A bank supplies four primitives on checked keys; everything else is here. Keys are like paths:
rooted, with segments of ``[A-Za-z0-9_.@-]``, and none continues another: below an object lies nothing.
Values are bytes; text is UTF-8, JSON is text.
"""

import hashlib
import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

import orjson
from oslo_config import cfg

from karbor import exception

SEGMENT = re.compile(r'(?!\.{1,2}\Z)[A-Za-z0-9_.@-]{1,200}')  # dots alone would lead to another folder
BEGIN_OF_SEGMENT = re.compile(r'[A-Za-z0-9_.@-]{0,200}')
KEY_LIMIT = 1000
CHUNK = 1024 * 1024

Data = bytes | BinaryIO | Iterable[bytes]


@dataclass(frozen=True)
class Stored:
    """What was stored: ``size`` in bytes and ``sha256`` in hexadecimal."""

    size: int
    sha256: str


class Bank(ABC):
    """A store of objects by key. Faults: BankUnavailable, BankObjectNotFound, BankKeyInvalid.

    ``place`` tells where it lies: banks of one place share what they hold. ``was_used``, which the provider sets, tells
    whether checkpoints were ever put there: a bank that looks new then is not, but away.
    """

    OPTIONS: ClassVar[Mapping[str, Sequence[cfg.Opt]]] = {}

    def __init__(self, config: cfg.ConfigOpts) -> None:
        self.config = config
        self.place = ''
        self.was_used: Callable[[], bool] = lambda: False

    # -- what a driver supplies, on checked keys

    @abstractmethod
    def _write(self, key: str, chunks: Iterator[bytes]) -> None:
        """Store all ``chunks`` or nothing: a reader sees the old value or the new one, never a part.

        What ``chunks`` raises leaves as it is. Raises BankKeyInvalid if an object lies above or below ``key``.
        """

    @abstractmethod
    def _open(self, key: str) -> BinaryIO:
        """A stream of the value; its reads raise BankUnavailable. Raises BankObjectNotFound."""

    @abstractmethod
    def _delete(self, key: str) -> None:
        """Remove the object; one that is not there is no fault."""

    @abstractmethod
    def _list(self, prefix: str, after: str | None, reverse: bool) -> Iterator[str]:
        """The keys that begin with ``prefix`` and lie behind ``after`` in the direction, in the order of
        their characters.
        """

    # -- what callers use

    def put(self, key: str, data: Data) -> Stored:
        """Store ``data`` under ``key``, in place of what was there, as a whole or not at all.

        What reading ``data`` raises goes through, and the old value stays.
        """
        digest, size = hashlib.sha256(), 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for chunk in _chunks(data):
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        self._write(checked(key), counted())
        return Stored(size, digest.hexdigest())

    def open(self, key: str) -> BinaryIO:
        """A binary stream of the value, to be closed by the caller. Raises BankObjectNotFound."""
        return self._open(checked(key))

    def get(self, key: str) -> bytes:
        """The whole value. Raises BankObjectNotFound."""
        with self.open(key) as stream:
            return stream.read()

    def measure(self, key: str) -> Stored:
        """What `put` told of the value, measured anew by reading all of it. Raises BankObjectNotFound."""
        digest, size = hashlib.sha256(), 0
        with self.open(key) as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
        return Stored(size, digest.hexdigest())

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no fault."""
        self._delete(checked(key))

    def list(
        self, prefix: str = '/', limit: int | None = None, marker: str | None = None, reverse: bool = False
    ) -> list[str]:
        """At most ``limit`` keys that begin with ``prefix``, in the order of their characters (``reverse``: backwards),
        behind ``marker``, which need not exist. ``prefix`` may end in the middle of a segment.
        """
        if marker is not None:
            checked(marker)
        return list(itertools.islice(self._list(_checked_prefix(prefix), marker, reverse), limit))

    def exists(self, key: str) -> bool:
        try:
            self.open(key).close()
        except exception.BankObjectNotFound:
            return False
        return True

    def put_text(self, key: str, text: str) -> Stored:
        return self.put(key, text.encode())

    def get_text(self, key: str) -> str:
        """The value as text. Raises BankObjectNotFound, or BankError when it is no UTF-8."""
        try:
            return self.get(key).decode()
        except UnicodeDecodeError as fault:
            raise exception.BankError('an object that should be text is none') from fault

    def put_json(self, key: str, value: Any) -> Stored:
        return self.put(key, orjson.dumps(value))

    def get_json(self, key: str) -> Any:
        """The value out of its JSON. Raises BankObjectNotFound, or BankError when it is no JSON."""
        try:
            return orjson.loads(self.get(key))
        except orjson.JSONDecodeError as fault:
            raise exception.BankError('an object that should be JSON is none') from fault


class Section:
    """A bank seen below ``prefix``: names are relative and cannot leave it."""

    def __init__(self, bank: Bank, prefix: str) -> None:
        self.bank, self.prefix = bank, checked(prefix)

    def put(self, name: str, data: Data) -> Stored:
        return self.bank.put(self._key(name), data)

    def open(self, name: str) -> BinaryIO:
        return self.bank.open(self._key(name))

    def get(self, name: str) -> bytes:
        return self.bank.get(self._key(name))

    def delete(self, name: str) -> None:
        self.bank.delete(self._key(name))

    def list(
        self, prefix: str = '', limit: int | None = None, marker: str | None = None, reverse: bool = False
    ) -> list[str]:
        """Names below this section, as `Bank.list` has keys."""
        after = None if marker is None else self._key(marker)
        cut = len(self.prefix) + 1
        return [key[cut:] for key in self.bank.list(f'{self.prefix}/{prefix}', limit, after, reverse)]

    def measure(self, name: str) -> Stored:
        return self.bank.measure(self._key(name))

    def exists(self, name: str) -> bool:
        return self.bank.exists(self._key(name))

    def put_text(self, name: str, text: str) -> Stored:
        return self.bank.put_text(self._key(name), text)

    def get_text(self, name: str) -> str:
        return self.bank.get_text(self._key(name))

    def put_json(self, name: str, value: Any) -> Stored:
        return self.bank.put_json(self._key(name), value)

    def get_json(self, name: str) -> Any:
        return self.bank.get_json(self._key(name))

    def _key(self, name: str) -> str:
        return checked(f'{self.prefix}/{name}')


def checked(key: str) -> str:
    """``key``, if it is one. Raises BankKeyInvalid: a key never leads out of the bank, whatever it was made of."""
    root, *segments = key.split('/')
    if root or not segments or len(key) > KEY_LIMIT or not all(map(SEGMENT.fullmatch, segments)):
        raise exception.BankKeyInvalid(f'{key[:80]!r} is no key')
    return key


def _checked_prefix(prefix: str) -> str:
    folder, slash, rest = prefix.rpartition('/')
    if folder:
        checked(folder)
    if not slash or not BEGIN_OF_SEGMENT.fullmatch(rest) or len(prefix) > KEY_LIMIT:
        raise exception.BankKeyInvalid(f'{prefix[:80]!r} is no prefix of a key')
    return prefix


def _chunks(data: Data) -> Iterator[bytes]:
    if isinstance(data, bytes | bytearray | memoryview):
        yield bytes(data)
    elif hasattr(data, 'read'):
        while chunk := data.read(CHUNK):
            yield chunk
    else:
        yield from data
