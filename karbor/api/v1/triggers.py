# SPDX-License-Identifier: Apache-2.0
"""Triggers: when scheduled operations are due."""

from typing import Any

from oslo_config import cfg
from oslo_utils import timeutils

from karbor import exception, parameters, policies, recurrence
from karbor.api import etag, events, listing, owned, schema, views
from karbor.api.method import Call, method
from karbor.db import engine, models, repository
from karbor.objects.trigger import Trigger

CONF = cfg.CONF
FIELD = 'trigger_info/properties'

TIME: schema.Schema = {'type': ['string', 'null']}
PROPERTIES: dict[str, schema.Schema] = {
    'format': {'enum': list(recurrence.FORMATS)},
    'pattern': {'type': 'string', 'minLength': 1, 'maxLength': recurrence.MOST_CHARACTERS},
    'timezone': {'type': ['string', 'null']},
    'start_time': TIME,
    'end_time': TIME,
    'window': {'type': ['integer', 'string', 'null']},
}
WINDOW = {'window': {'properties': {'window': {'type': 'integer'}}}}
GIVEN: schema.Schema = {'type': 'object', 'properties': PROPERTIES, 'additionalProperties': False}
CREATE = schema.envelope(
    'trigger_info',
    required=('name', 'type', 'properties'),
    name=schema.NAME,
    type={'enum': ['time']},
    properties=GIVEN | {'required': ['format', 'pattern']},
)
UPDATE = schema.envelope('trigger_info', name=schema.NAME, type={}, properties=GIVEN | {'type': ['object', 'null']})
SHOWN = {'id': schema.UUID, 'name': {'type': 'string'}, 'type': {'type': 'string'}, 'properties': schema.OBJECT}
TRIGGERS = listing.Collection(
    'triggers',
    models.Trigger,
    filters={'name': listing.containing, 'type': listing.exactly, 'properties': listing.containing},
    sorts={'id': 'id', 'name': 'name', 'status': 'created_at', 'created_at': 'created_at'},
)
COLUMNS = ('id', 'name', 'type', 'project_id', views.as_text(models.Trigger.properties))


@method('trigger:list', query=TRIGGERS.query, reply=schema.replies('triggers', **SHOWN))
def index(call: Call) -> dict[str, Any]:
    """List triggers."""
    return TRIGGERS.reply(call, [_view(row) for row in TRIGGERS.read(call, COLUMNS)])


@method(
    'trigger:create',
    body=CREATE,
    reply=schema.reply('trigger_info', **SHOWN),
    event=events.Event('trigger_create', name=events.given('trigger_info', 'name')),
    tagged=True,
)
def create(call: Call) -> dict[str, Any]:
    """Create a trigger."""
    given = call.body['trigger_info']
    now = timeutils.utcnow()
    start = {'start_time': now.strftime(recurrence.TIME_FORMAT)}
    properties = start | _properties(given['properties'])
    trigger = Trigger.new(
        id=call.id,
        name=given['name'],
        type=given['type'],
        project_id=call.context.project_id,
        properties=properties,
        next_run_at=_checked(properties).next_run(now),
    )
    if not (call.again and Trigger.was_made(trigger.id)):
        trigger.create()
    call.headers['ETag'] = etag.of(trigger.id)
    return {'trigger_info': {name: getattr(trigger, name) for name in SHOWN}}


@method('trigger:get', reply=schema.reply('trigger_info', **SHOWN), tagged=True)
def show(call: Call, trigger_id: str) -> dict[str, Any]:
    """Show a trigger."""
    for row in repository.find(models.Trigger, (*COLUMNS, 'updated_at'), {'id': trigger_id}):
        if policies.allows('trigger:get', call.context, row.project_id):
            etag.put(call, row)
            return {'trigger_info': _view(row)}
    raise exception.TriggerNotFound(id=trigger_id)


@method(
    'trigger:update',
    body=UPDATE,
    reply=schema.reply('trigger_info', **SHOWN),
    event=events.Event('trigger_update', id=events.variable('trigger_id')),
    tagged=True,
)
def update(call: Call, trigger_id: str) -> dict[str, Any]:
    """Update a trigger. ``properties`` replace all of them; none at all leave them alone, as does ``type``."""
    trigger = find(call, trigger_id, 'trigger:update')
    expected = etag.expected(call, models.Trigger, trigger_id)
    given = call.body['trigger_info']
    if 'name' in given:
        trigger.name = given['name']
    if given.get('properties'):
        properties = _properties(given['properties'])
        # A start that is made up anew would move the runs of a rule that counts from it.
        missing = [name for name in ('format', 'pattern', 'start_time') if name not in properties]
        if missing:
            raise exception.InvalidInput(field=FIELD, reason=f'{", ".join(missing)} is missing')
        trigger.next_run_at = _checked(properties).next_run(timeutils.utcnow())
        trigger.properties = properties
    if not trigger.save(**expected):
        raise etag.changed() if expected else exception.TriggerNotFound(id=trigger_id)
    return show.function(call, trigger_id)


@method(
    'trigger:delete',
    event=events.Event('trigger_delete', id=events.variable('trigger_id')),
    tagged=True,
    faults=(409,),
)
def delete(call: Call, trigger_id: str) -> None:
    """Delete a trigger that no scheduled operation uses."""
    _remove(find(call, trigger_id, 'trigger:delete'), etag.expected(call, models.Trigger, trigger_id))


@engine.repeated
def _remove(trigger: Trigger, expected: dict[str, Any]) -> None:
    """The row is locked before it is looked for uses: who schedules something on it locks it, too."""
    with engine.writing():
        repository.lock(models.Trigger, trigger.id)
        for operation in repository.find(models.ScheduledOperation, ['id'], {'trigger_id': trigger.id}, limit=1):
            raise exception.TriggerInUse(id=trigger.id, blocker=operation.id)
        if not trigger.destroy(**expected):
            raise etag.changed() if expected else exception.TriggerNotFound(id=trigger.id)


def find(call: Call, trigger_id: str, rule: str) -> Trigger:
    """The trigger, if the caller may see it and do ``rule`` to it. Raises TriggerNotFound, Forbidden."""
    return owned.find(call, Trigger, trigger_id, 'trigger:get', rule)


def _properties(given: dict[str, Any]) -> dict[str, Any]:
    """The properties without nulls, the window as a number. Raises InvalidInput for one that is out of bounds."""
    properties = {name: value for name, value in given.items() if value is not None}
    if 'window' in properties:
        window = parameters.coerced({'window': properties}, WINDOW)['window']['window']
        least, most = CONF.min_window_time, CONF.max_window_time
        if not isinstance(window, int) or not least <= window <= most:
            raise exception.InvalidInput(field=f'{FIELD}/window', reason=f'must be {least} to {most} seconds')
        properties['window'] = window
    return properties


def _checked(properties: dict[str, Any]) -> recurrence.Recurrence:
    """When it is due. Raises InvalidInput, also for runs that are closer to each other than `min_interval`."""
    now = timeutils.utcnow()
    found = recurrence.parse(properties, now, CONF.time_format, FIELD)
    if not found.is_sparse(CONF.min_interval, now):
        reason = f'runs have to be at least {CONF.min_interval} seconds apart, for sure'
        raise exception.InvalidInput(field=f'{FIELD}/pattern', reason=reason)
    return found


def _view(row: Any) -> dict[str, Any]:
    return {'id': row.id, 'name': row.name, 'type': row.type, 'properties': views.stored(row.properties, {})}
