# SPDX-License-Identifier: Apache-2.0
"""Operation logs (seed 004), at the top and below their provider."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from karbor import exception, policies, statuses, submission
from karbor.api import listing, published, schema, views
from karbor.api.method import Call, method
from karbor.api.v1 import resources as operation_resources
from karbor.db import folding, models, repository

SHOWN = {
    'id': schema.UUID,
    'operation_type': {'type': 'string'},
    **dict.fromkeys(
        ('checkpoint_id', 'plan_id', 'provider_id', 'restore_id', 'verification_id', 'scheduled_operation_id'),
        schema.NULLABLE_TEXT,
    ),
    **dict.fromkeys(('project_id', 'status', 'status_details', 'error_info'), schema.NULLABLE_TEXT),
    **dict.fromkeys(('started_at', 'ended_at'), schema.MOMENT),
    'extra_info': {},
    'resumable': {'type': ['boolean', 'null']},
}
QUEUE_POSITION = {'type': ['integer', 'null'], 'minimum': 1}
_NOTHING = {'type': ['object', 'null'], 'additionalProperties': False}
ACTION = {
    'type': 'object',
    'properties': {'cancel': _NOTHING, 'retry': _NOTHING},
    'additionalProperties': False,
    'minProperties': 1,
    'maxProperties': 1,
}


def _statuses(words: list[str]) -> repository.OneOf:
    """A status in its words of today and of Karbor 1.6."""
    return repository.OneOf(tuple(sorted(set().union(*map(statuses.operation_statuses, words)))))


_ADDED = ('operation_type', 'provider_id', 'scheduled_operation_id', 'verification_id')
LOGS = listing.Collection(
    'operation_logs',
    models.OperationLog,
    filters={
        **dict.fromkeys(('checkpoint_id', 'plan_id', 'restore_id', *_ADDED), listing.exactly),
        'status': _statuses,
    },
    option='query_operation_log_filters',
    added=frozenset(_ADDED),
    sorts={'id': 'id', 'name': 'operation_type', 'status': 'status', 'created_at': 'created_at'},
)
JOB = ('owner', 'priority', 'created_at')
COLUMNS = (*(name for name in SHOWN if name != 'extra_info'), views.as_text(models.OperationLog.extra_info))

RESOURCES = listing.Collection(
    'resources',
    models.OperationResource,
    filters={'status': listing.exactly},
    sorts={'id': 'resource_id', 'name': 'resource_name', 'status': 'status', 'created_at': 'position'},
    default_sort='created_at:asc',
    ties=('position',),
    id='position',
)


@method('operation_log:list', query=LOGS.query, reply=schema.replies('operation_logs', **SHOWN))
def index(call: Call, provider_id: str | None = None) -> dict[str, Any]:
    """List operation logs, those of one provider below its path."""
    fixed = {}
    if provider_id is not None:
        published.known(provider_id)
        fixed = {'provider_id': provider_id}
    return LOGS.reply(call, [_view(row) for row in LOGS.read(call, COLUMNS, fixed)])


@method(
    'operation_log:get',
    reply=schema.reply('operation_log', **SHOWN, queue_position=QUEUE_POSITION, resources=operation_resources.LIST),
)
def show(call: Call, operation_log_id: str, provider_id: str | None = None) -> dict[str, Any]:
    """Show an operation log with the resources of the operation, and its place in the queue while it waits."""
    row = _find(call, operation_log_id, provider_id)
    added = {'queue_position': _queue_position(row), 'resources': operation_resources.of_operation(operation_log_id)}
    return {'operation_log': _view(row) | added}


@method(
    'operation_log:get',
    body=ACTION,
    reply=schema.reply('operation_log', **SHOWN),
)
def act(call: Call, operation_log_id: str) -> dict[str, Any]:
    """Cancel an operation that has not ended, or take up what failed of a restore or delete again."""
    (action,) = call.body
    row = _find(call, operation_log_id)
    if not policies.allows(f'operation_log:{action}', call.context, row.project_id):
        raise exception.Forbidden(action=f'operation_log:{action}')
    if action == 'cancel':
        submission.cancel(operation_log_id)
    else:
        published.alive(str(row.provider_id))
        submission.retry(call.context, operation_log_id)
    return {'operation_log': _view(_find(call, operation_log_id))}


@method('operation_log:get', query=RESOURCES.query, reply=schema.replies('resources', **operation_resources.SHOWN))
def resources(call: Call, operation_log_id: str) -> dict[str, Any]:
    """List all resources of an operation. Markers are `type#id`."""
    whose = {'operation_id': operation_log_id}
    folded = folding.of_operation(operation_log_id) if _find(call, operation_log_id).folded else None
    if 'marker' in call.query:
        call.query['marker'] = _position(call.query['marker'], whose, folded)
    rows: Sequence[Any] = RESOURCES.read(call, None, whose) if folded is None else RESOURCES.select(call, folded)
    last = f'{rows[-1].resource_type}#{rows[-1].resource_id}' if rows else None
    return RESOURCES.reply(call, operation_resources.shown(rows), last)


def _position(marker: str, whose: dict[str, Any], folded: Sequence[Any] | None) -> int:
    type, _, id = marker.rpartition('#')
    wanted = {'resource_type': type, 'resource_id': id, **whose}
    if folded is None:
        found = repository.find(models.OperationResource, ['position'], wanted, limit=1)
    else:
        found = [row for row in folded if (row.resource_type, row.resource_id) == (type, id)]
    for row in found:
        return row.position
    raise exception.InvalidInput(field='marker', reason='must be `type#id` of a resource of the operation')


def _find(call: Call, id: str, provider_id: str | None = None) -> Any:
    wanted = {'id': id} if provider_id is None else {'id': id, 'provider_id': provider_id}
    for row in repository.find(models.OperationLog, (*COLUMNS, *JOB, 'folded'), wanted):
        if policies.allows('operation_log:get', call.context, row.project_id):
            return row
    raise exception.OperationLogNotFound(id=id)


def _queue_position(row: Any) -> int | None:
    """How many operations of its provider are to be begun before this one, and itself; None if it does not wait."""
    log = repository.table_of(models.OperationLog).c
    if row.ended_at is not None or row.owner is None or '/' in row.owner:
        return None
    waiting = (log.provider_id == row.provider_id, log.ended_at.is_(None), log.owner.is_not(None))
    older = sa.or_(log.created_at < row.created_at, sa.and_(log.created_at == row.created_at, log.id <= row.id))
    before = sa.or_(log.priority > row.priority, sa.and_(log.priority == row.priority, older))
    return repository.count(models.OperationLog, *waiting, log.owner.not_like('%/%'), before)


def _view(row: Any) -> dict[str, Any]:
    shown = {name: getattr(row, name) for name in SHOWN}
    return shown | {
        'started_at': views.moment(row.started_at),
        'ended_at': views.moment(row.ended_at),
        'extra_info': views.stored(row.extra_info),
    }
