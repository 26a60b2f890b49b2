# SPDX-License-Identifier: Apache-2.0
"""The API on cheroot: one machine, several worker processes on one port."""

import threading
from typing import Any

from cheroot import wsgi
from oslo_config import cfg
from oslo_log import log

CONF = cfg.CONF
LOG = log.getLogger(__name__)


# Connections that wait to be accepted: with cheroot's 5, a burst of clients waits a second for its second try.
BACKLOG = 128


class ApiServer:
    """Serves ``app`` from `start` to `stop`. ``reuse_port`` lets worker processes share the port."""

    def __init__(self, app: Any, host: str, port: int, reuse_port: bool = False) -> None:
        self.server = wsgi.Server(
            (host, port),
            app,
            numthreads=CONF.osapi_karbor_threads,
            server_name='karbor',
            request_queue_size=BACKLOG,
            reuse_port=reuse_port,
        )
        self.server.error_log = _log_fault  # type: ignore[method-assign, assignment]
        self._thread = threading.Thread(target=self.server.serve, name='api', daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on, once started: the one that was free for a ``port`` of 0."""
        return self.server.bind_addr[1]

    def start(self) -> None:
        """It listens when this returns. Raises OSError when the port is taken."""
        self.server.prepare()
        self._thread.start()

    def stop(self) -> None:
        self.server.stop()
        if self._thread.is_alive():
            self._thread.join()


def _log_fault(message: str = '', level: int = 20, traceback: bool = False) -> None:
    LOG.log(level, message.strip(), exc_info=traceback)
