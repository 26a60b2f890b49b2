# SPDX-License-Identifier: Apache-2.0
"""Triggers and scheduled operations by python-karborclient."""

import json

import pytest
from karborclient.common.apiclient import exceptions

CRONTAB = {'format': 'crontab', 'pattern': '0 2 * * *'}
DASHBOARD = 'BEGIN:VEVENT\r\nRRULE:FREQ={};BYHOUR=2;BYMINUTE=30\r\nEND:VEVENT\r\n'
START = '2026-01-01 00:00:00'


@pytest.fixture
def make_trigger(karbor):
    """make_trigger(name, …) is a new trigger of the demo project, deleted at the end unless the test did."""
    made = []

    def make(name='nightly', user='demo', **properties):
        trigger = karbor.client(user).triggers.create(name, 'time', CRONTAB | properties)
        made.append((user, trigger.id))
        return trigger

    yield make
    for user, id in made:
        if id in {trigger.id for trigger in karbor.client(user).triggers.list()}:
            karbor.client(user).triggers.delete(id)


@pytest.fixture
def make_operation(karbor, make_trigger, protected):
    """make_operation(name, …) is a new scheduled operation of the demo project, deleted at the end."""
    made = []
    operations = karbor.client().scheduled_operations

    def make(name='nightly', type='protect', trigger=None, **definition):
        about = {'provider_id': protected.provider_id, 'plan_id': protected.plan.id} | definition
        operation = operations.create(name, type, (trigger or make_trigger()).id, about)
        made.append(operation.id)
        return operation

    yield make
    for id in {operation.id for operation in operations.list()} & set(made):
        operations.delete(id)


def test_library_creates_gets_and_deletes_a_trigger(karbor):
    triggers = karbor.client().triggers
    given = CRONTAB | {'start_time': START, 'end_time': '2126-01-01 00:00:00', 'window': '900'}
    made = triggers.create('nightly', 'time', dict(given))
    assert (made.name, made.type) == ('nightly', 'time')
    assert made.properties == given | {'window': 900}
    assert triggers.get(made.id).to_dict() == made.to_dict()
    triggers.delete(made.id)
    with pytest.raises(exceptions.NotFound, match=made.id):
        triggers.get(made.id)


@pytest.mark.parametrize('rule', ['DAILY', 'WEEKLY;BYDAY=MO,WE', 'MONTHLY;BYMONTHDAY=1,15'])
def test_library_creates_a_trigger_as_the_dashboard_does(karbor, make_trigger, rule):
    pattern = DASHBOARD.format(rule)
    made = make_trigger(format='calendar', pattern=pattern)
    assert made.properties.keys() == {'format', 'pattern', 'start_time'}
    assert karbor.client().triggers.get(made.id).properties['pattern'] == pattern


def test_library_updates_a_trigger(karbor, make_trigger):
    triggers, trigger = karbor.client().triggers, make_trigger(start_time=START, window=900)
    renamed = triggers.update(trigger.id, {'name': 'renamed', 'properties': {}})
    assert (renamed.name, renamed.properties) == ('renamed', trigger.properties)
    given = CRONTAB | {'pattern': '0 3 * * *', 'start_time': START, 'window': '1000'}
    changed = triggers.update(trigger.id, {'properties': given})
    assert changed.properties == given | {'window': 1000}
    assert triggers.get(trigger.id).properties == changed.properties


def test_library_lists_filters_sorts_and_pages_triggers(karbor, make_trigger):
    triggers = karbor.client().triggers
    made = [make_trigger(f'listed {n}') for n in (2, 3, 1)]
    opts = {'name': 'listed', 'type': 'time', 'properties': 'crontab'}
    by_name = triggers.list(search_opts=opts, sort='name:asc')
    assert [trigger.name for trigger in by_name] == ['listed 1', 'listed 2', 'listed 3']
    first = triggers.list(search_opts=opts, sort_key='name', sort_dir='asc', limit=2)
    rest = triggers.list(search_opts=opts, sort_key='name', sort_dir='asc', limit=2, marker=first[-1].id)
    assert [trigger.name for trigger in first + rest] == ['listed 1', 'listed 2', 'listed 3']
    assert [trigger.id for trigger in triggers.list(search_opts=opts)] == [trigger.id for trigger in made[::-1]]
    assert triggers.find(name='listed 3').id == made[1].id


def test_library_shows_triggers_of_all_projects_to_the_administrator_only(karbor, make_trigger):
    trigger = make_trigger()
    demo = {'all_tenants': 1, 'project_id': karbor.users['demo']['project_id']}
    assert trigger.id in {found.id for found in karbor.client('admin').triggers.list(search_opts=demo)}
    assert karbor.client('other').triggers.list(search_opts=demo) == []
    with pytest.raises(exceptions.NotFound):
        karbor.client('other').triggers.get(trigger.id)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'pattern': '*/5 * * * *'}, 'at least 3600 seconds apart'),
        ({'pattern': '0 2 * *'}, 'five fields'),
        ({'format': 'calendar'}, 'iCalendar'),
        ({'format': 'sundial'}, 'must be one of calendar, crontab'),
        ({'start_time': '2026-01-01T00:00:00'}, 'YYYY-MM-DD HH:MM:SS'),
        ({'window': 10}, 'must be 900 to 1800'),
        ({'timezone': 'CEST'}, 'IANA'),
    ],
)
def test_library_says_bad_request_when_a_trigger_is_wrong(karbor, changes, message):
    with pytest.raises(exceptions.BadRequest, match=message):
        karbor.client().triggers.create('x', 'time', CRONTAB | changes)


