# SPDX-License-Identifier: Apache-2.0
"""What can be put in a plan: types, and the caller's instances of them, as the cloud has them now."""

import ast
from typing import Any

import orjson

from karbor import exception
from karbor.api import listing, schema
from karbor.api.method import Call, method
from karbor.rpc.protection import ProtectionClient

PATH = dict.fromkeys(('type', 'id'), schema.TEXT | {'minLength': 1})
INSTANCE = {
    'id': {'type': 'string'},
    'type': {'type': 'string'},
    'name': schema.NULLABLE_TEXT,
    'extra_info': {},
}
SHOWN = {**INSTANCE, 'dependent_resources': {'type': 'array', 'items': schema.whole(**INSTANCE)}}
PARAMETERS = {'parameters': {'type': 'string', 'maxLength': 4096}}
TYPES = {'type': 'array', 'items': {'type': 'string'}}
# A cloud tells neither status nor time of an instance here: those leave the order as it is.
SORTS = ('id', 'name', 'status', 'created_at')

_protection = ProtectionClient()


@method('protectable:get_all', reply=schema.whole(protectable_type=TYPES))
def types(call: Call) -> dict[str, Any]:
    """List the types of resources that can be protected."""
    return {'protectable_type': _protection.list_protectable_types(call.context)}


@method(
    'protectable:get',
    reply=schema.reply('protectable_type', name={'type': 'string'}, dependent_types=TYPES),
    path=PATH,
)
def show_type(call: Call, type: str) -> dict[str, Any]:
    """Show a type, with the types of what may depend on its resources."""
    return {'protectable_type': _protection.show_protectable_type(call.context, type)}


@method(
    'protectable:instance_get_all',
    query=listing.QUERY | PARAMETERS,
    reply=schema.replies('instances', **SHOWN),
    path=PATH,
)
def instances(call: Call, type: str) -> dict[str, Any]:
    """List the caller's instances of a type, each with what depends on it."""
    sort = listing.wanted_sort(call.query, SORTS, 'id:asc')
    found = _protection.list_protectable_instances(
        call.context,
        type,
        _parameters(call.query),
        listing.limit_of(call),
        call.query.get('marker'),
        call.query.get('offset', 0),
        [(key, direction) for key, direction in sort if key in ('id', 'name')],
    )
    return listing.reply(call, 'instances', found)


@method(
    'protectable:instance_get',
    query=PARAMETERS,
    reply=schema.reply('instance', **SHOWN),
    path=PATH,
    faults=(409,),
)
def show_instance(call: Call, type: str, id: str) -> dict[str, Any]:
    """Show an instance with what depends on it."""
    found = _protection.show_protectable_instance(call.context, type, id, _parameters(call.query))
    return {'instance': found}


def _parameters(query: dict[str, Any]) -> dict[str, Any] | None:
    """`parameters` as JSON, or as the Python literal that the client writes."""
    text = query.get('parameters')
    if not text:
        return None
    found = _read(text)
    if not isinstance(found, dict):
        raise exception.InvalidInput(field='parameters', reason='must be an object, as JSON or as a Python literal')
    return found


def _read(text: str) -> Any:
    """The value of ``text``, None if it has none that JSON can carry."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return orjson.loads(orjson.dumps(ast.literal_eval(text)))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
