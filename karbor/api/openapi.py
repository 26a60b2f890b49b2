# SPDX-License-Identifier: Apache-2.0
"""The API as an OpenAPI 3.1 document, from the declarations of its methods."""

import re
from collections.abc import Iterable
from typing import Any

from karbor.api import etag, hooks, idempotency
from karbor.api.method import Method

REQUEST_ID = 'X-Openstack-Request-Id'
# What the codes of faults mean, whatever is asked for.
MEANINGS = {
    400: 'The request is wrong: its query, a header, its body, or an id in the path.',
    401: 'No token, or none that holds, or one without a project.',
    403: 'The policy does not allow it.',
    404: "There is none, or it is another project's; or the address is not known.",
    409: 'The object is in no state for it, or something works on it; the first request with the same '
    f'{idempotency.HEADER} is still under way.',
    412: 'The object is no longer as If-Match says.',
    413: 'The body is too large, or a quota is used up.',
    422: f'The {idempotency.HEADER} was used for another request.',
    503: 'A service behind the API does not answer.',
}
# The codes that may come with Retry-After. A fault of the cloud does not: python-karborclient 2.1.0 would not show it.
RETRY = (409, 413, 503)
HEADERS = {
    REQUEST_ID: {'required': True, 'description': 'What the request is logged under.', 'schema': {'type': 'string'}},
    'ETag': {'required': True, 'schema': etag.SHOWN},
    idempotency.REPLAYED: {'description': 'The answer is that of an earlier request.', 'schema': {'const': 'true'}},
}


def document(routes: Iterable[tuple[str, str, Method]]) -> dict[str, Any]:
    """The document as a value that JSON can carry."""
    paths: dict[str, Any] = {}
    for verb, path, method in routes:
        paths.setdefault(path, {})[verb.lower()] = _operation(verb, path, method)
    return {
        'openapi': '3.1.0',
        'info': {'title': 'Karbor', 'version': 'v1.0', 'description': 'Data protection as a service.'},
        'paths': paths,
        'components': {
            'headers': HEADERS,
            'responses': {str(code): _fault(code) for code in MEANINGS},
            'securitySchemes': {'token': {'type': 'apiKey', 'in': 'header', 'name': 'X-Auth-Token'}},
        },
    }


def _operation(verb: str, path: str, method: Method) -> dict[str, Any]:
    names = re.findall(r'{(\w+)}', path)
    parameters = [_parameter('path', name, method.schema_of(name)) for name in names]
    parameters += [_parameter('query', name, schema) for name, schema in (method.query or {}).items()]
    parameters += [_parameter('header', name, schema) for name, schema in _headers(verb, method).items()]
    responses = {str(method.status): _reply(verb, method)}
    if verb == 'GET' and method.tagged:
        responses['304'] = {'description': 'The caller has it as it is.', 'headers': _refer('ETag', REQUEST_ID)}
    for code in sorted(method.codes(verb, names)):
        responses[str(code)] = {'$ref': f'#/components/responses/{code}'}
    made: dict[str, Any] = {
        'operationId': f'{verb.lower()}{re.sub(r"[^A-Za-z0-9]+", "_", path)}'.rstrip('_'),
        'summary': ' '.join((method.function.__doc__ or '').partition('\n\n')[0].split()),
        'parameters': parameters,
        'responses': responses,
    }
    if method.body is not None:
        made['requestBody'] = {'required': True, 'content': {'application/json': {'schema': method.body}}}
    if not method.public:
        made |= {'security': [{'token': []}], 'x-policy': method.policy}
    return made


def _headers(verb: str, method: Method) -> dict[str, Any]:
    """The headers of a request that make a difference."""
    headers = {}
    if verb == 'POST':
        headers[idempotency.HEADER] = idempotency.ALLOWED
    elif method.tagged:
        headers['If-None-Match' if verb == 'GET' else 'If-Match'] = etag.ASKED
    return headers


def _reply(verb: str, method: Method) -> dict[str, Any]:
    names = [REQUEST_ID]
    if method.tagged and method.reply is not None:
        names.append('ETag')
    if verb == 'POST':
        names.append(idempotency.REPLAYED)
    shown: dict[str, Any] = {'description': 'Done.', 'headers': _refer(*names)}
    return shown if method.reply is None else shown | {'content': {'application/json': {'schema': method.reply}}}


def _fault(code: int) -> dict[str, Any]:
    """The reply with this code: its name, with code and message."""
    name, headers = hooks.FAULT_NAMES.get(code, 'computeFault'), _refer(REQUEST_ID)
    told: dict[str, Any] = {
        'code': {'const': code},
        'message': {'type': 'string', 'minLength': 1, 'maxLength': hooks.MESSAGE_LIMIT},
    }
    if code == 413:
        told['retryAfter'] = {'type': 'string'}
    if code in RETRY:
        seconds = {'type': 'integer', 'minimum': 0, 'description': 'The seconds to wait.'}
        headers['Retry-After'] = {'schema': seconds}
    fault = {'type': 'object', 'required': ['code', 'message'], 'properties': told, 'additionalProperties': False}
    whole = {'type': 'object', 'required': [name], 'properties': {name: fault}, 'additionalProperties': False}
    content: dict[str, Any] = {'application/json': {'schema': whole}}
    if code == 401:
        content['text/html'] = {'schema': {'type': 'string', 'description': "keystonemiddleware's own body."}}
    return {'description': MEANINGS[code], 'headers': headers, 'content': content}


def _refer(*headers: str) -> dict[str, Any]:
    return {name: {'$ref': f'#/components/headers/{name}'} for name in headers}


def _parameter(place: str, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {'in': place, 'name': name, 'required': place == 'path', 'schema': schema}
