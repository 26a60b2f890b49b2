# SPDX-License-Identifier: Apache-2.0
"""How processes call each other: oslo.messaging, or, with `transport_url = local://`, the same calls within
one process.

oslo.messaging's own in-memory driver polls every 50 ms, too slow for the standalone process.
"""

import functools
import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any, Protocol, TypeVar

import oslo_messaging as messaging
from oslo_config import cfg
from oslo_log import log
from oslo_messaging.rpc import dispatcher
from oslo_versionedobjects import base as ovo

import karbor.native_threads  # noqa: F401
from karbor import exception
from karbor.conf import opts
from karbor.context import RequestContext
from karbor.db import engine
from karbor.objects import base

CONF = cfg.CONF
CALLERS = 32  # calls that one process has under way
RECONNECT_SECONDS = 5  # between two tries to reach a broker that was away for long; oslo.messaging's 30 are many
LOG = log.getLogger(__name__)
Method = TypeVar('Method', bound=Callable[..., Any])


class Server(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def wait(self) -> None: ...


class _Objects(ovo.VersionedObjectSerializer):
    OBJ_BASE_CLASS = base.KarborObject


class Serializer(messaging.Serializer):
    """Versioned objects as primitives, the request's context as a dictionary."""

    def __init__(self) -> None:
        self._entities = _Objects()

    def serialize_entity(self, ctxt: Any, entity: Any) -> Any:
        return self._entities.serialize_entity(ctxt, entity)

    def deserialize_entity(self, ctxt: Any, entity: Any) -> Any:
        return self._entities.deserialize_entity(ctxt, entity)

    def serialize_context(self, ctxt: RequestContext) -> dict[str, Any]:
        return ctxt.to_dict()

    def deserialize_context(self, ctxt: dict[str, Any]) -> RequestContext:
        return RequestContext.from_dict(ctxt, overwrite=True)


class _Local:
    """The ends of this process, by topic."""

    def __init__(self) -> None:
        self.ends: dict[str, Any] = {}
        self.serializer = Serializer()

    def call(self, topic: str, context: RequestContext, method: str, timeout: float, **arguments: Any) -> Any:
        if topic not in self.ends:
            raise exception.ServiceUnavailable(service=topic)
        there = {k: self._carried(context, v) for k, v in arguments.items()}
        caller = self.serializer.deserialize_context(self.serializer.serialize_context(context))
        try:
            return self._carried(context, getattr(self.ends[topic], method)(caller, **there))
        except dispatcher.ExpectedException as expected:
            raise expected.exc_info[1] from None

    def _carried(self, context: RequestContext, value: Any) -> Any:
        return self.serializer.deserialize_entity(context, self.serializer.serialize_entity(context, value))

    def server(self, topic: str, end: Any) -> Server:
        local = self

        class LocalServer:
            def start(self) -> None:
                local.ends[topic] = end

            def stop(self) -> None:
                local.ends.pop(topic, None)

            def wait(self) -> None:
                return None

        return LocalServer()


def _ours(fault: exception.KarborError) -> exception.KarborError:
    """The fault that the other end raised: oslo.messaging makes one of its own class, with a traceback in its text."""
    known = next(c for c in type(fault).__mro__ if c.__module__ == exception.__name__)
    raised: exception.KarborError = known.__new__(known)  # type: ignore[call-overload]
    Exception.__init__(raised, fault.text)
    raised.text = fault.text
    return raised


class _Awaiting:
    """A server that can be stopped, too, while it still looks for its broker, which oslo.messaging would wait for."""

    def __init__(self, server: Any) -> None:
        self._server, self._stopped = server, threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._start, name='rpc-start', daemon=True)

    def start(self) -> None:
        """It serves when this returns, unless it was stopped."""
        self._thread.start()
        while self._thread.is_alive() and not self._stopped.is_set():
            self._thread.join(0.2)
        if self._fault is not None:
            raise self._fault

    def stop(self) -> None:
        self._stopped.set()
        if self._is_started():
            self._server.stop()

    def wait(self) -> None:
        if self._is_started():
            self._server.wait()

    def _start(self) -> None:
        try:
            self._server.start()
        except BaseException as fault:  # noqa: BLE001  whatever it is, it is raised again where the start is waited for
            self._fault = fault

    def _is_started(self) -> bool:
        return self._thread.ident is not None and not self._thread.is_alive() and self._fault is None


