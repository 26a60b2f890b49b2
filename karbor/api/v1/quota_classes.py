# SPDX-License-Identifier: Apache-2.0
"""Quota classes: limits under a name. Only those of `default` have an effect: they are every project's."""

from typing import Any

from karbor import exception, quota
from karbor.api import schema
from karbor.api.method import Call, method
from karbor.api.v1 import quotas

BODY = {
    'type': 'object',
    'required': ['quota_class'],
    'properties': {'quota_class': schema.LIMITS},
    'additionalProperties': False,
}

PATH = {'class_name': schema.NAME}


@method('quota_class:get', reply=schema.reply('quota_class', **quotas.SHOWN, id={'type': 'string'}), path=PATH)
def show(call: Call, class_name: str) -> dict[str, Any]:
    """Show the limits of a quota class; where it has none, those of the configuration."""
    return {'quota_class': quota.class_limits(_checked(class_name)) | {'id': class_name}}


@method('quota_class:update', body=BODY, reply=schema.reply('quota_class', **quotas.SHOWN), path=PATH)
def update(call: Call, class_name: str) -> dict[str, Any]:
    """Give a quota class limits. Those of `default` hold at once for every project without limits of its own."""
    quota.set_class_limits(_checked(class_name), quotas.wanted(call.body['quota_class']))
    return {'quota_class': quota.class_limits(class_name)}


def _checked(name: str) -> str:
    if len(name) > 255 or not name.isprintable() or not name.strip():
        raise exception.InvalidInput(field='class_name', reason='must have 1 to 255 printable characters')
    return name
