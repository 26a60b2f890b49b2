# SPDX-License-Identifier: Apache-2.0
"""The options of a plan, restore or verification, by resource type or `type#id`, against the plugins' schemas.

The shell sends every value as text and a database of Karbor 1.6 holds text, so values are coerced
by the schema's type before they are checked. A null is as good as a missing key.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from oslo_utils import strutils

from karbor import exception

Schemas = Mapping[str, Mapping[str, Any]]  # type -> its JSON schema

RESOURCE_ID = re.compile(r'(?!\.{1,2}\Z)[A-Za-z0-9_.@-]{1,36}\Z')

# What a plan may say beside the options of its resources: to list what no plugin can protect,
# instead of failing.
PLAN_OPTIONS: Mapping[str, Mapping[str, Any]] = {'skip_unsupported': {'type': 'boolean'}}

_NAMES = {
    'string': 'text',
    'boolean': 'true or false',
    'integer': 'a whole number',
    'number': 'a number',
    'object': 'an object',
    'array': 'a list',
}
_KINDS: dict[str, Any] = {
    'string': str,
    'boolean': bool,
    'integer': int,
    'number': (int, float),
    'object': dict,
    'array': list,
}


def coerced(parameters: Mapping[str, Any] | None, schemas: Schemas) -> dict[str, Any]:
    """``parameters`` with the types that ``schemas`` say, as far as each value allows it; nulls are left out.

    For what is stored already: nothing is refused, and types without a schema stay as they are.
    """
    found: dict[str, Any] = {}
    for key, options in (parameters or {}).items():
        if key in PLAN_OPTIONS:
            found[key] = _coerced(options, PLAN_OPTIONS[key])
            continue
        given = {name: value for name, value in (options or {}).items() if value is not None}
        found[key] = {name: _coerced(value, _property(schemas, key, name)) for name, value in given.items()}
    return found


def checked(
    parameters: Mapping[str, Any] | None, schemas: Schemas, others: Collection[str] = (), field: str = 'parameters'
) -> dict[str, Any]:
    """As `coerced`, for what a user sends: InvalidInput names what is wrong and what is allowed.

    A key is a type of ``schemas`` or of ``others`` (accepted without a look at its options), alone
    or followed by `#` and a resource id. A schema without properties takes any option.
    """
    found = coerced(parameters, schemas)
    for key, options in found.items():
        where = f'{field}/{key[:80]}'
        if key in PLAN_OPTIONS:
            _check(options, PLAN_OPTIONS[key], where)
            continue
        _check_key(key, {*schemas, *others}, where)
        schema = schemas.get(key.partition('#')[0]) or {}
        allowed = schema.get('properties')
        for name, value in options.items():
            if allowed is None:
                continue
            if name not in allowed:
                raise exception.InvalidInput(
                    field=f'{where}/{name[:80]}', reason=f'unknown option; allowed are {_listed(allowed)}'
                )
            _check(value, allowed[name], f'{where}/{name}')
    return found


def of_resource(parameters: Mapping[str, Any] | None, type: str, id: str) -> dict[str, Any]:
    """The options of one resource: those of its type, overlaid with those of `type#id`."""
    given = parameters or {}
    return (given.get(type) or {}) | (given.get(f'{type}#{id}') or {})


def _check_key(key: str, types: Collection[str], where: str) -> None:
    type, separator, id = key.partition('#')
    if type not in types:
        raise exception.InvalidInput(field=where, reason=f'unknown resource type; allowed are {_listed(types)}')
    if separator and not RESOURCE_ID.match(id):
        raise exception.InvalidInput(field=where, reason='must be a resource type, or a type, `#` and a resource id')


def _check(value: Any, schema: Mapping[str, Any], where: str) -> None:
    types = _types(schema)
    if types and not any(_is(value, type) for type in types):
        names = ' or '.join(_NAMES.get(type, type) for type in types if type != 'null')
        raise exception.InvalidInput(field=where, reason=f'must be {names}')
    if 'enum' in schema and value not in schema['enum']:
        raise exception.InvalidInput(field=where, reason=f'must be one of {_listed(schema["enum"])}')


def _is(value: Any, type: str) -> bool:
    if isinstance(value, bool):
        return type == 'boolean'
    return isinstance(value, _KINDS.get(type, object))


def _property(schemas: Schemas, key: str, name: str) -> Mapping[str, Any]:
    schema = schemas.get(key.partition('#')[0]) or {}
    return (schema.get('properties') or {}).get(name) or {}


def _types(schema: Mapping[str, Any]) -> list[str]:
    types = schema.get('type', [])
    return [types] if isinstance(types, str) else list(types)


def _coerced(value: Any, schema: Mapping[str, Any]) -> Any:
    types = _types(schema)
    if any(_is(value, type) for type in types):
        return value
    for type in types:
        try:
            return _CONVERSIONS[type](value)
        except (KeyError, TypeError, ValueError):
            continue
    return value


def _boolean(value: Any) -> bool:
    return strutils.bool_from_string(value, strict=True)


def _integer(value: Any) -> int:
    if not isinstance(value, str) or not re.fullmatch(r'[+-]?[0-9]{1,18}', value.strip()):
        raise ValueError(value)
    return int(value)


def _number(value: Any) -> float:
    if not isinstance(value, str) or not re.fullmatch(r'[+-]?[0-9]+(\.[0-9]+)?', value.strip()):
        raise ValueError(value)
    return float(value)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(value)
    return str(value)


_CONVERSIONS = {'boolean': _boolean, 'integer': _integer, 'number': _number, 'string': _text}


def _listed(words: Collection[Any]) -> str:
    text = ', '.join(sorted(str(word) for word in words)) or 'none'
    return text if len(text) <= 120 else text[:119] + '…'