class _Remote:
    """The ends of all processes that share a message broker."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        try:
            self.transport = messaging.get_rpc_transport(conf, allowed_remote_exmods=[exception.__name__])
        except (messaging.DriverLoadFailure, messaging.InvalidTransportURL) as fault:
            # The text of either holds the URL, and so the password.
            reason = f'nothing can be made of transport_url ({type(fault).__name__})'
            raise exception.ConfigurationError(reason=reason) from fault
        self.serializer = Serializer()
        self.clients: dict[str, Any] = {}
        self.callers = futures.ThreadPoolExecutor(CALLERS, 'rpc')

    def call(self, topic: str, context: RequestContext, method: str, timeout: float, **arguments: Any) -> Any:
        if topic not in self.clients:
            target = messaging.Target(topic=topic, version='1.0')
            self.clients[topic] = messaging.get_rpc_client(self.transport, target, serializer=self.serializer)
        # Without a broker, oslo.messaging tries to reach it for ever, whatever time it is given.
        called = self.callers.submit(self.clients[topic].prepare(timeout=timeout).call, context, method, **arguments)
        try:
            return called.result(timeout + 1)
        except (messaging.MessagingTimeout, messaging.MessageDeliveryFailure, futures.TimeoutError) as fault:
            called.cancel()  # if its turn has not come, nobody waits for it any more
            LOG.warning('%s does not answer %s: %s', topic, method, str(fault) or type(fault).__name__)
            raise exception.ServiceUnavailable(service=topic) from fault
        except exception.KarborError as fault:
            raise _ours(fault) from None

    def server(self, topic: str, end: Any) -> Server:
        target = messaging.Target(topic=topic, server=CONF.host, version='1.0')
        access = messaging.DefaultRPCAccessPolicy
        return _Awaiting(
            messaging.get_rpc_server(
                self.transport,
                target,
                [end],
                executor='threading',
                serializer=self.serializer,
                access_policy=access,
            )
        )


_bus: Any = None


def init(conf: cfg.ConfigOpts) -> None:
    """Choose the transport of this process by `transport_url`; called again, it starts anew.

    Raises ConfigurationError.
    """
    global _bus
    opts.register_messaging(conf)
    conf.set_default('rabbit_interval_max', RECONNECT_SECONDS, 'oslo_messaging_rabbit')
    _bus = _Local() if (conf.transport_url or '').startswith('local:') else _Remote(conf)


def call(topic: str, context: RequestContext, method: str, timeout: float = 60, **arguments: Any) -> Any:
    """What ``method`` of the end ``topic`` answers. Raises its KarborErrors, and ServiceUnavailable after
    ``timeout`` seconds.
    """
    return _bus.call(topic, context, method, timeout, **arguments)


def server(topic: str, end: Any) -> Server:
    """A server of ``end``'s methods under ``topic``; it serves between `start` and `stop`."""
    return _bus.server(topic, end)


def expected(method: Method) -> Method:
    """``method`` of an end, whose KarborErrors go to the caller; a database that is away is ServiceUnavailable."""

    @functools.wraps(method)
    def answered(*arguments: Any, **named: Any) -> Any:
        try:
            return method(*arguments, **named)
        except engine.PASSING_FAULTS as fault:
            LOG.warning('%s could not be done, since the database does not answer: %s', method.__name__, fault)
            raise exception.ServiceUnavailable(service='database') from fault

    return messaging.expected_exceptions(exception.KarborError)(answered)
