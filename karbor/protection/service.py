# SPDX-License-Identifier: Apache-2.0
"""The protection service put together: providers, protectables, conductor, RPC end and heartbeat."""

from oslo_config import cfg
from oslo_db import exception as db_exception
from oslo_log import log

from karbor.db import engine
from karbor.heartbeat import Heartbeat
from karbor.protection.conductor import Conductor
from karbor.protection.housekeeping import Housekeeper
from karbor.protection.manager import Manager
from karbor.protection.protectables import Protectables
from karbor.protection.provider import Providers
from karbor.rpc import transport

CONF = cfg.CONF
LOG = log.getLogger(__name__)
BINARY = 'karbor-protection'


class ProtectionService:
    """Serves from `start` to `stop`. Database and transport of the process are configured before."""

    def __init__(self, protectables: Protectables | None = None) -> None:
        self.providers = Providers.load()
        self.protectables = protectables or Protectables()
        self.conductor = Conductor(self.providers, self.protectables.containers(), self.protectables.children)
        self.heartbeat = Heartbeat(BINARY, CONF.protection_topic)
        self.housekeeper = Housekeeper()
        self.server = transport.server(
            CONF.protection_topic, Manager(self.providers, self.protectables, self.conductor)
        )

    def connect(self) -> None:
        """Find what is needed besides the database. Raises JobBoardAway, and may be called again."""
        self.conductor.connect()

    def start(self) -> None:
        """Publish what is loaded, take up what was under way, then accept."""
        self.providers.publish(self.protectables.containers())
        self.heartbeat.start()
        self.conductor.start()
        self.housekeeper.start()
        self.server.start()
        LOG.info('%s serves the providers %s.', BINARY, ', '.join(sorted(self.providers)) or 'none')

    def reload(self) -> None:
        """Take provider files as they are now. Operations under way keep what they were begun with."""
        self.providers.reload()
        try:
            self.providers.publish(self.protectables.containers())
        except (db_exception.DBError, *engine.PASSING_FAULTS) as fault:
            LOG.error('What is loaded now cannot be published, the next SIGHUP tries again: %s', fault)
        self.conductor.look()
        LOG.info('%s has now the providers %s.', BINARY, ', '.join(sorted(self.providers)) or 'none')

    def stop(self) -> None:
        """Accept nothing more, stop operations between two groups of writes, end within `graceful_shutdown_timeout`."""
        self.housekeeper.stop()
        self.conductor.halt()  # first: the server may take seconds to notice that it has to stop
        self.server.stop()
        self.conductor.stop(CONF.graceful_shutdown_timeout)
        self.server.wait()
        self.heartbeat.stop()
