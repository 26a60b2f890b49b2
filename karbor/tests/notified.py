# SPDX-License-Identifier: Apache-2.0
"""Notifications as a test sees them, by the driver of oslo.messaging that keeps them in memory."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import karbor.native_threads  # noqa: F401 isort: skip
from oslo_config import cfg
from oslo_messaging.notify import _impl_test

from karbor import notifications
from karbor.conf import opts

CONF = cfg.CONF
GROUP = 'oslo_messaging_notifications'
Message = dict[str, Any]


class Notified:
    """What was sent. ``messages`` are whole; ``events`` the types alone."""

    def messages(self, *event_types: str) -> list[Message]:
        """Those of these types, or all, once nothing waits to be sent."""
        sender = notifications._sender
        assert sender is not None
        while sender._queue.unfinished_tasks:
            time.sleep(0.005)
        found = [message for _, message, _, _ in _impl_test.NOTIFICATIONS]
        return [message for message in found if not event_types or message['event_type'] in event_types]

    def payload(self, event_type: str) -> Message:
        """That of the one message of this type."""
        (message,) = self.messages(event_type)
        return message['payload']

    def events(self) -> list[str]:
        return [message['event_type'] for message in self.messages()]

    @property
    def everything(self) -> str:
        """All that anybody could read, contexts included."""
        self.messages()
        return str(_impl_test.NOTIFICATIONS)


@contextlib.contextmanager
def notified(driver: str = 'test', **options: Any) -> Iterator[Notified]:
    """Within the block notifications of this process go to the ``driver``; ``options`` of `[notifications]`."""
    opts.register_messaging(CONF)
    named = {(GROUP, 'driver'): [driver]} | {('notifications', name): value for name, value in options.items()}
    for (group, name), value in named.items():
        CONF.set_override(name, value, group)
    _impl_test.reset()
    notifications.init(CONF)
    try:
        yield Notified()
    finally:
        notifications.close()
        for group, name in named:
            CONF.clear_override(name, group)
