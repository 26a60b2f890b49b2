# SPDX-License-Identifier: Apache-2.0
"""A wire to a server on which answers get lost."""

import contextlib
import socket
import threading
from collections.abc import Iterator

CHUNK = 65536


class Proxy:
    """Listens on ``port`` (a free one) and leads to the port ``target``."""

    def __init__(self, target: int, port: int = 0) -> None:
        self.target, self.swallowed = target, 0
        self._unheard: bytes | None = None
        self._listener = socket.create_server(('127.0.0.1', port))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @contextlib.contextmanager
    def losing(self, unheard: bytes) -> Iterator[None]:
        """Within the block what the server says does not get through if ``unheard`` is in it; at its end all
        connections are cut.
        """
        self._unheard, self.swallowed = unheard, 0
        try:
            yield
        finally:
            self._unheard = None
            self.cut()

    def cut(self) -> None:
        while self._open:
            with contextlib.suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(('127.0.0.1', self.target))
                except OSError:
                    near.close()
                    continue
                self._open += [near, far]
                threading.Thread(target=self._carry, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._carry, args=(far, near, True), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK):
                if is_answer and self._unheard is not None and self._unheard in chunk:
                    self.swallowed += 1
                else:
                    sink.sendall(chunk)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
