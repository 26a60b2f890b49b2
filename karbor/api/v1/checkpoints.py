# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: what was protected. Shown from the database, never from the bank."""

import datetime
from typing import Any

from karbor import exception, notifications, parameters, policies, submission
from karbor.api import events, listing, published, schema, views
from karbor.api.method import Call, method
from karbor.api.v1 import plans, resources
from karbor.db import models, repository
from karbor.objects.checkpoint import NO_GRAPH, Checkpoint, is_copied
from karbor.objects.plan import Plan
from karbor.statuses import MAKING_CHECKPOINTS, CheckpointStatus, OperationType

RECORD = models.CheckpointRecord

# What Karbor itself sends along with a scheduled run; it ends in columns of this width.
_ID = {'type': ['string', 'null'], 'maxLength': 36, 'format': 'printable'}
EXTRA_INFO = schema.METADATA | {
    'properties': {'created_by': _ID, 'scheduled_operation_id': _ID, 'trigger_id': _ID},
}
CREATE = schema.envelope(
    'checkpoint',
    required=('plan_id',),
    plan_id=schema.UUID,
    **{'extra-info': EXTRA_INFO, 'extra_info': EXTRA_INFO},
)
RESET = schema.envelope(
    'os-resetState', required=('state',), state={'enum': [CheckpointStatus.AVAILABLE, CheckpointStatus.ERROR]}
)
COPY = schema.envelope(
    'copy',
    required=('plan_id',),
    plan_id=schema.UUID,
    parameters=plans.PARAMETERS | {'type': ['object', 'null']},
)
COPIES: dict[str, Any] = {
    **dict.fromkeys(('project_id', 'provider_id', 'plan_id'), {'type': 'string'}),
    'checkpoint_id': {
        'type': 'array',
        'items': schema.whole(checkpoint_protect_id=schema.UUID, checkpoint_copy_id=schema.UUID),
    },
    'parameters': schema.OBJECT,
}
SHOWN = {
    'id': schema.UUID,
    'project_id': {'type': 'string'},
    'status': {'enum': list(CheckpointStatus)},
    'status_details': schema.NULLABLE_TEXT,
    'protection_plan': {'type': 'object', 'required': ['id', 'name', 'provider_id', 'resources']},
    'resource_graph': {'type': 'string'},
    'created_at': {'type': ['string', 'null'], 'format': 'date'},
    'created_time': schema.MOMENT,
    'extra_info': schema.NULLABLE_TEXT,
}
AS_ACCEPTED = {'status': CheckpointStatus.PROTECTING, 'status_details': None}
NOTHING = {'type': 'object', 'maxProperties': 0}
CHECKPOINTS = listing.Collection(
    'checkpoints',
    RECORD,
    filters={'plan_id': listing.exactly, 'status': listing.exactly},
    columns={'status': 'checkpoint_status'},
    option='query_checkpoint_filters',
    added=frozenset(['status']),
    # Checkpoints have no names: a list that asks for that order gets the natural one.
    sorts={'id': 'id', 'name': 'created_at', 'status': 'checkpoint_status', 'created_at': 'created_at'},
)
QUERY = CHECKPOINTS.query | {'start_date': schema.DATE, 'end_date': schema.DATE}
COLUMNS = (
    *('id', 'project_id', 'checkpoint_status', 'status_details', 'provider_id', 'plan_id', 'extend_info', 'created_at'),
    views.as_text(RECORD.protection_plan),
)


@method('provider:checkpoint_get_all', query=QUERY, reply=schema.replies('checkpoints', **SHOWN))
def index(call: Call, provider_id: str) -> dict[str, Any]:
    """List checkpoints; deleted ones only with `status=deleted`."""
    published.known(provider_id)
    extra: dict[str, Any] = {'created_at': _days(call.query)}
    if 'status' not in call.query:
        extra['checkpoint_status'] = repository.Not(CheckpointStatus.DELETED)
    rows = CHECKPOINTS.read(call, COLUMNS, {'provider_id': provider_id}, extra)
    return CHECKPOINTS.reply(call, [_view(row) for row in rows])


