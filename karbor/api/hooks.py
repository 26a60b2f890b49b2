# SPDX-License-Identifier: Apache-2.0
"""What happens around every request: its context is made, and errors become JSON."""

from typing import Any

import orjson
import webob
import webob.exc
import webob.request
from oslo_log import log
from pecan import hooks

from karbor import exception, policies, statuses
from karbor.context import RequestContext
from karbor.db import engine

LOG = log.getLogger(__name__)

# One line that a terminal shows; an id or type that the caller made up may be in it.
MESSAGE_LIMIT = 299

FAULT_NAMES = {
    400: 'badRequest',
    401: 'unauthorized',
    403: 'forbidden',
    404: 'itemNotFound',
    405: 'badMethod',
    409: 'conflictingRequest',
    413: 'overLimit',
    415: 'badMediaType',
    501: 'notImplemented',
    503: 'serviceUnavailable',
}


def fault(error: Exception) -> webob.Response:
    """The reply to a request that ended in ``error``: what nobody foresaw is logged, and answered without detail."""
    found = known(error)
    code, body = found.code, {'code': found.code, 'message': told(found)}
    if code == 500:
        LOG.error('A request failed unexpectedly.', exc_info=error)
    if isinstance(error, engine.PASSING_FAULTS):
        LOG.error('The database does not answer: %s', error)
    response = webob.Response(status=code, content_type='application/json')
    if found.retry_after is not None:
        response.headers['Retry-After'] = str(found.retry_after)
        if code == 413:
            body['retryAfter'] = str(found.retry_after)
    response.body = orjson.dumps({FAULT_NAMES.get(code, 'computeFault'): body})
    return response


def told(fault: exception.KarborError) -> str:
    """What the caller reads of it: of what nobody foresaw only that it was that."""
    if fault.code == 500:
        return 'The server met an unexpected condition; its log has the details under the request id.'
    return statuses.clean(fault.text, MESSAGE_LIMIT) or ''


def known(error: Exception) -> exception.KarborError:
    """``error``, or the fault that it is to the caller."""
    if isinstance(error, exception.KarborError):
        return error
    if isinstance(error, webob.exc.HTTPNotFound):
        return exception.NotFound()
    if isinstance(error, webob.exc.HTTPClientError):
        return exception.BadRequest(f'{error.title}.')
    if isinstance(error, webob.request.DisconnectionError):
        return exception.BadRequest('body: the connection ended before it was complete.')
    if isinstance(error, engine.PASSING_FAULTS):
        return exception.ServiceUnavailable(service='database')
    return exception.KarborError()


class ContextHook(hooks.PecanHook):
    """``request.context`` becomes the RequestContext of the caller, from what the authentication put into the
    environment. A public path, such as the versions document, gets none.
    """

    def before(self, state: Any) -> None:
        request = state.request
        request.context = None if request.route.public else context_of(request.environ)


def context_of(environ: dict[str, Any]) -> RequestContext:
    """Who asks. Raises Unauthorized without a user, or without a project: an unscoped token."""
    context = RequestContext.from_environ(environ, service_catalog=_catalog(environ.get('HTTP_X_SERVICE_CATALOG')))
    if not context.user_id or not context.project_id:
        raise exception.Unauthorized()
    context.is_admin = policies.is_admin(context)
    return context


def _catalog(text: str | None) -> list[dict[str, Any]]:
    try:
        found = orjson.loads(text) if text else []
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, list):
        raise exception.Unauthorized('The service catalogue of the token cannot be read.')
    return found


class ErrorHook(hooks.PecanHook):
    """Every error becomes a fault."""

    def on_error(self, state: Any, error: Exception) -> webob.Response:
        return fault(error)
