# SPDX-License-Identifier: Apache-2.0
"""Quotas: what each project may have, and has."""

from typing import Any

from karbor import exception, policies, quota
from karbor.api import schema
from karbor.api.method import Call, method

BODY = {
    'type': 'object',
    'required': ['quota'],
    'properties': {'quota': schema.LIMITS},
    'additionalProperties': False,
}
SHOWN = dict.fromkeys(quota.RESOURCES, {'type': 'integer'})
IN_DETAIL = dict.fromkeys(
    quota.RESOURCES, schema.whole(**dict.fromkeys(('limit', 'in_use', 'reserved'), {'type': 'integer'}))
)


@method('quota:get', reply=schema.reply('quota', **SHOWN, id=schema.UUID))
def show(call: Call, quota_project_id: str) -> dict[str, Any]:
    """Show what the project may have."""
    _check_own(call, quota_project_id)
    return {'quota': quota.limits(quota_project_id) | {'id': quota_project_id}}


@method('quota:get', reply=schema.reply('quota', **IN_DETAIL, id=schema.UUID))
def detail(call: Call, quota_project_id: str) -> dict[str, Any]:
    """Show what the project may have, and what it has."""
    _check_own(call, quota_project_id)
    shown = {
        # Nothing is set aside for what is not there yet.
        resource: {'limit': limit, 'in_use': quota.in_use(resource, quota_project_id), 'reserved': 0}
        for resource, limit in quota.limits(quota_project_id).items()
    }
    return {'quota': shown | {'id': quota_project_id}}


@method('quota:get_default', reply=schema.reply('quota', **SHOWN, id=schema.UUID))
def defaults(call: Call, quota_project_id: str) -> dict[str, Any]:
    """Show what the project may have without limits of its own: the same for all projects."""
    return {'quota': quota.class_limits(quota.DEFAULT_CLASS) | {'id': quota_project_id}}


@method('quota:update', body=BODY, reply=schema.reply('quota', **SHOWN))
def update(call: Call, quota_project_id: str) -> dict[str, Any]:
    """Give the project limits of its own. What it has beyond them stays."""
    quota.set_limits(quota_project_id, wanted(call.body['quota']))
    return {'quota': quota.limits(quota_project_id)}


@method('quota:delete')
def delete(call: Call, quota_project_id: str) -> None:
    """Remove the limits of the project's own."""
    quota.remove_limits(quota_project_id)


def wanted(given: dict[str, Any]) -> dict[str, int]:
    """The limits that a body tells; null is as good as nothing."""
    return {name: int(given[name]) for name in quota.RESOURCES if given.get(name) is not None}


def _check_own(call: Call, project_id: str) -> None:
    """Raises Forbidden, not 404: that there are projects is no secret, and 1.6 said so."""
    if not policies.allows('quota:get', call.context, project_id):
        raise exception.Forbidden(action='quota:get')