def _properties(call: Call, variables: dict[str, str]) -> dict[str, Any]:
    """What notifications tell of a checkpoint to be made."""
    told = {'project_id': call.context.project_id, 'plan_id': call.body['checkpoint']['plan_id'], **variables}
    return told | {'extra_info': notifications.public(_extra_info(call))}


@method(
    'provider:checkpoint_create',
    body=CREATE,
    reply=schema.reply('checkpoint', **SHOWN),
    event=events.Event('checkpoint_create', checkpoint_properties=_properties),
)
def create(call: Call, provider_id: str) -> dict[str, Any]:
    """Protect the resources of a plan: the reply is the new checkpoint, in `protecting`."""
    given = call.body['checkpoint']
    plan = _plan(call, provider_id, given['plan_id'], 'plan:get', 'checkpoint')
    published.alive(provider_id)
    checkpoint = submission.protect(call.context, plan, _extra_info(call), call.id, call.again)
    shown = submission.patiently(lambda: _view(_row(checkpoint.id)))
    # A small one may be done by now: it is told as it was accepted, which is what callers compare.
    return {'checkpoint': shown if call.again else shown | AS_ACCEPTED}


@method(
    'copy:create',
    body=COPY,
    reply=schema.reply('copy', **COPIES),
    event=events.Event(
        'checkpoint_copy', plan_id=events.given('copy', 'plan_id'), parameters=events.given('copy', 'parameters')
    ),
)
def copy(call: Call, provider_id: str) -> dict[str, Any]:
    """Copy the available checkpoints of a plan that have no copy yet: the reply tells the id of each one's copy, in
    `wait_copying`.
    """
    given = call.body['copy']
    plan = _plan(call, provider_id, given['plan_id'], 'copy:create', 'copy')
    schemas = published.alive(provider_id).schemas['options_schema']
    options = dict(plan.parameters or {})
    for key, wanted in parameters.checked(given.get('parameters'), schemas, (), 'copy/parameters').items():
        options[key] = {**(options.get(key) or {}), **wanted} if isinstance(wanted, dict) else wanted
    made = submission.copy(call.context, plan, _without_copy(plan), options, call.id, call.again)
    return {
        'copy': {
            'project_id': plan.project_id,
            'provider_id': provider_id,
            'plan_id': plan.id,
            'checkpoint_id': [{'checkpoint_protect_id': i, 'checkpoint_copy_id': copy} for i, copy in made.items()],
            'parameters': options,
        }
    }


@method(
    'provider:checkpoint_get',
    reply=schema.reply('checkpoint', **SHOWN, resources=resources.LIST),
)
def show(call: Call, provider_id: str, checkpoint_id: str) -> dict[str, Any]:
    """Show a checkpoint, a deleted one, too, with its graph and its resources."""
    row = _row(checkpoint_id)
    _may_see(call, row, provider_id, checkpoint_id)
    graph = repository.get(models.CheckpointGraph, checkpoint_id)
    shown = _view(row, graph.graph if graph else NO_GRAPH)
    operation = _latest_operation(checkpoint_id)
    if operation is not None and operation.ended_at is None:
        shown['status_details'] = operation.status_details
    return {'checkpoint': shown | {'resources': resources.of_operation(operation and operation.id)}}


@method(
    'provider:checkpoint_delete',
    reply=NOTHING,
    event=events.Event('checkpoint_delete', checkpoint_id=events.variable('checkpoint_id')),
    faults=(409,),
)
def delete(call: Call, provider_id: str, checkpoint_id: str) -> dict[str, Any]:
    """Begin to delete a checkpoint that is available or failed."""
    submission.delete(call.context, _find(call, provider_id, checkpoint_id, 'provider:checkpoint_delete'))
    return {}


@method(
    'provider:checkpoint_update',
    body=RESET,
    reply=NOTHING,
    event=events.Event('checkpoint_update', checkpoint_id=events.variable('checkpoint_id')),
    faults=(409,),
)
def reset_state(call: Call, provider_id: str, checkpoint_id: str) -> dict[str, Any]:
    """Set the state of a checkpoint that nothing works on to `available` or `error`."""
    checkpoint = _find(call, provider_id, checkpoint_id, 'provider:checkpoint_update')
    submission.reset_state(call.context, checkpoint, call.body['os-resetState']['state'])
    return {}


