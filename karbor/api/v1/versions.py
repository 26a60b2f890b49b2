# SPDX-License-Identifier: Apache-2.0
"""The versions documents, and the API described for machines. None of them needs a token."""

from typing import Any

from karbor.api import listing, openapi
from karbor.api.method import Call, method
from karbor.api.schema import OBJECT


@method(None, reply=OBJECT, status=300)
def choices(call: Call) -> dict[str, Any]:
    """The versions of the API."""
    return {'versions': [_version(call)]}


@method(None, reply=OBJECT)
def show(call: Call) -> dict[str, Any]:
    """This version of the API."""
    return {'version': _version(call)}


@method(None, reply=OBJECT)
def openapi_document(call: Call) -> dict[str, Any]:
    """The API as an OpenAPI 3.1 document."""
    from karbor.api import v1

    return openapi.document(v1.ROUTES)


def _version(call: Call) -> dict[str, Any]:
    links = [{'rel': 'self', 'href': f'{listing.base_url(call.request)}/v1/'}]
    return {'id': 'v1.0', 'status': 'CURRENT', 'links': links}
