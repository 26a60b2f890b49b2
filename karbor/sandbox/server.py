# SPDX-License-Identifier: Apache-2.0
"""A WSGI application on a port of the loopback, served by threads of this process."""

import threading

from cheroot import wsgi

from karbor.sandbox.faults import Wsgi

# Calls with a slow answer hold a thread each.
THREADS = 32
HOST = '127.0.0.1'


class Server:
    """Listens from the beginning; answers from `start` to `stop`. Port 0 takes a free one."""

    def __init__(self, app: Wsgi, port: int = 0):
        self._server = wsgi.Server(
            (HOST, port), app, numthreads=THREADS, request_queue_size=128, timeout=60, shutdown_timeout=1
        )
        # How often it looks whether it shall end.
        self._server.expiration_interval = 0.2
        self._server.prepare()
        self.url = f'http://{HOST}:{self._server.bind_addr[1]}'
        self._thread = threading.Thread(target=self._server.serve, name='sandbox', daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End within about two seconds; idle connections are closed."""
        self._server.stop()
        if self._thread.is_alive():
            self._thread.join()
