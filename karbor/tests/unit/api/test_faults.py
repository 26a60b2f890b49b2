# SPDX-License-Identifier: Apache-2.0
"""How errors are told: by one function, and never with what only the log may hold."""

import io
from collections.abc import Iterable, Iterator

import pytest
import webob.exc
from oslo_db import exception as db_exception

from karbor import exception
from karbor.api import hooks, middleware
from karbor.tests import fixtures


@pytest.mark.parametrize(
    ('error', 'code', 'name'),
    [
        (exception.BadRequest('x'), 400, 'badRequest'),
        (exception.Unauthorized(), 401, 'unauthorized'),
        (exception.Forbidden(action='plan:get'), 403, 'forbidden'),
        (exception.NotFound(), 404, 'itemNotFound'),
        (webob.exc.HTTPNotFound(), 404, 'itemNotFound'),
        (webob.exc.HTTPMethodNotAllowed(), 400, 'badRequest'),
        (exception.Conflict('x'), 409, 'conflictingRequest'),
        (exception.BodyTooLarge(limit=5), 413, 'overLimit'),
        (exception.ServiceUnavailable(service='x'), 503, 'serviceUnavailable'),
        (db_exception.DBConnectionError('secret'), 503, 'serviceUnavailable'),
        (ValueError('secret'), 500, 'computeFault'),
        (exception.KarborError('secret'), 500, 'computeFault'),
        (exception.ConfigurationError(reason='secret'), 500, 'computeFault'),
    ],
)
def test_an_error_has_the_name_of_its_code(error: Exception, code: int, name: str) -> None:
    reply = hooks.fault(error)
    assert reply.status_int == code
    assert reply.content_type == 'application/json'
    assert reply.json[name]['code'] == code
    assert 'secret' not in reply.text


def test_over_quota_may_be_tried_again_at_once() -> None:
    reply = hooks.fault(exception.OverQuota(in_use=1, limit=1, resource='plans'))
    assert reply.headers['Retry-After'] == reply.json['overLimit']['retryAfter'] == '0'


def test_a_message_is_one_short_line_whatever_is_in_it() -> None:
    text = hooks.fault(exception.NotFound('a\nb' * 500)).json['itemNotFound']['message']
    assert len(text) < 300 and text.isprintable()


@pytest.fixture
def configured() -> Iterator[None]:
    with fixtures.configured():
        yield


def test_what_breaks_behind_the_guard_is_a_fault(configured: None) -> None:
    def broken(environ: dict, start_response: object) -> list[bytes]:
        raise RuntimeError('secret')

    reply = webob.Request.blank('/v1').get_response(middleware.Guard(broken))
    assert reply.status_int == 500
    assert 'secret' not in reply.text


@pytest.mark.parametrize(('size', 'status'), [(2048, 200), (2049, 413)])
def test_a_chunked_body_is_limited_too(size: int, status: int) -> None:
    def echo(environ: dict, start_response: object) -> Iterable[bytes]:
        return webob.Response(webob.Request(environ).body)(environ, start_response)

    with fixtures.configured(osapi_max_request_body_size=2048):
        request = webob.Request.blank('/', method='POST', headers={'Transfer-Encoding': 'chunked'})
        request.environ['wsgi.input'] = io.BytesIO(b'x' * size)
        request.environ.pop('CONTENT_LENGTH', None)
        reply = request.get_response(middleware.Guard(echo))
    assert reply.status_int == status
    assert status == 413 or reply.body == b'x' * size