def test_library_creates_gets_lists_and_deletes_a_scheduled_operation(karbor, make_trigger, protected):
    operations, trigger = karbor.client().scheduled_operations, make_trigger()
    about = {'provider_id': protected.provider_id, 'plan_id': protected.plan.id}
    made = operations.create(protected.plan.name, 'protect', trigger.id, about)
    assert (made.name, made.operation_type, made.trigger_id) == (protected.plan.name, 'protect', trigger.id)
    assert (made.operation_definition, made.enabled, made.description) == (about, True, None)
    assert operations.get(made.id).to_dict() == made.to_dict()
    for opts in ({'trigger_id': trigger.id}, {'operation_definition': protected.plan.id}, {'name': 'protec'}):
        assert [found.id for found in operations.list(search_opts=opts, sort_key='name')] == [made.id]
    assert operations.list(search_opts={'operation_type': 'retention_protect'}) == []
    operations.delete(made.id)
    with pytest.raises(exceptions.NotFound, match=made.id):
        operations.get(made.id)


def test_library_says_conflict_when_what_is_deleted_is_scheduled(karbor, make_operation, protected):
    operation, client = make_operation(), karbor.client()
    for delete, id in ((client.triggers.delete, operation.trigger_id), (client.plans.delete, protected.plan.id)):
        with pytest.raises(exceptions.Conflict, match=f'is used by scheduled operation {operation.id}'):
            delete(id)


def test_library_says_not_found_when_the_trigger_is_of_another_project(make_trigger, make_operation):
    with pytest.raises(exceptions.NotFound, match='Trigger'):
        make_operation(trigger=make_trigger(user='other'))


def test_library_says_bad_request_when_a_definition_is_wrong(karbor, make_operation, noop, nowhere):
    for change, field in (({'plan_id': nowhere}, 'plan_id'), ({'provider_id': noop.id}, 'provider_id')):
        with pytest.raises(exceptions.BadRequest, match=field):
            make_operation(**change)
    with pytest.raises(exceptions.BadRequest, match='max_backups: must be a whole number'):
        make_operation(type='retention_protect', max_backups='some')


def test_shell_creates_shows_updates_lists_and_deletes_a_trigger(karbor, make_trigger, nowhere):
    properties = f'format=crontab,pattern=0 2 * * *,timezone=Europe/Berlin,start_time={START},window=900'
    done = karbor.shell('trigger-create', 'shelled', 'time', properties)
    assert (done.status, done.errors) == (0, '')
    made = done.shown
    wanted = CRONTAB | {'timezone': 'Europe/Berlin', 'start_time': START, 'window': 900}
    assert (made['name'], made['type'], json.loads(made['properties'])) == ('shelled', 'time', wanted)
    assert karbor.shell('trigger-show', made['id'], user='reader').shown == made
    done = karbor.shell('trigger-update', made['id'], '--name', 'renamed')
    assert (done.status, done.shown['name'], done.shown['properties']) == (0, 'renamed', made['properties'])
    changed = f'format=calendar,pattern=BEGIN:VEVENT\\nRRULE:FREQ=DAILY;BYHOUR=3\\nEND:VEVENT,start_time={START}'
    done = karbor.shell('trigger-update', made['id'], '--properties', changed)
    assert (done.status, json.loads(done.shown['properties'])['format']) == (0, 'calendar')
    (row,) = karbor.shell('trigger-list', '--name', 'renamed', '--sort', 'name:asc').rows
    assert (row['Id'], row['Name'], row['Type']) == (made['id'], 'renamed', 'time')
    other = make_trigger('by name')
    assert karbor.shell('trigger-delete', made['id'], 'by name').status == 0
    assert not {made['id'], other.id} & {trigger.id for trigger in karbor.client().triggers.list()}
    # This command of the client gives up at an id that it finds neither as id nor as name.
    done = karbor.shell('trigger-delete', nowhere)
    assert (done.status, f"No trigger with a name or ID of '{nowhere}' exists" in done.errors) == (1, True)


def test_shell_creates_shows_lists_and_deletes_a_scheduled_operation(karbor, make_trigger, protected, nowhere):
    about = {'provider_id': protected.provider_id, 'plan_id': protected.plan.id}
    numbers = {'max_backups': 3, 'retention_duration': 30}
    definition = ','.join(f'{name}={value}' for name, value in (about | numbers).items())
    trigger = make_trigger()
    done = karbor.shell('scheduledoperation-create', 'shelled', 'retention_protect', trigger.id, definition)
    assert (done.status, done.errors) == (0, '')
    made = done.shown
    assert (made['name'], made['trigger_id'], made['enabled']) == ('shelled', trigger.id, 'True')
    assert json.loads(made['operation_definition']) == about | numbers
    assert karbor.shell('scheduledoperation-show', made['id'], user='reader').shown == made
    # The shell leaves out the columns OperationType, TriggerId and OperationDefinition: nothing has these names.
    (row,) = karbor.shell('scheduledoperation-list', '--trigger_id', trigger.id).rows
    assert (row['Id'], row['Name']) == (made['id'], 'shelled')
    assert karbor.shell('trigger-delete', trigger.id).status == 1
    done = karbor.shell('scheduledoperation-delete', made['id'])
    assert (done.status, done.errors) == (0, '')
    done = karbor.shell('scheduledoperation-delete', nowhere)
    assert (done.status, f"No scheduledoperation with a name or ID of '{nowhere}' exists" in done.errors) == (1, True)
    assert karbor.client().scheduled_operations.list(search_opts={'trigger_id': trigger.id}) == []
