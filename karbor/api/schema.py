# SPDX-License-Identifier: Apache-2.0
"""JSON-schema fragments that several resources share, and the one line that tells a user what is wrong."""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

import jsonschema
from oslo_utils import uuidutils

from karbor import exception, parameters, quota, statuses

Schema = dict[str, Any]

_formats = jsonschema.FormatChecker(formats=())
_MEANINGS: dict[str, str] = {}


def _format(name: str, meaning: str) -> Callable[[Callable[[str], bool]], Callable[[str], bool]]:
    """A format of text: its check, and how a message completes "must be …" or "must have …"."""

    def register(check: Callable[[str], bool]) -> Callable[[str], bool]:
        _MEANINGS[name] = meaning
        _formats.checks(name)(lambda value: not isinstance(value, str) or check(value))
        return check

    return register


@_format('name', 'must not be blank and must have no control characters')
def _is_name(value: str) -> bool:
    return bool(value.strip()) and _is_printable(value)


@_format('printable', 'must have no control characters or line breaks')
def _is_printable(value: str) -> bool:
    # Python calls every blank but one unprintable; others, such as the ideographic one, stand in names.
    return value.isprintable() or all(c.isprintable() or unicodedata.category(c) == 'Zs' for c in value)


@_format('uuid', 'must be a UUID')
def is_uuid(value: str) -> bool:
    """Whether ``value`` is a UUID, with or without dashes."""
    return uuidutils.is_uuid_like(value)


@_format('resource-id', 'must have 1 to 36 characters of A-Z a-z 0-9 _ . @ - and be neither `.` nor `..`')
def _is_resource_id(value: str) -> bool:
    return parameters.RESOURCE_ID.match(value) is not None


@_format('metadata-key', 'keys must have 1 to 255 characters of A-Z a-z 0-9 - _ : . # @ and blank')
def _is_metadata_key(value: str) -> bool:
    return re.fullmatch(r'[a-zA-Z0-9\-_:.#@ ]{1,255}', value) is not None


@_format('limit', f'must be a whole number from {quota.UNLIMITED} to {quota.HIGHEST}')
def _is_limit(value: str) -> bool:
    return re.fullmatch(r'-1|[0-9]{1,10}', value) is not None and int(value) <= quota.HIGHEST


@_format('date', 'must be a date, YYYY-MM-DD')
def _is_date(value: str) -> bool:
    return jsonschema.FormatChecker(formats=('date',)).conforms(value, 'date')


