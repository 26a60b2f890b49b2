# SPDX-License-Identifier: Apache-2.0
"""The versions documents, and the API described for machines. None of them needs a token."""

import functools
from typing import Any

import orjson

from karbor.api import listing, openapi
from karbor.api.method import Call, method
from karbor.api.schema import OBJECT, Schema, whole

VERSION: Schema = whole(
    id={'const': 'v1.0'},
    status={'const': 'CURRENT'},
    links={'type': 'array', 'items': whole(rel={'const': 'self'}, href={'type': 'string'})},
)


@method(None, reply=whole(versions={'type': 'array', 'items': VERSION}), status=300)
def choices(call: Call) -> dict[str, Any]:
    """The versions of the API."""
    return {'versions': [_version(call)]}


@method(None, reply=whole(version=VERSION))
def show(call: Call) -> dict[str, Any]:
    """This version of the API."""
    return {'version': _version(call)}


@method(None, reply=OBJECT | {'required': ['openapi', 'info', 'paths', 'components']})
def openapi_document(call: Call) -> orjson.Fragment:
    """The API as an OpenAPI 3.1 document."""
    return rendered()


@functools.cache
def rendered() -> orjson.Fragment:
    """The document, which is the same as long as the process lives."""
    from karbor.api import v1

    return orjson.Fragment(orjson.dumps(openapi.document(v1.ROUTES)))


def _version(call: Call) -> dict[str, Any]:
    links = [{'rel': 'self', 'href': f'{listing.base_url(call.request)}/v1/'}]
    return {'id': 'v1.0', 'status': 'CURRENT', 'links': links}
