# SPDX-License-Identifier: Apache-2.0
"""What happens later: a snapshot becomes available, a deleted share is gone.

No thread waits for it. Whoever looks at the cloud first lets happen what is due, so nobody can see a state
that should have passed, and a stopped sandbox has nothing left running.
"""

import datetime
import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Clock:
    """The changes that are due in a while, and the one lock that guards the cloud's state.

    A `speed` that is set applies to all that is under way; 0 holds everything as it is.
    """

    def __init__(self, speed: float = 1.0):
        self.lock = threading.RLock()
        self._speed = speed
        self._passed, self._since = 0.0, time.monotonic()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    @property
    def speed(self) -> float:
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        with self.lock:
            self._passed, self._since, self._speed = self._seconds(), time.monotonic(), speed

    def after(self, seconds: float, change: Callable[[], None]) -> None:
        """Let `change` happen `seconds` / speed from now."""
        with self.lock:
            heapq.heappush(self._due, (self._seconds() + seconds, next(self._order), change))

    def settle(self) -> None:
        """Make the changes whose time has come, in the order in which they fell due."""
        with self.lock:
            while self._due and self._due[0][0] <= self._seconds():
                heapq.heappop(self._due)[2]()

    def _seconds(self) -> float:
        return self._passed + (time.monotonic() - self._since) * self._speed


def now() -> datetime.datetime:
    """The time in UTC, without a zone, as the services write it."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
