# SPDX-License-Identifier: Apache-2.0
"""A service's row in the table of services, and the heartbeat that keeps it up."""

import datetime
import threading
from collections.abc import Callable

from oslo_config import cfg
from oslo_log import log
from oslo_utils import timeutils

from karbor.db import engine, models, repository

CONF = cfg.CONF
LOG = log.getLogger(__name__)


def alive_since() -> datetime.datetime:
    """A service that has reported then or later, in UTC, is up."""
    return timeutils.utcnow() - datetime.timedelta(seconds=CONF.service_down_time)


def is_up(service: models.Service) -> bool:
    """Whether the service of this row has reported within `service_down_time`. One that has never reported again, in
    Karbor 1.6, did so when its row was made.
    """
    seen = service.updated_at or service.created_at
    return seen is not None and seen >= alive_since()


class Heartbeat:
    """Registers ``binary`` on this host and reports every `report_interval` seconds until `stop`.

    ``beat`` is called with each report, for what a service publishes along with it.
    """

    def __init__(self, binary: str, topic: str, beat: Callable[[], None] | None = None) -> None:
        self.binary, self.topic, self.beat = binary, topic, beat
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name='heartbeat', daemon=True)

    def start(self) -> None:
        """The row exists when this returns."""
        self._report()
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(CONF.report_interval):
            try:
                self._report()
                if self.beat:
                    self.beat()
            except Exception:  # noqa: BLE001  whatever it is, a service that lives must not show as down for good
                LOG.exception('The heartbeat of %s could not be written; trying again.', self.binary)

    @engine.repeated
    def _report(self) -> None:
        service = models.Service
        with engine.writing():
            mine = {'host': CONF.host, 'binary': self.binary}
            row = next(iter(repository.find(service, filters=mine)), None)
            if row is None:
                repository.create(service(**mine, topic=self.topic, report_count=0, updated_at=timeutils.utcnow()))
            else:
                values = {'report_count': service.report_count + 1, 'updated_at': timeutils.utcnow()}
                repository.update(service, row.id, values)
