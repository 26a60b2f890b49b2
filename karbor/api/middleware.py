# SPDX-License-Identifier: Apache-2.0
"""WSGI middleware of our own; `app.py` tells in which order."""

import io
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

from oslo_config import cfg
from oslo_middleware import request_id

from karbor import exception
from karbor.api import hooks

CONF = cfg.CONF

Environ = dict[str, Any]
App = Callable[[Environ, Any], Iterable[bytes]]


class RequestId(request_id.RequestId):
    """The id of the request, in both headers that clients look for, on every reply."""

    compat_headers = ['x-compute-request-id']


class Guard:
    """Keeps out what nothing behind could handle, and answers for what breaks behind.

    A body above `osapi_max_request_body_size` is 413, however it is sent; a path or query that is
    not UTF-8 is 400.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        try:
            self._check_text(environ)
            self._limit_body(environ)
            if CONF.use_forwarded_for and 'HTTP_X_FORWARDED_FOR' in environ:
                environ['REMOTE_ADDR'] = environ['HTTP_X_FORWARDED_FOR'].split(',')[0].strip()
            return self.app(environ, start_response)
        except Exception as error:  # noqa: BLE001  the outermost place of a request: whatever it is becomes a fault
            return hooks.fault(error)(environ, start_response)

    @staticmethod
    def _check_text(environ: Environ) -> None:
        try:
            environ.get('PATH_INFO', '').encode('latin-1').decode()
            _unquoted(environ.get('QUERY_STRING', '')).decode()
        except UnicodeError:
            raise exception.BadRequest('URL: must be UTF-8.') from None

    @staticmethod
    def _limit_body(environ: Environ) -> None:
        limit = CONF.osapi_max_request_body_size
        length = environ.get('CONTENT_LENGTH') or ''
        if length.isdigit() and int(length) > limit:
            raise exception.BodyTooLarge(limit=limit)
        if not length and 'chunked' in environ.get('HTTP_TRANSFER_ENCODING', '').lower():
            try:
                body = environ['wsgi.input'].read(limit + 1)
            except ValueError:
                raise exception.BadRequest('body: its chunks are malformed.') from None
            if len(body) > limit:
                raise exception.BodyTooLarge(limit=limit)
            environ['wsgi.input'], environ['CONTENT_LENGTH'] = io.BytesIO(body), str(len(body))


def _unquoted(query: str) -> bytes:
    return unquote_to_bytes(query) if '%' in query else query.encode('latin-1')


class Paths:
    """Sends the paths of ``apps`` to their applications, everything else to ``rest``."""

    def __init__(self, apps: dict[str, App], rest: App) -> None:
        self.apps, self.rest = apps, rest

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        return self.apps.get(environ.get('PATH_INFO', ''), self.rest)(environ, start_response)
