# SPDX-License-Identifier: Apache-2.0
"""Leases: what a claim of an operation is worth, and the heartbeat that keeps it.

A lease is renewed by the database's clock and judged by this process's own monotonic clock: a
worker that was paused knows by itself that its time is over, before it asks anybody. It belongs to
one claim, of an operation in one epoch: a worker may lose an operation and claim it again while
its first run still winds down. A run that was told once that its lease is over ends, and waits for
the next run: from then on nothing renews that lease.
"""

import threading
import time
from collections.abc import Callable, Collection

from oslo_log import log

LOG = log.getLogger(__name__)
Claim = tuple[str, int]  # operation, epoch
LOST = float('-inf')  # the end of a lease that is over for good


class Leases:
    """The leases of this process by claim. ``renew`` gets the claims held and answers those that still are."""

    def __init__(self, seconds: float, renew: Callable[[Collection[Claim]], Collection[Claim]]) -> None:
        self.seconds, self._renew = seconds, renew
        self._ends: dict[Claim, float] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name='leases', daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def hold(self, operation_id: str, epoch: int, asked_at: float) -> None:
        """Note a lease that was asked for at ``asked_at`` (monotonic) and granted since."""
        with self._lock:
            self._ends[operation_id, epoch] = asked_at + self.seconds

    def drop(self, operation_id: str, epoch: int) -> None:
        with self._lock:
            self._ends.pop((operation_id, epoch), None)

    def held(self) -> list[str]:
        """The operations that this process may still work on."""
        with self._lock:
            now = time.monotonic()
            return [operation_id for (operation_id, _), end in self._ends.items() if now < end]

    def is_valid(self, operation_id: str, epoch: int) -> bool:
        """Whether nobody else can have claimed the operation yet. What was denied once is denied for good."""
        claim = operation_id, epoch
        with self._lock:
            valid = time.monotonic() < self._ends.get(claim, LOST)
            if not valid and claim in self._ends:
                self._ends[claim] = LOST
            return valid

    def _beat(self) -> None:
        while not self._stopped.wait(self.seconds / 3):
            try:
                self._renew_all()
            except Exception:  # noqa: BLE001  whatever it is, the leases run out by themselves; the next beat may do
                LOG.exception('Leases could not be renewed.')

    def _renew_all(self) -> None:
        with self._lock:
            held = {claim for claim, end in self._ends.items() if end != LOST}
        asked_at = time.monotonic()
        kept = set(self._renew(held))
        with self._lock:
            for claim in held:
                if self._ends.get(claim, LOST) == LOST:  # dropped, or denied, meanwhile
                    continue
                if claim in kept:
                    self._ends[claim] = asked_at + self.seconds
                else:
                    LOG.warning('The claim of operation %s is lost.', claim[0])
                    self._ends[claim] = LOST
