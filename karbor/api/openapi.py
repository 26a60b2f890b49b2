# SPDX-License-Identifier: Apache-2.0
"""The API as an OpenAPI 3.1 document, from the declarations of its methods."""

import re
from collections.abc import Iterable
from typing import Any

from karbor.api import etag, hooks, idempotency
from karbor.api.method import Method

FAULT = {
    'description': 'A fault: its name, with code and message.',
    'content': {
        'application/json': {
            'schema': {
                'type': 'object',
                'propertyNames': {'enum': [*hooks.FAULT_NAMES.values(), 'computeFault']},
                'additionalProperties': {
                    'type': 'object',
                    'required': ['code', 'message'],
                    'properties': {'code': {'type': 'integer'}, 'message': {'type': 'string'}},
                },
            }
        }
    },
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
            'responses': {'fault': FAULT},
            'securitySchemes': {'token': {'type': 'apiKey', 'in': 'header', 'name': 'X-Auth-Token'}},
        },
    }


def _operation(verb: str, path: str, method: Method) -> dict[str, Any]:
    names = re.findall(r'{(\w+)}', path)
    parameters = [_parameter('path', name, {'type': 'string'}) for name in names]
    parameters += [_parameter('query', name, schema) for name, schema in (method.query or {}).items()]
    parameters += [_parameter('header', name, schema) for name, schema in _headers(verb, method).items()]
    made: dict[str, Any] = {
        'operationId': f'{verb.lower()}{re.sub(r"[^A-Za-z0-9]+", "_", path)}'.rstrip('_'),
        'summary': (method.function.__doc__ or '').strip().split('\n')[0],
        'parameters': parameters,
        'responses': {str(method.status): _reply(method), 'default': {'$ref': '#/components/responses/fault'}},
    }
    if verb == 'GET' and method.tagged:
        made['responses']['304'] = {'description': 'The caller has it as it is.'}
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


def _reply(method: Method) -> dict[str, Any]:
    shown: dict[str, Any] = {'description': 'Done.'}
    if method.tagged and method.reply is not None:
        shown['headers'] = {'ETag': {'schema': etag.SHOWN}}
    return shown if method.reply is None else shown | {'content': {'application/json': {'schema': method.reply}}}


def _parameter(place: str, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {'in': place, 'name': name, 'required': place == 'path', 'schema': schema}
