# SPDX-License-Identifier: Apache-2.0
"""The operation engine put together. It reports that it is alive; it fires no triggers yet."""

from typing import Any

import oslo_messaging as messaging
from oslo_config import cfg
from oslo_log import log

from karbor.heartbeat import Heartbeat
from karbor.rpc import transport

CONF = cfg.CONF
LOG = log.getLogger(__name__)
BINARY = 'karbor-operationengine'


class Liveness:
    """The RPC end of the operation engine: it answers that it is there, and takes nothing else."""

    target = messaging.Target(version='1.0')

    def ping(self, context: Any) -> str:
        return CONF.host


class OperationEngineService:
    """Serves from `start` to `stop`. Database and transport of the process are configured before."""

    def __init__(self) -> None:
        self.heartbeat = Heartbeat(BINARY, CONF.operationengine_topic)
        self.server = transport.server(CONF.operationengine_topic, Liveness())

    def start(self) -> None:
        self.heartbeat.start()
        self.server.start()
        LOG.info('%s is up.', BINARY)

    def stop(self) -> None:
        self.server.stop()
        self.server.wait()
        self.heartbeat.stop()