def _plan(call: Call, provider_id: str, plan_id: str, rule: str, body: str) -> Plan:
    """The plan, if the caller may see it and do ``rule`` to it, and it is one of the provider."""
    plan = plans.find(call, plan_id, rule)
    if plan.provider_id != provider_id:
        reason = f'the provider of this plan is {plan.provider_id}'
        raise exception.InvalidInput(field=f'{body}/plan_id', reason=reason)
    return plan


def _without_copy(plan: Plan) -> list[str]:
    """The ids of the available checkpoints of ``plan`` that are to be copied, the oldest first. Raises InvalidInput
    when none is available.
    """
    of_plan = {name: getattr(plan, name) for name in ('project_id', 'provider_id')}
    wanted = {**of_plan, 'plan_id': plan.id, 'checkpoint_status': CheckpointStatus.AVAILABLE}
    rows = repository.find(RECORD, ['id', 'extend_info'], wanted, [('created_at', 'asc'), ('id', 'asc')])
    if not rows:
        raise exception.InvalidInput(field='copy/plan_id', reason='the plan has no available checkpoint')
    return [row.id for row in rows if not is_copied(row.extend_info)]


def _extra_info(call: Call) -> dict[str, Any]:
    given = call.body['checkpoint']
    told = given.get('extra-info') or given.get('extra_info') or {}
    return {name: value for name, value in told.items() if value is not None}


def _find(call: Call, provider_id: str, checkpoint_id: str, rule: str) -> Checkpoint:
    """The checkpoint, if the caller may see it and do ``rule`` to it, and its provider is at work."""
    row = _row(checkpoint_id)
    _may_see(call, row, provider_id, checkpoint_id)
    if not policies.allows(rule, call.context, row.project_id):
        raise exception.Forbidden(action=rule)
    published.alive(provider_id)
    return Checkpoint.get(checkpoint_id)


def _row(id: str) -> Any:
    return next(iter(repository.find(RECORD, COLUMNS, {'id': id})), None)


def _may_see(call: Call, row: Any, provider_id: str, checkpoint_id: str) -> None:
    seen = row is not None and row.provider_id == provider_id
    if not seen or not policies.allows('provider:checkpoint_get', call.context, row.project_id):
        raise exception.CheckpointNotFound(id=checkpoint_id)


def _days(query: dict[str, Any]) -> repository.Between:
    """The days of the query, the last one included."""
    first, last = (_midnight(query.get(name)) for name in ('start_date', 'end_date'))
    day = datetime.timedelta(days=1)
    return repository.Between(first, last + day if last and last < datetime.datetime.max - day else None)


def _midnight(date: str | None) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(date) if date else None


def _latest_operation(checkpoint_id: str) -> Any:
    """The protect, copy or delete that tells what the checkpoint's resources are in; None if there was none."""
    kinds = repository.OneOf((*MAKING_CHECKPOINTS, OperationType.DELETE))
    wanted = {'checkpoint_id': checkpoint_id, 'operation_type': kinds}
    latest = [('created_at', 'desc'), ('id', 'desc')]
    found = repository.find(models.OperationLog, ['id', 'status_details', 'ended_at'], wanted, latest, limit=1)
    return found[0] if found else None


def _view(row: Any, graph: str = NO_GRAPH) -> dict[str, Any]:
    unknown = {'id': row.plan_id, 'name': '', 'provider_id': row.provider_id, 'resources': []}
    return {
        'id': row.id,
        'project_id': row.project_id,
        'status': row.checkpoint_status,
        'status_details': row.status_details,
        'protection_plan': views.stored(row.protection_plan, unknown),
        'resource_graph': graph,
        'created_at': row.created_at and row.created_at.date().isoformat(),
        'created_time': views.moment(row.created_at),
        'extra_info': row.extend_info,
    }
