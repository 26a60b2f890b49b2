# SPDX-License-Identifier: Apache-2.0
"""What the three services have in common on the wire: tokens, errors in JSON, request ids."""

import uuid
from collections.abc import Mapping
from typing import Any, NoReturn

import flask
from werkzeug.exceptions import HTTPException

from karbor.sandbox import faults
from karbor.sandbox.clock import Clock
from karbor.sandbox.identity import Identity, Token
from karbor.sandbox.refusal import Refusal

# What Manila and Trove call their errors; Keystone has a form of its own.
FAULT_NAMES = {
    400: 'badRequest',
    401: 'unauthorized',
    403: 'forbidden',
    404: 'itemNotFound',
    405: 'badMethod',
    406: 'notAcceptable',
    409: 'conflictingRequest',
    413: 'overLimit',
    415: 'badMediaType',
    422: 'unprocessableEntity',
    429: 'overLimit',
    501: 'notImplemented',
    503: 'serviceUnavailable',
}

Route = tuple[str, str, str]


class Service(flask.Flask):
    """A WSGI application made of a table of routes: (method, path, name of the method that answers)."""

    prefix = ''
    routes: tuple[Route, ...] = ()
    # Paths that answer without a token.
    open_paths: tuple[str, ...] = ()
    fault_names = FAULT_NAMES
    other_fault = 'computeFault'

    def __init__(self, identity: Identity, clock: Clock):
        super().__init__(type(self).__name__, static_folder=None)
        self.identity = identity
        self.clock = clock
        self.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider has it
        self.url_map.strict_slashes = False
        for method, path, name in self.routes:
            view = getattr(self, name)
            self.add_url_rule(self.prefix + path, name, view, methods=[method], provide_automatic_options=False)
        self.register_error_handler(Refusal, self._refused)
        self.register_error_handler(HTTPException, self._http_error)
        self.before_request(self._authenticate)
        self.after_request(self._sign)

    @property
    def caller(self) -> Token:
        """Whose request this is; only where a token is needed."""
        caller: Token = flask.g.caller
        return caller

    @property
    def error_wanted(self) -> bool:
        """Whether a fault of kind `error_state` asks that what this request makes ends in error."""
        return faults.ERROR_STATE in flask.request.environ

    def dispatch_request(self) -> Any:
        """Answer one request: under the lock, and after what is due has happened."""
        with self.clock.lock:
            self.clock.settle()
            return super().dispatch_request()

    def body(self, *keys: str) -> dict[str, Any]:
        """The JSON object of the request, or the object below `keys` in it; Refusal 400 if it has none."""
        found: Any = flask.request.get_json(force=True, silent=True)
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            refuse(400, f'Invalid request body: an object is expected at {"/".join(keys) or "the top"}.')
        return found

    def render(self, status: int, message: str) -> dict[str, Any]:
        """An error body as this service writes it."""
        return {self.fault_names.get(status, self.other_fault): {'code': status, 'message': message}}

    def check_policy(self) -> None:
        """Refuse with 403 what the caller's roles do not allow: who may only read may not write."""
        if flask.request.method not in ('GET', 'HEAD') and 'member' not in self.caller.roles:
            self.deny()

    def deny(self) -> NoReturn:
        """Refuse with 403, naming the rule."""
        refuse(
            403,
            f"Policy doesn't allow {type(self).__name__.lower()}:{flask.request.endpoint} to be performed.",
        )

    def _authenticate(self) -> None:
        if flask.request.path.rstrip('/') in self.open_paths:
            return
        headers = flask.request.headers
        with self.clock.lock:
            service = self.identity.validate(headers.get('X-Service-Token', ''))
            # As keystonemiddleware does: a service may go on with a token that expired on the way.
            trusted = service is not None and 'service' in service.roles
            caller = self.identity.validate(headers.get('X-Auth-Token', ''), allow_expired=trusted)
        if caller is None:
            refuse(401, 'The request you have made requires authentication.')
        flask.g.caller = caller
        if flask.request.endpoint:
            self.check_policy()

    def _refused(self, refusal: Refusal) -> flask.Response:
        return self._error(refusal.status, refusal.message, refusal.headers)

    def _http_error(self, error: HTTPException) -> flask.Response:
        return self._error(error.code or 500, error.description or error.name, {})

    def _error(self, status: int, message: str, headers: Mapping[str, str]) -> flask.Response:
        reply = flask.jsonify(self.render(status, message))
        reply.status_code = status
        reply.headers.update(headers)
        if status == 401:
            reply.headers['WWW-Authenticate'] = f'Keystone uri="{flask.request.host_url}identity/v3"'
        return reply

    def _sign(self, reply: flask.Response) -> flask.Response:
        request_id = f'req-{uuid.uuid4()}'
        reply.headers['x-openstack-request-id'] = request_id
        reply.headers['X-Compute-Request-Id'] = request_id
        return reply


def below(found: Any, *keys: str) -> dict[str, Any]:
    """The object below `keys` in `found`, an empty one if something else is there, or nothing."""
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def refuse(status: int, message: str, **headers: str) -> NoReturn:
    """Answer the request with an error; `headers` have their names with underscores."""
    raise Refusal(status, message, **headers)
