# SPDX-License-Identifier: Apache-2.0
"""Restores: a checkpoint's resources made anew."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from karbor import exception, parameters, policies, submission
from karbor.api import events, listing, published, schema, views
from karbor.api.method import Call, method
from karbor.api.v1 import resources
from karbor.db import models, repository
from karbor.objects import operation_resource
from karbor.objects.restore import Restore
from karbor.statuses import CheckpointStatus, OperationType, RestoreStatus

RESTORE, LOG = models.Restore, models.OperationLog

CREATE = schema.envelope(
    'restore',
    required=('provider_id', 'checkpoint_id', 'parameters'),
    provider_id=schema.UUID,
    checkpoint_id=schema.UUID,
    parameters=schema.PARAMETERS,
    restore_target={'type': ['string', 'null']},
    restore_auth=schema.METADATA,
)
MAP = {'type': 'object', 'additionalProperties': {'type': 'string'}}
SHOWN = {
    'id': schema.UUID,
    **dict.fromkeys(('project_id', 'provider_id', 'checkpoint_id', 'restore_target'), schema.NULLABLE_TEXT),
    'parameters': schema.OBJECT,
    'status': {'enum': list(RestoreStatus)},
    'status_details': schema.NULLABLE_TEXT,
    **dict.fromkeys(('resource_status', 'resource_reason', 'resources_status', 'resources_reason'), MAP),
}
RESTORES = listing.Collection(
    'restores',
    RESTORE,
    filters=dict.fromkeys(('status', 'checkpoint_id', 'provider_id'), listing.exactly),
    option='query_restore_filters',
    added=frozenset(['checkpoint_id', 'provider_id']),
    sorts={'id': 'id', 'name': 'created_at', 'status': 'status', 'created_at': 'created_at'},
)


def _of_operation(column: Any) -> Any:
    """A column of the restore's operation, as a column of the restore."""
    wanted = sa.select(column).where(LOG.restore_id == RESTORE.id, LOG.deleted == sa.false()).limit(1)
    return wanted.correlate(RESTORE).scalar_subquery()


COLUMNS = (
    *('id', 'project_id', 'provider_id', 'checkpoint_id', 'restore_target', 'status'),
    *map(views.as_text, (RESTORE.parameters, RESTORE.resources_status, RESTORE.resources_reason)),
    _of_operation(LOG.status_details).label('status_details'),
    _of_operation(LOG.id).label('operation_id'),
)


@method('restore:get_all', query=RESTORES.query, reply=schema.replies('restores', **SHOWN))
def index(call: Call) -> dict[str, Any]:
    """List restores."""
    return RESTORES.reply(call, _views(RESTORES.read(call, COLUMNS)))


@method(
    'restore:create',
    body=CREATE,
    reply=schema.reply('restore', **SHOWN),
    event=events.Event(
        'restore_create',
        parameters=events.given('restore', 'parameters'),
        checkpoint_id=events.given('restore', 'checkpoint_id'),
    ),
)
def create(call: Call) -> dict[str, Any]:
    """Restore an available checkpoint: the reply is the restore, in `in_progress`."""
    given = call.body['restore']
    _refuse_other_cloud(given)
    provider = published.alive(given['provider_id'])
    _check_checkpoint(call, provider.id, given['checkpoint_id'])
    options = parameters.checked(given['parameters'], provider.schemas['restore_schema'], (), 'restore/parameters')
    restore = Restore.new(
        id=call.id,
        project_id=call.context.project_id,
        provider_id=provider.id,
        checkpoint_id=given['checkpoint_id'],
        parameters=options,
        status=RestoreStatus.IN_PROGRESS,
    )
    accepted = submission.restore(call.context, restore, call.again)
    return {'restore': submission.patiently(lambda: _views(_rows(accepted.id))[0])}


@method('restore:get', reply=schema.reply('restore', **SHOWN, resources=resources.LIST))
def show(call: Call, restore_id: str) -> dict[str, Any]:
    """Show a restore with its resources."""
    rows = _rows(restore_id)
    if not rows or not policies.allows('restore:get', call.context, rows[0].project_id):
        raise exception.RestoreNotFound(id=restore_id)
    return {'restore': _views(rows)[0] | {'resources': resources.of_operation(rows[0].operation_id)}}


def _refuse_other_cloud(given: dict[str, Any]) -> None:
    """Karbor restores where it protects. What clients send along for that may be there as long as it is empty."""
    auth = given.get('restore_auth') or {}
    if given.get('restore_target') or auth.get('username') or auth.get('password'):
        raise exception.BadRequest('restore_target, restore_auth: restore to another cloud is not supported yet.')


def _check_checkpoint(call: Call, provider_id: str, checkpoint_id: str) -> None:
    """The protection service looks again, with the row locked: this saves a call, and hides what is another's."""
    wanted = {'id': checkpoint_id, 'provider_id': provider_id}
    for row in repository.find(models.CheckpointRecord, ['project_id', 'checkpoint_status'], wanted):
        if not policies.allows('provider:checkpoint_get', call.context, row.project_id):
            break
        if row.checkpoint_status != CheckpointStatus.AVAILABLE:
            raise exception.CheckpointInvalidState(
                id=checkpoint_id, state=row.checkpoint_status, action='restore', allowed=CheckpointStatus.AVAILABLE
            )
        return
    raise exception.CheckpointNotFound(id=checkpoint_id)


def _rows(id: str) -> Sequence[Any]:
    return repository.find(RESTORE, COLUMNS, {'id': id})


def _views(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """The views of these restores; what is known of their resources takes one statement."""
    known: dict[str, list[Any]] = defaultdict(list)
    for resource in operation_resource.of_restores([row.id for row in rows if row.operation_id]):
        known[resource.restore_id].append(resource)
    return [_view(row, known[row.id]) for row in rows]


def _view(row: Any, known: Sequence[Any]) -> dict[str, Any]:
    shown = {
        **{name: getattr(row, name) for name in ('id', 'project_id', 'provider_id', 'checkpoint_id')},
        'restore_target': row.restore_target,
        'parameters': views.stored(row.parameters, {}),
        'status': row.status,
        'status_details': row.status_details,
    }
    return shown | (operation_resource.maps(known, OperationType.RESTORE) if row.operation_id else _stored_maps(row))


def _stored_maps(row: Any) -> dict[str, Any]:
    """Karbor 1.6 kept its two maps with the restore, and nothing else."""
    status, reason = views.stored(row.resources_status, {}), views.stored(row.resources_reason, {})
    return {'resource_status': {}, 'resource_reason': {}, 'resources_status': status, 'resources_reason': reason}
