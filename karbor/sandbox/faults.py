# SPDX-License-Identifier: Apache-2.0
"""Trouble on demand: what goes wrong at which call; and the count of all calls.

A fault is `{"service": "manila", "match": "POST /shares$", "kind": "status", ...}`: `match` is a method (`*`
for any) and a regular expression that the beginning of the path must match, the path without the service's
own prefix (`/shares/…`, `/instances/…`, `/auth/tokens`). The `nth` such call (from 1, counted from now on)
and the `times - 1` after it go wrong (`times` null: all after it):

=============  ====================================================================================
status         answered with `status` (and `retry_after` seconds, `message`), nothing is done
error_state    done, but what the call makes, changes or deletes ends in its error state
slow           done after `seconds`
timeout        nothing is done, the connection is closed without an answer after `seconds`
drop_before    nothing is done, the connection is closed without an answer
drop_after     done, and the connection is closed without an answer
=============  ====================================================================================

A test in the same process can look on, too: `Faults.watch` is told of each call, and holds it as long as it likes.
"""

import collections
import errno
import io
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

from werkzeug.http import HTTP_STATUS_CODES

from karbor.sandbox.refusal import Refusal

SERVICES = ('keystone', 'manila', 'trove')
KINDS = ('status', 'error_state', 'slow', 'timeout', 'drop_before', 'drop_after')
# Where the services find in the environment of a request that what it makes has to fail.
ERROR_STATE = 'karbor.sandbox.error_state'
_PREFIX = re.compile(r'/v3|/v2|/v1\.0/[^/]+')
_ID = re.compile(r'\b([0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})\b')
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
# Told of a call, as in "manila POST /snapshots", and whether it is done: once before anything is, once before the
# answer. What it raises is raised in place of going on; `hang_up` closes the connection.
Watch = Callable[[str, bool], None]


@dataclass
class Fault:
    """One thing that is to go wrong; `hits` counts the calls that matched, `fired` those that went wrong."""

    service: str
    match: str
    kind: str
    nth: int = 1
    times: int | None = 1
    status: int = 500
    retry_after: int | None = None
    seconds: float = 5
    message: str = 'A fault that was asked for.'
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    hits: int = 0
    fired: int = 0

    def __post_init__(self) -> None:
        if self.service not in SERVICES or self.kind not in KINDS:
            raise Refusal(400, f'service is one of {", ".join(SERVICES)}, kind one of {", ".join(KINDS)}.')
        numbers = (
            self.nth,
            self.status,
            self.seconds,
            *(n for n in (self.times, self.retry_after) if n is not None),
        )
        if any(isinstance(n, bool) or not isinstance(n, int | float) or n < 0 for n in numbers):
            raise Refusal(400, 'nth, times, status, retry_after and seconds are numbers.')
        whole = (self.nth, self.status, *(n for n in (self.times, self.retry_after) if n is not None))
        if not all(isinstance(n, int) for n in whole) or not 100 <= self.status <= 599:
            raise Refusal(400, 'nth, times, status and retry_after are whole numbers, status an HTTP one.')
        try:
            method, path = str(self.match).split(' ', 1)
            self._method, self._path = method, re.compile(path)
        except (ValueError, re.error) as error:
            raise Refusal(400, f'match is no method and regular expression: {error}') from error

    def takes(self, service: str, method: str, path: str) -> bool:
        """Whether this call goes wrong; a call that matches counts."""
        if service != self.service or self._method not in ('*', method) or not self._path.match(path):
            return False
        self.hits += 1
        due = self.hits >= self.nth and (self.times is None or self.hits < self.nth + self.times)
        self.fired += due
        return due


