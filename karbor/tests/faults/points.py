# SPDX-License-Identifier: Apache-2.0
"""The points that a worker passes, as the test sees them: it counts them all, and can hold the worker at one.

A point is a call of the sandbox ("manila POST /snapshots: arrived", "…: done") or a boundary that the worker
tells of through its gate (see `boundaries`). The second time that it is passed it is "… (2)", and so on.
"""

import collections
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from karbor.sandbox import faults

SECONDS = 30.0
FIRST = 'first'


class Points:
    """Those that the worker named `FIRST` passes are held and recorded; of others the times are kept.

    ``drops`` tells whether a call that is held when it arrives is dropped then, or done when it is released.
    ``passed`` are the labels in order, until the release; ``later`` the names after that;
    ``times`` the latest moment (monotonic) of each, by worker.
    """

    def __init__(self, target: str | None = None, drops: bool = True) -> None:
        self.target, self.drops = target, drops
        self.passed: list[str] = []
        self.later: list[str] = []
        self.times: dict[tuple[str, str], float] = {}
        self.arrived, self._released = threading.Event(), threading.Event()
        self.is_over = False  # nothing is recorded or held any more
        self._counts: collections.Counter[str] = collections.Counter()
        self._transactions = 0
        self._changed = threading.Condition()
        self._is_quiet = False

    # -- what the test does

    def wait(self, seconds: float = SECONDS) -> bool:
        """Whether the worker is held at the target within ``seconds``."""
        return self.arrived.wait(seconds)

    def release(self) -> None:
        """Let whatever is held go on, and hold nothing any more."""
        self.is_over = True
        self._released.set()

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Within the block the first worker is in no transaction; it can begin none."""
        with self._changed:
            self._is_quiet = True
            assert self._changed.wait_for(lambda: not self._transactions, SECONDS), 'a transaction does not end'
        try:
            yield
        finally:
            with self._changed:
                self._is_quiet = False
                self._changed.notify_all()

    # -- what passes

    def called(self, call: str, is_done: bool) -> None:
        """A call arrived at the sandbox, or is done there and not answered yet."""
        if self._passes(f'{call}: {"done" if is_done else "arrived"}') and not is_done and self.drops:
            faults.hang_up()

    def reached(self, worker: str, name: str) -> None:
        """A worker is at a boundary; it goes on when this returns."""
        self.times[worker, name] = time.monotonic()
        if worker != FIRST:
            return
        if name in ('transaction begins', 'transaction ended'):
            self._count_transaction(1 if name == 'transaction begins' else -1)
        else:
            self._passes(name)

    def _count_transaction(self, change: int) -> None:
        with self._changed:
            if change > 0:
                self._changed.wait_for(lambda: not self._is_quiet, SECONDS)
            self._transactions += change
            self._changed.notify_all()

    def _passes(self, name: str) -> bool:
        """Whether it was held."""
        if self.is_over:
            self.later.append(name)
            return False
        with self._changed:
            self._counts[name] += 1
            number = self._counts[name]
            label = name if number == 1 else f'{name} ({number})'
            self.passed.append(label)
        if label != self.target:
            return False
        self.arrived.set()
        self._released.wait(2 * SECONDS)
        return True


class Gate:
    """The socket that workers tell their boundaries through, at ``path``; a connection a thread."""

    def __init__(self, path: Path, points: Points) -> None:
        self.points = points
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(256)
        threading.Thread(target=self._accept, name='gate', daemon=True).start()

    def close(self) -> None:
        """Take no more connections; those there are end with their workers."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), name='gate', daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile('rb') as lines, contextlib.suppress(OSError):  # the worker was killed
            for line in lines:
                worker, _, name = line.decode().rstrip('\n').partition(' ')
                self.points.reached(worker, name)
                connection.sendall(b'\n')
