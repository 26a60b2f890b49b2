# SPDX-License-Identifier: Apache-2.0
"""Waiting, as plugins written for Karbor 1.6 do it: in the thread of the hook, until the cloud is ready.

It ends early when the run of the hook does: when the service stops, the claim of the operation is
lost, or the operation failed or was cancelled. A plugin that waits in a way of its own is not
interrupted.
"""

import contextlib
import contextvars
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Any

from oslo_log import log

LOG = log.getLogger(__name__)
LONGEST_PAUSE = 1.0  # seconds between two looks at whether the hook still has to go on


class Stopped(BaseException):
    """The hook has to end. No `Exception`: a plugin that treats every fault as its resource's must not catch it."""


@dataclass
class HookCall:
    """A call of a hook: ``check`` raises when it has to stop, ``check_lease`` only when another worker may be at it;
    it may wait until ``ends_at`` (monotonic).
    """

    check: Callable[[], None]
    check_lease: Callable[[], None]
    ends_at: float
    stopped_by: Exception | None = None
    is_late: bool = False

    def go_on(self) -> None:
        """Raise Stopped if the hook has to end now."""
        self.do(self.check)

    def do(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Call what is the engine's. Raises Stopped for whatever it raises."""
        try:
            function(*arguments, **named)
        except Exception as stop:  # noqa: BLE001  whatever ends the run; the caller of the hook raises it again
            stop.__context__ = None  # a `Stopped`, maybe; TaskFlow takes no BaseException among the causes of a failure
            self.stopped_by = stop
            raise Stopped(str(stop)) from None

    def wait(self, seconds: float) -> bool:
        """Wait; False when there is no time left. Raises Stopped."""
        end = time.monotonic() + seconds
        while True:
            self.go_on()
            left = min(end, self.ends_at) - time.monotonic()
            if left <= 0:
                self.is_late = time.monotonic() >= self.ends_at
                return not self.is_late
            time.sleep(min(left, LONGEST_PAUSE))


_current: contextvars.ContextVar[HookCall | None] = contextvars.ContextVar('hook', default=None)


@contextlib.contextmanager
def under_way(call: HookCall) -> Iterator[None]:
    """What is waited for in this thread is waited for in ``call``."""
    token = _current.set(call)
    try:
        yield
    finally:
        _current.reset(token)


def go_on() -> None:
    """Raise Stopped if the hook of this thread has to end; nothing outside of hooks."""
    call = _current.get()
    if call is not None:
        call.go_on()


def may_write() -> None:
    """Raise Stopped if the hook of this thread may not change anything any more; nothing outside of hooks."""
    call = _current.get()
    if call is not None:
        call.do(call.check_lease)


def status_poll(
    get_status: Callable[[], Any],
    interval: float,
    success_statuses: Container[Any] = frozenset(),
    failure_statuses: Container[Any] = frozenset(),
    ignore_statuses: Container[Any] = frozenset(),
    ignore_unexpected: bool = False,
) -> bool:
    """Ask ``get_status`` each ``interval`` seconds, for the first time after one; whether it was a success.

    A status of none of the three sets is a failure, unless ``ignore_unexpected``. What ``get_status`` raises goes
    through. In a hook, it answers False when `[protection] resource_timeout` is over, and ends early when the
    operation does.
    """
    call = _current.get()
    while True:
        if call is None:
            time.sleep(interval)
        elif not call.wait(interval):
            LOG.warning('A plugin has waited as long as it may.')
            return False
        status = get_status()
        if status in success_statuses:
            return True
        if status in failure_statuses:
            return False
        if status not in ignore_statuses and not ignore_unexpected:
            LOG.warning('A plugin waits for a status, and got %s, which it does not know.', status)
            return False