class Faults:
    """All faults that are set, and the counts of calls; `stopping` ends every wait."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.watch: Watch = lambda call, is_done: None
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._calls: collections.Counter[tuple[str, str]] = collections.Counter()

    def add(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """The new fault as `all` shows it; Refusal 400 if it is none."""
        known = {name for name in Fault.__dataclass_fields__ if name not in ('id', 'hits', 'fired')}
        if set(wanted) - known or not {'service', 'match', 'kind'} <= set(wanted):
            raise Refusal(400, f'A fault has service, match, kind, and may have any of {", ".join(sorted(known))}.')
        return asdict(self.set(Fault(**wanted)))

    def set(self, fault: Fault) -> Fault:
        """The fault, which holds from now on."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def all(self) -> list[dict[str, Any]]:
        """The faults that are set, with how often they matched and fired."""
        with self._lock:
            return [asdict(fault) for fault in self._faults]

    def clear(self) -> None:
        """Nothing goes wrong any longer."""
        with self._lock:
            self._faults.clear()

    def calls(self) -> dict[str, dict[str, int]]:
        """How often each route was called: {service: {"GET /shares/{id}": n}}."""
        with self._lock:
            found: dict[str, dict[str, int]] = {service: {} for service in SERVICES}
            for (service, route), number in sorted(self._calls.items()):
                found[service][route] = number
            return found

    def forget_calls(self) -> None:
        """Count from zero again."""
        with self._lock:
            self._calls.clear()

    def take(self, service: str, method: str, path: str) -> list[Fault]:
        """Count the call; the faults that hit it."""
        with self._lock:
            self._calls[service, route(method, path)] += 1
            return [fault for fault in self._faults if fault.takes(service, method, path)]

    def wrap(self, service: str, app: Wsgi, render: Callable[[int, str], dict[str, Any]]) -> Wsgi:
        """The application with trouble; `render` makes an error body as the service does."""

        def troubled(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            method, path = environ['REQUEST_METHOD'], _PREFIX.sub('', environ.get('PATH_INFO', ''), count=1)
            call = f'{service} {route(method, path)}'
            _read_body(environ)
            self.watch(call, False)
            faults = {fault.kind: fault for fault in self.take(service, method, path)}
            for kind in ('slow', 'timeout'):
                if kind in faults:
                    self.stopping.wait(faults[kind].seconds)
            if 'timeout' in faults or 'drop_before' in faults:
                hang_up()
            if 'status' in faults:
                return _answer(faults['status'], render, start_response)
            if 'error_state' in faults:
                environ[ERROR_STATE] = True
            reply = app(environ, start_response)
            try:
                self.watch(call, True)
                if 'drop_after' in faults:
                    hang_up()
            except ConnectionError:
                getattr(reply, 'close', lambda: None)()
                raise
            return reply

        return troubled


def _read_body(environ: dict[str, Any]) -> None:
    """Have all of the request: the services answer one at a time, and must not wait for a client that stands still."""
    length = int(environ.get('CONTENT_LENGTH') or 0)
    if length:
        environ['wsgi.input'] = io.BytesIO(environ['wsgi.input'].read(length))


def route(method: str, path: str) -> str:
    """What is called, whatever the ids in the path are: "GET /shares/{id}"."""
    return f'{method} {_ID.sub("{id}", path)}'


def hang_up() -> NoReturn:
    """Close the connection without an answer: the server takes this error for a client that went away."""
    raise ConnectionResetError(errno.ECONNRESET, 'The sandbox hangs up.')


def _answer(
    fault: Fault, render: Callable[[int, str], dict[str, Any]], start_response: Callable[..., Any]
) -> list[bytes]:
    body = json.dumps(render(fault.status, fault.message)).encode()
    headers = [
        ('Content-Type', 'application/json'),
        ('Content-Length', str(len(body))),
        ('x-openstack-request-id', f'req-{uuid.uuid4()}'),
    ]
    if fault.retry_after is not None:
        headers.append(('Retry-After', str(fault.retry_after)))
    start_response(f'{fault.status} {HTTP_STATUS_CODES.get(fault.status, "Trouble")}', headers)
    return [body]
