# SPDX-License-Identifier: Apache-2.0
"""A bank for work that can wait: what is away is asked again, with back-off, until it is there or patience is over."""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, TypeVar

from oslo_log import log

from karbor import exception
from karbor.plugins.banks import interface
from karbor.plugins.banks.interface import Bank, Data, Stored

LOG = log.getLogger(__name__)
Result = TypeVar('Result')

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
LOOK = 0.25  # how long `check` may have to wait for its turn


class PatientBank(Bank):
    """``bank`` as one run of an operation sees it, from any thread.

    A call that meets BankUnavailable is made again for up to ``seconds`` after the bank was first found away; other
    faults are told at once. ``check`` is called between and raises what shall end the waiting early; ``allow`` is
    called before everything that changes the bank and raises where the run may not do so any more; when it raises only
    after something was written, ``overtaken`` is called, to put right what others may have written before. What was
    read of a stream that cannot be read again is not written again, and reading from an open value is not repeated.
    """

    def __init__(
        self,
        bank: Bank,
        seconds: float,
        check: Callable[[], None],
        allow: Callable[[], None],
        overtaken: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(bank.config)
        self._overtaken = overtaken
        self._bank, self._seconds, self._check, self._allow = bank, seconds, check, allow
        self._away_since: float | None = None

    # -- what callers use, but for what is made of these

    def put(self, key: str, data: Data) -> Stored:
        source = _Source(data)

        def put() -> Stored:
            self._allow()
            stored = self._bank.put(key, source.data())
            try:
                self._allow()
            except BaseException:  # whatever it is, it is raised again: what was written is not ours
                self._overtaken()
                raise
            return stored

        return self._patiently(put, source.is_repeatable)

    def open(self, key: str) -> BinaryIO:
        return self._patiently(lambda: self._bank.open(key))

    def get(self, key: str) -> bytes:
        return self._patiently(lambda: self._bank.get(key))

    def measure(self, key: str) -> Stored:
        return self._patiently(lambda: self._bank.measure(key))

    def delete(self, key: str) -> None:
        def delete() -> None:
            self._allow()
            self._bank.delete(key)

        self._patiently(delete)

    def list(
        self, prefix: str = '/', limit: int | None = None, marker: str | None = None, reverse: bool = False
    ) -> list[str]:
        return self._patiently(lambda: self._bank.list(prefix, limit, marker, reverse))

    # -- the primitives, which nobody needs here

    def _write(self, key: str, chunks: Iterator[bytes]) -> None:
        self._bank._write(key, chunks)

    def _open(self, key: str) -> BinaryIO:
        return self._bank._open(key)

    def _delete(self, key: str) -> None:
        self._bank._delete(key)

    def _list(self, prefix: str, after: str | None, reverse: bool) -> Iterator[str]:
        return self._bank._list(prefix, after, reverse)

    # -- how

    def _patiently(self, call: Callable[[], Result], is_repeatable: Callable[[], bool] = lambda: True) -> Result:
        begun, pause = time.monotonic(), FIRST_PAUSE
        while True:
            try:
                result = call()
            except exception.BankUnavailable as fault:
                if not (is_repeatable() and self._may_wait(begun, fault)):
                    raise
            else:
                self._away_since = None
                return result
            self._sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  no secret
            pause = min(pause * 2, LONGEST_PAUSE)

    def _may_wait(self, begun: float, fault: exception.BankUnavailable) -> bool:
        """Whether there is patience left: of this call, and of the run, so that an operation does not wait in turns."""
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            LOG.warning('The bank is away (%s); asking again for %d s.', fault, self._seconds)
        return now < min(begun, self._away_since) + self._seconds

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LOOK))
            self._check()


class _Source:
    """What is to be put, as often as it can be read."""

    def __init__(self, given: Data) -> None:
        self._given: Any = given
        self._place = given.tell() if _can_seek(given) else None  # type: ignore[union-attr]
        self._is_whole = isinstance(given, bytes | bytearray | memoryview) or self._place is not None
        if not self._is_whole and not hasattr(given, 'read') and iter(self._given) is not self._given:
            self._is_whole = True  # a list, say: it can be gone through again
        self._is_begun = False

    def is_repeatable(self) -> bool:
        return self._is_whole or not self._is_begun

    def data(self) -> Data:
        if self._is_whole:
            if self._place is not None:
                self._given.seek(self._place)
            return self._given
        return self._once()

    def _once(self) -> Iterable[bytes]:
        self._is_begun = True
        yield from interface._chunks(self._given)


def _can_seek(given: Any) -> bool:
    return hasattr(given, 'seekable') and given.seekable()
