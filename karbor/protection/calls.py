# SPDX-License-Identifier: Apache-2.0
"""Calls of plugins: made in pools of threads, answered to the one thread that keeps the books."""

import queue
import time
from collections.abc import Callable
from typing import Any

from karbor import exception
from karbor.protection.run import Interrupted

Then = Callable[[Any, Any, BaseException | None], None]  # (subject, result, error)


class Calls:
    """What is under way. ``allow`` is asked right before each call and may raise Interrupted; a call that has not come
    back ``seconds`` after it began counts as failed (too_slow), and whatever it says later is not heard. The time that
    it waits for a thread does not count.
    """

    def __init__(self, allow: Callable[[], None], seconds: float) -> None:
        self._allow, self._seconds = allow, seconds
        self._results: queue.SimpleQueue[tuple[Any, Then, Any, Any, BaseException | None]] = queue.SimpleQueue()
        self._open: dict[Any, tuple[Then, Any]] = {}
        self._begun: dict[Any, float] = {}  # of the open ones, those that have a thread

    def __len__(self) -> int:
        return len(self._open)

    def make(self, pool: Any, then: Then, subject: Any, function: Callable[..., Any], *arguments: Any) -> None:
        """Call ``function`` in the pool; `take` hands what comes of it to ``then``."""
        token = object()
        self._open[token] = (then, subject)

        def called() -> None:
            result, error = None, None
            self._begun[token] = time.monotonic()
            try:
                self._allow()
                result = function(*arguments)
            except BaseException as fault:  # noqa: BLE001  whatever a plugin raises, even SystemExit, is its resource's
                error = fault
            self._results.put((token, then, subject, result, error))

        try:
            pool.submit(called)
        except RuntimeError:  # the pool was closed: the service stops
            self._results.put((token, then, subject, None, Interrupted('the service stops')))

    def tell(self, then: Then, subject: Any, result: Any) -> None:
        """From any thread: have ``then`` called by the thread that takes results."""
        self._results.put((None, then, subject, result, None))

    def take(self, seconds: float) -> None:
        """Hand over what has come back, waiting up to ``seconds`` for the first."""
        try:
            self._hand_over(*(self._results.get(timeout=seconds) if seconds else self._results.get_nowait()))
            while True:
                self._hand_over(*self._results.get_nowait())
        except queue.Empty:
            self._expire()

    def _hand_over(self, token: Any, then: Then, subject: Any, result: Any, error: BaseException | None) -> None:
        self._begun.pop(token, None)
        if token is None or self._open.pop(token, None) is not None:
            then(subject, result, error)

    def _expire(self) -> None:
        late = time.monotonic() - self._seconds
        for token in [token for token, begun in list(self._begun.items()) if begun < late]:
            del self._begun[token]
            then, subject = self._open.pop(token)
            then(subject, None, exception.BackendFault('too_slow', 'karbor'))
