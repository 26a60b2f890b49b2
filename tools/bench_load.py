# SPDX-License-Identifier: Apache-2.0
"""A load of HTTP requests over connections that are kept alive, from a process of its own.

`python bench_load.py` reads one JSON object from standard input (host, port, clients, seconds, requests:
method, path, headers, body of each, asked in turn) and writes one to standard output: how many were
answered, in how many seconds, the statuses, and the seconds that each took, sorted.
"""

import json
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = dict[str, Any]
PATIENCE = 30  # seconds that a request may take


def measure(address: tuple[str, int], clients: int, seconds: float, requests: Sequence[Json]) -> Json:
    """What `clients` that ask without a pause were answered, measured by another process."""
    told = {
        'host': address[0],
        'port': address[1],
        'clients': clients,
        'seconds': seconds,
        'requests': list(requests),
    }
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        timeout=seconds + 2 * PATIENCE,
        check=True,
    )
    return json.loads(done.stdout)


class _Client:
    """One connection; what is read of the reply that it waits for is in `read`."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.read = b''
        self.began = 0.0

    def ask(self, request: bytes) -> None:
        self.read, self.began = b'', time.perf_counter()
        self.socket.sendall(request)

    def take(self) -> int | None:
        """The status of the reply once it is complete. Raises ConnectionError when it never will be."""
        more = self.socket.recv(1 << 20)
        if not more:
            raise ConnectionError('the server closed the connection')
        self.read += more
        head, end, body = self.read.partition(b'\r\n\r\n')
        if not end or len(body) < _length(head):
            return None
        return int(head[9:12])


def _length(head: bytes) -> int:
    lower = head.lower()
    start = lower.index(b'content-length:') + 15
    return int(lower[start:].split(b'\r\n', 1)[0])


def _encoded(request: Mapping[str, Any], host: str) -> bytes:
    body = json.dumps(request['body']).encode() if request.get('body') is not None else b''
    lines = [f'{request["method"]} {request["path"]} HTTP/1.1', f'Host: {host}']
    lines += [f'{name}: {value}' for name, value in request['headers'].items()]
    if body:
        lines += ['Content-Type: application/json', f'Content-Length: {len(body)}']
    return '\r\n'.join([*lines, '', '']).encode() + body


def run(told: Json) -> Json:
    """Ask until the time is over, and wait for the last answers."""
    address = (told['host'], told['port'])
    requests = [_encoded(r, f'{told["host"]}:{told["port"]}') for r in told['requests']]
    statuses: Counter[str] = Counter()
    seconds: list[float] = []
    turn = _turns(requests)
    with selectors.DefaultSelector() as selector:
        connected = [_Client(address) for _ in range(told['clients'])]
        began = time.perf_counter()
        for client in connected:
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.ask(next(turn))
        end = began + told['seconds']
        while selector.get_map():
            ready = selector.select(PATIENCE)
            if not ready:
                statuses['no answer'] += len(selector.get_map())
                break
            for key, _ in ready:
                client = key.data
                status = _taken(client)
                if status is None:
                    continue
                now = time.perf_counter()
                statuses[status] += 1
                seconds.append(now - client.began)
                if now < end and status != 'broken':
                    client.ask(next(turn))
                else:
                    selector.unregister(client.socket)
                    client.socket.close()
        took = time.perf_counter() - began
    return {'answered': len(seconds), 'seconds': took, 'statuses': statuses, 'latencies': sorted(seconds)}


def _taken(client: _Client) -> str | None:
    try:
        status = client.take()
    except OSError:
        return 'broken'
    return None if status is None else str(status)


def _turns(requests: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from requests


if __name__ == '__main__':
    json.dump(run(json.load(sys.stdin)), sys.stdout)
