# SPDX-License-Identifier: Apache-2.0
"""How long a fault that passes by itself is waited out: with back-off and jitter, up to `retry_seconds`."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from oslo_config import cfg

from karbor import exception
from karbor.protection.run import Run

CONF = cfg.CONF
LONGEST_PAUSE = 30.0
STEP = 0.5  # the longest that a run does not look whether it has to end
Result = TypeVar('Result')


class Patience:
    """The faults in a row that one call has met."""

    __slots__ = ('_until', 'faults')

    def __init__(self) -> None:
        self.faults = 0
        self._until = 0.0

    def pause(self, fault: exception.BackendFault) -> float | None:
        """Seconds until the call is worth making again: what the service asks for, else longer each time.

        None when it is not: the fault does not pass, or `retry_seconds` will be over.
        """
        if not fault.transient:
            return None
        now = time.monotonic()
        if not self.faults:
            self._until = now + CONF.protection.retry_seconds
        backed_off = min(CONF.protection.poll_first * 2 ** min(self.faults, 10), LONGEST_PAUSE)
        pause = max(fault.wait or 0.0, backed_off) * random.uniform(1.0, 1.25)  # noqa: S311  no secret
        if now + pause > self._until:
            return None
        self.faults += 1
        return pause

    def succeed(self) -> None:
        """The call did not fail: the next fault is the first one."""
        self.faults = 0


def waiting(run: Run, call: Callable[[], Result]) -> Result:
    """What ``call`` returns, made again while it meets faults that pass. Raises its fault, Interrupted, Cancelled."""
    patience = Patience()
    while True:
        run.check()
        try:
            return call()
        except exception.KarborError as fault:
            run.check()
            cause = fault if isinstance(fault, exception.BackendFault) else fault.__cause__
            pause = patience.pause(cause) if isinstance(cause, exception.BackendFault) else None
            if pause is None:
                raise
            again = time.monotonic() + pause
            while (left := again - time.monotonic()) > 0:
                run.check()
                run.stopping.wait(min(left, STEP))
