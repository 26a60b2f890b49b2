# SPDX-License-Identifier: Apache-2.0
"""Scheduled operations: what is done whenever a trigger is due."""

from typing import Any

from karbor import exception, parameters, policies
from karbor.api import events, listing, schema, views
from karbor.api.method import Call, method
from karbor.db import engine, models, repository
from karbor.objects.scheduled_operation import ScheduledOperation

KEY, DEFINITION = 'scheduled_operation', 'operation_definition'
FIELD = f'{KEY}/{DEFINITION}'

_PLAN = {'plan_id': schema.UUID, 'provider_id': schema.UUID}
_WHOLE: schema.Schema = {'type': 'integer', 'minimum': -(2**31), 'maximum': 2**31 - 1}
# What the definition of each type of operation holds. Other keys are kept, and mean nothing.
DEFINITIONS: dict[str, dict[str, schema.Schema]] = {
    'protect': _PLAN,
    'retention_protect': _PLAN | {'max_backups': _WHOLE, 'retention_duration': _WHOLE},
}
_CHECKS = {
    type: schema.validator(
        {'properties': {KEY: {'properties': {DEFINITION: {'required': list(_PLAN), 'properties': properties}}}}}
    )
    for type, properties in DEFINITIONS.items()
}
CREATE = schema.envelope(
    KEY,
    required=('name', 'operation_type', 'trigger_id', DEFINITION),
    name=schema.NAME,
    description=schema.DESCRIPTION,
    operation_type={'enum': list(DEFINITIONS)},
    trigger_id=schema.UUID,
    operation_definition=schema.OBJECT,
)
SHOWN = {
    'id': schema.UUID,
    'name': {'type': 'string'},
    'description': schema.NULLABLE_TEXT,
    'operation_type': {'type': 'string'},
    'trigger_id': schema.UUID,
    DEFINITION: schema.OBJECT,
    'enabled': {'type': 'boolean'},
}
OPERATIONS = listing.Collection(
    'operations',
    models.ScheduledOperation,
    filters={
        'name': listing.containing,
        'operation_type': listing.exactly,
        'trigger_id': listing.exactly,
        DEFINITION: listing.containing,
    },
    sorts={'id': 'id', 'name': 'name', 'status': 'created_at', 'created_at': 'created_at'},
)
COLUMNS = (
    *(name for name in SHOWN if name != DEFINITION),
    'project_id',
    views.as_text(models.ScheduledOperation.operation_definition),
)


@method('scheduled_operation:list', query=OPERATIONS.query, reply=schema.replies('operations', **SHOWN))
def index(call: Call) -> dict[str, Any]:
    """List scheduled operations."""
    return OPERATIONS.reply(call, [_view(row) for row in OPERATIONS.read(call, COLUMNS)])


@method(
    'scheduled_operation:create',
    body=CREATE,
    reply=schema.reply(KEY, **SHOWN),
    event=events.Event('scheduled_operation_create', operation_obj=events.given(KEY)),
    faults=(404,),
)
def create(call: Call) -> dict[str, Any]:
    """Schedule an operation: it is stored for the next time that its trigger is due."""
    given = call.body[KEY]
    operation = ScheduledOperation.new(
        id=call.id,
        name=given['name'],
        description=given.get('description'),
        operation_type=given['operation_type'],
        user_id=call.context.user_id,
        project_id=call.context.project_id,
        trigger_id=given['trigger_id'],
        operation_definition=_definition(given),
        enabled=True,
    )
    if not (call.again and ScheduledOperation.was_made(operation.id)):
        _insert(operation)
    return {KEY: {name: getattr(operation, name) for name in SHOWN}}


@method('scheduled_operation:get', reply=schema.reply(KEY, **SHOWN))
def show(call: Call, scheduled_operation_id: str) -> dict[str, Any]:
    """Show a scheduled operation."""
    return {KEY: _view(_find(call, scheduled_operation_id))}


@method(
    'scheduled_operation:delete',
    event=events.Event('scheduled_operation_delete', id=events.variable('scheduled_operation_id')),
)
def delete(call: Call, scheduled_operation_id: str) -> None:
    """Delete a scheduled operation. Its checkpoints, its plan and its trigger stay."""
    row = _find(call, scheduled_operation_id)
    if not policies.allows('scheduled_operation:delete', call.context, row.project_id):
        raise exception.Forbidden(action='scheduled_operation:delete')
    if not repository.delete(models.ScheduledOperation, scheduled_operation_id):
        raise exception.ScheduledOperationNotFound(id=scheduled_operation_id)


def _find(call: Call, id: str) -> Any:
    """Its row, if the caller may see it. Raises ScheduledOperationNotFound."""
    for row in repository.find(models.ScheduledOperation, COLUMNS, {'id': id}):
        if policies.allows('scheduled_operation:get', call.context, row.project_id):
            return row
    raise exception.ScheduledOperationNotFound(id=id)


def _definition(given: dict[str, Any]) -> dict[str, Any]:
    """The definition without nulls, numbers being numbers: the shell sends text. Raises InvalidInput."""
    type = given['operation_type']
    definition = parameters.coerced({type: given[DEFINITION]}, {type: {'properties': DEFINITIONS[type]}})[type]
    schema.check(_CHECKS[type], {KEY: {DEFINITION: definition}})
    numbers = (name for name, kind in DEFINITIONS[type].items() if kind is _WHOLE and name in definition)
    return definition | {name: int(definition[name]) for name in numbers}  # 1.0 is a whole number, too


@engine.repeated
def _insert(operation: ScheduledOperation) -> None:
    """Write it. What it refers to is locked, so that nobody deletes that meanwhile, and has to be of the same project.

    Raises TriggerNotFound, InvalidInput.
    """
    own = {'project_id': operation.project_id}
    with engine.writing():
        trigger = repository.lock(models.Trigger, operation.trigger_id, **own)
        if trigger is None:
            raise exception.TriggerNotFound(id=operation.trigger_id)
        definition = operation.operation_definition
        plan = repository.lock(models.Plan, definition['plan_id'], **own)
        if plan is None:
            unknown = exception.PlanNotFound(id=definition['plan_id'])
            raise exception.InvalidInput(field=f'{FIELD}/plan_id', reason=unknown.text)
        if plan.provider_id != definition['provider_id']:
            raise exception.InvalidInput(field=f'{FIELD}/provider_id', reason=f'is not the provider of plan {plan.id}')
        # As they are written there: MariaDB does not tell upper case from lower.
        operation.trigger_id, operation.operation_definition = trigger.id, definition | {'plan_id': plan.id}
        operation.create()


def _view(row: Any) -> dict[str, Any]:
    shown = {name: getattr(row, name) for name in SHOWN}
    return shown | {DEFINITION: views.stored(row.operation_definition, {})}
