# SPDX-License-Identifier: Apache-2.0
"""Notifications of what is asked for and done, by oslo.messaging, where `[oslo_messaging_notifications] driver` names
one.

Whoever has something to tell puts it into a queue and goes on: a thread of its own sends it, and waits for a broker
that is away. What does not fit into the queue is dropped, and the log tells how much.
"""

import contextlib
import importlib.metadata
import queue
import threading
from collections.abc import Mapping
from typing import Any

import karbor.native_threads  # noqa: F401 isort: skip
import oslo_messaging as messaging
from oslo_config import cfg
from oslo_log import log
from oslo_utils import strutils

from karbor import exception
from karbor.conf import opts

CONF = cfg.CONF
LOG = log.getLogger(__name__)
_DRIVERS = 'oslo.messaging.notify.drivers'
_WITHOUT_BROKER = {'log', 'test'}
# Parts of the names of keys whose values nobody is told.
_SECRETS = ('password', 'passwd', 'passphrase', 'secret', 'token', 'credential', 'private_key', 'api_key', 'apikey')


class _Sender:
    """The queue of this process, and the thread that empties it; started by the first notification."""

    def __init__(self, notifier: messaging.Notifier, size: int) -> None:
        self._notifier = notifier
        self._queue: queue.Queue[tuple[str, str, dict[str, Any]] | None] = queue.Queue(size)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._dropped = 0

    def put(self, publisher_id: str, event_type: str, payload: dict[str, Any]) -> None:
        with self._lock:
            try:
                self._queue.put_nowait((publisher_id, event_type, payload))
            except queue.Full:
                if not self._dropped:
                    LOG.error('Notifications are dropped: %s of them wait to be sent.', self._queue.qsize())
                self._dropped += 1
                return
            if self._dropped:
                LOG.warning('Notifications are sent again; %s were dropped.', self._dropped)
                self._dropped = 0
            if self._thread is None:
                self._thread = threading.Thread(target=self._send, name='notifications', daemon=True)
                self._thread.start()

    def close(self, seconds: float) -> None:
        """Send what waits, for at most ``seconds``."""
        if self._thread is None:
            return
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=seconds)
        self._thread.join(seconds)
        if self._thread.is_alive():
            LOG.error('%s notifications could not be sent before the end.', self._queue.qsize())

    def _send(self) -> None:
        while (waiting := self._queue.get()) is not None:
            publisher_id, event_type, payload = waiting
            try:
                self._notifier.prepare(publisher_id=publisher_id).info({}, event_type, payload)
            except Exception:  # noqa: BLE001  whatever a driver raises, the next notification may be sent
                LOG.exception('The notification %s could not be sent.', event_type)
            self._queue.task_done()


_sender: _Sender | None = None


def init(conf: cfg.ConfigOpts) -> None:
    """Send with the drivers that are configured, from now on; without one nothing is loaded. Raises
    ConfigurationError.
    """
    global _sender
    opts.register_messaging(conf)
    options = conf.oslo_messaging_notifications
    drivers = {name for name in options.driver if name not in ('', 'noop')}
    _sender = _Sender(_notifier(conf, drivers), conf.notifications.queue_size) if drivers else None


def close() -> None:
    """Send what waits, for at most `[notifications] stop_timeout`; nothing is sent afterwards."""
    global _sender
    sender, _sender = _sender, None
    if sender is not None:
        sender.close(CONF.notifications.stop_timeout)


def is_on() -> bool:
    """Whether anybody is told: what a payload needs is looked up only then."""
    return _sender is not None


def send(binary: str, name: str, payload: Mapping[str, Any]) -> None:
    """Tell that `karbor.<name>` has happened in the service ``binary`` of this host. It takes no time and raises
    nothing; ``payload`` is what JSON can carry, without secrets: see `public`.
    """
    sender = _sender
    if sender is not None:
        sender.put(f'{binary}.{CONF.host}', f'karbor.{name}', dict(payload))


def public(value: Any) -> Any:
    """``value``, of a user, as others may read it: `***` in place of what its key calls a secret; and of what is
    longer than `[notifications] max_value_size` only its size.
    """
    size = len(str(value))
    return {'left_out': f'{size} characters'} if size > CONF.notifications.max_value_size else _masked(value)


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: '***' if inner is not None and _is_secret(str(k)) else _masked(inner) for k, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(inner) for inner in value]
    return strutils.mask_password(value) if isinstance(value, str) else value


def _is_secret(key: str) -> bool:
    return any(word in key.lower().replace('-', '_') for word in _SECRETS)


def _notifier(conf: cfg.ConfigOpts, drivers: set[str]) -> messaging.Notifier:
    known = set(importlib.metadata.entry_points(group=_DRIVERS).names)
    if drivers - known:
        reason = f'[oslo_messaging_notifications] driver: there is no {", ".join(sorted(drivers - known))}'
        raise exception.ConfigurationError(reason=reason)
    url = conf.oslo_messaging_notifications.transport_url
    if url is None and (conf.transport_url or '').startswith('local:'):
        if drivers - _WITHOUT_BROKER:
            reason = '[oslo_messaging_notifications] transport_url must name a broker: local:// has none'
            raise exception.ConfigurationError(reason=reason)
        url = 'fake://'
    try:
        notifier = messaging.Notifier(messaging.get_notification_transport(conf, url))
    except (messaging.DriverLoadFailure, messaging.InvalidTransportURL) as fault:
        # The text of either holds the URL, and so the password.
        reason = f'nothing can be made of the transport_url of notifications ({type(fault).__name__})'
        raise exception.ConfigurationError(reason=reason) from fault
    if notifier.retry == -1:  # for ever; but oslo.messaging 18, as long as it has no connection, takes it for not once
        notifier.retry = None
    return notifier