NAME: Schema = {'type': 'string', 'minLength': 1, 'maxLength': 255, 'format': 'name'}
DESCRIPTION: Schema = {'type': ['string', 'null'], 'maxLength': 255, 'format': 'printable'}
UUID: Schema = {'type': 'string', 'format': 'uuid'}
DATE: Schema = {'type': 'string', 'format': 'date'}
TEXT: Schema = {'type': 'string', 'format': 'printable'}
NULLABLE_TEXT: Schema = {'type': ['string', 'null']}
# A time in UTC, as `views.moment` writes it.
MOMENT: Schema = {'type': ['string', 'null'], 'pattern': r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$'}
OBJECT: Schema = {'type': 'object'}

# A null leaf is as good as a missing one.
LIMIT: Schema = {
    'type': ['integer', 'string', 'null'],
    'minimum': quota.UNLIMITED,
    'maximum': quota.HIGHEST,
    'format': 'limit',
}
METADATA: Schema = {
    'type': ['object', 'null'],
    'propertyNames': {'format': 'metadata-key'},
    'additionalProperties': {'type': ['boolean', 'string', 'integer', 'null']},
}
PARAMETERS: Schema = {
    'type': 'object',
    'propertyNames': {'format': 'metadata-key'},
    'additionalProperties': METADATA,
}
# What else clients send along with limits is ignored, as in Karbor 1.6.
LIMITS: Schema = {'type': 'object', 'properties': dict.fromkeys(quota.RESOURCES, LIMIT)}
RESOURCES: Schema = {
    'type': 'array',
    'minItems': 1,
    'items': {
        'type': 'object',
        'required': ['id', 'type', 'name'],
        'properties': {
            'id': {'type': 'string', 'format': 'resource-id'},
            'type': {'type': 'string', 'minLength': 1, 'maxLength': 64, 'format': 'name'},
            'name': NAME,
            'extra_info': {},
        },
    },
}


def envelope(key: str, required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """The schema of a body ``{key: {…}}`` without unknown keys at either level."""
    inner = {
        'type': 'object',
        'required': list(required),
        'properties': properties,
        'additionalProperties': False,
    }
    return {
        'type': 'object',
        'required': [key],
        'properties': {key: inner},
        'additionalProperties': False,
    }


def reply(key: str, **properties: Schema) -> Schema:
    """The schema of a reply ``{key: {…}}``: exactly these properties, each of them there."""
    return {
        'type': 'object',
        'required': [key],
        'additionalProperties': False,
        'properties': {key: whole(**properties)},
    }


def replies(key: str, **properties: Schema) -> Schema:
    """The schema of a collection's reply: a list of such objects under ``key``, and the link to the next page."""
    links = {
        'type': 'array',
        'items': whole(rel={'const': 'next'}, href={'type': 'string'}),
    }
    return {
        'type': 'object',
        'required': [key],
        'additionalProperties': False,
        'properties': {key: {'type': 'array', 'items': whole(**properties)}, f'{key}_links': links},
    }


def whole(**properties: Schema) -> Schema:
    """An object with exactly these properties, each of them there."""
    return {
        'type': 'object',
        'required': list(properties),
        'properties': properties,
        'additionalProperties': False,
    }


def validator(schema: Schema) -> jsonschema.Draft202012Validator:
    """A validator of ``schema`` with the formats of this module, to be built once."""
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=_formats)


def check(using: jsonschema.Draft202012Validator, value: Any, field: str = 'body') -> None:
    """Raises InvalidInput for the first thing that is wrong with ``value``; ``field`` names the whole of it."""
    error = next(using.iter_errors(value), None)
    if error is not None:
        path = '/'.join(statuses.clean(str(step), 80) or '' for step in error.absolute_path)
        raise exception.InvalidInput(field=(path or field)[:120], reason=explain(error)[:170])


def explain(error: jsonschema.ValidationError) -> str:
    """What is wrong and what is allowed, without the offending value or a regular expression."""
    tell = _TOLD.get(error.validator)
    return tell(error) if tell else 'is not valid'


_TYPES = {
    'string': 'text',
    'object': 'an object',
    'array': 'a list',
    'boolean': 'true or false',
    'integer': 'a whole number',
    'number': 'a number',
    'null': 'null',
}


def _type(error: Any) -> str:
    types = error.validator_value
    names = [types] if isinstance(types, str) else types
    return f'must be {" or ".join(_TYPES[name] for name in names)}'


def _required(error: Any) -> str:
    missing = [name for name in error.validator_value if name not in error.instance]
    return f'{", ".join(missing)} is missing' if len(missing) == 1 else f'{", ".join(missing)} are missing'


def _unknown(error: Any) -> str:
    allowed = error.schema.get('properties', {})
    unknown = statuses.clean(next(name for name in error.instance if name not in allowed), 64)
    return f'unknown key {unknown}; ' + (f'allowed are {", ".join(allowed)}' if allowed else 'none is allowed')


def _length(error: Any) -> str:
    least, most = error.schema.get('minLength', 0), error.schema.get('maxLength')
    return f'must have at least {least} characters' if most is None else f'must have {least} to {most} characters'


def _range(error: Any) -> str:
    least, most = error.schema.get('minimum'), error.schema.get('maximum')
    return f'must be at least {least}' if most is None else f'must be {least} to {most}'


_TOLD: dict[Any, Callable[[Any], str]] = {
    'type': _type,
    'required': _required,
    'additionalProperties': _unknown,
    'minLength': _length,
    'maxLength': _length,
    'minimum': _range,
    'maximum': _range,
    'format': lambda error: _MEANINGS.get(error.validator_value, 'is not valid'),
    'enum': lambda error: f'must be one of {", ".join(map(str, error.validator_value))}',
    'minItems': lambda error: f'must have at least {error.validator_value} item',
    'maxProperties': lambda error: f'must have only one of {", ".join(error.schema.get("properties", {}))}',
    'minProperties': lambda error: f'must have at least one of {", ".join(error.schema.get("properties", {}))}',
}
