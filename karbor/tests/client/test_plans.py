# SPDX-License-Identifier: Apache-2.0
"""Plans by python-karborclient."""

import json

import pytest
from karborclient.common.apiclient import exceptions

from karbor.tests.client.conftest import DATABASE, PLAN_QUOTA, SHARE


def syntax(resources) -> str:
    """Resources as the shell takes them."""
    return ','.join(f'{r["id"]}={r["type"]}={r["name"]}' for r in resources)


def test_library_creates_gets_and_deletes_a_plan(karbor, provider, resources):
    plans = karbor.client().plans
    parameters = {SHARE: {'snapshot_name': 'mine', 'force': True}, f'{SHARE}#{resources[0]["id"]}': {}}
    made = plans.create('my plan', provider.id, resources, parameters, description='all of it')
    found = plans.get(made.id)
    assert found.to_dict() == made.to_dict()
    assert (found.name, found.description, found.provider_id) == ('my plan', 'all of it', provider.id)
    assert (found.status, found.resources, found.parameters) == ('suspended', resources, parameters)
    plans.delete(made.id)
    with pytest.raises(exceptions.NotFound, match=made.id):
        plans.get(made.id)


def test_library_keeps_extra_info_of_a_resource_when_it_is_not_empty(karbor, make_plan, resources):
    share, database = resources
    plan = make_plan(what=[share | {'extra_info': {'zone': ['a', 1, None]}}, database | {'extra_info': {}}])
    assert karbor.client().plans.get(plan.id).resources == [share | {'extra_info': {'zone': ['a', 1, None]}}, database]


def test_library_updates_a_plan_in_either_state(karbor, make_plan, resources):
    plans, plan = karbor.client().plans, make_plan()
    assert plans.update(plan.id, {'status': 'started'}).status == 'started'
    changed = plans.update(plan.id, {'name': 'new', 'description': 'other', 'resources': resources[:1]})
    assert (changed.name, changed.description, changed.resources) == ('new', 'other', resources[:1])
    assert plans.update(plan.id, {'status': 'suspended'}).status == 'suspended'
    assert plans.get(plan.id).name == 'new'


def test_library_finds_a_plan_by_name(karbor, make_plan):
    plan = make_plan('the only one')
    assert karbor.client().plans.find(name='the only one').id == plan.id
    with pytest.raises(exceptions.NotFound):
        karbor.client().plans.find(name='the only')


def test_library_lists_filters_sorts_and_pages_plans(karbor, make_plan):
    plans = karbor.client().plans
    made = [make_plan(f'listed {n}') for n in (2, 3, 1)]
    plans.update(made[0].id, {'status': 'started'})
    by_name = plans.list(search_opts={'name': 'listed'}, sort='name:asc')
    assert [plan.name for plan in by_name] == ['listed 1', 'listed 2', 'listed 3']
    first = plans.list(search_opts={'name': 'listed'}, sort_key='name', sort_dir='asc', limit=2)
    assert [plan.name for plan in first] == ['listed 1', 'listed 2']
    rest = plans.list(search_opts={'name': 'listed'}, sort_key='name', sort_dir='asc', limit=2, marker=first[-1].id)
    assert [plan.name for plan in rest] == ['listed 3']
    assert [plan.id for plan in plans.list(search_opts={'name': 'listed'})] == [plan.id for plan in made[::-1]]
    assert [plan.id for plan in plans.list(search_opts={'status': 'started'})] == [made[0].id]
    assert plans.list(search_opts={'name': 'listed%'}) == []


def test_library_shows_the_administrator_the_plans_of_all_projects(karbor, make_plan, protected):
    mine = make_plan('of the administrator', user='admin', what=[{'id': 'x', 'type': SHARE, 'name': 'x'}])
    plans = karbor.client('admin').plans
    everything = {plan.id for plan in plans.list(search_opts={'all_tenants': 1})}
    assert {mine.id, protected.plan.id} <= everything
    assert [plan.id for plan in plans.list()] == [mine.id]
    demo = {'all_tenants': 1, 'project_id': karbor.users['demo']['project_id']}
    found = {plan.id for plan in plans.list(search_opts=demo)}
    assert protected.plan.id in found
    assert mine.id not in found
    assert mine.id not in {plan.id for plan in karbor.client().plans.list(search_opts={'all_tenants': 1})}


def test_shell_creates_shows_updates_lists_and_deletes_a_plan(karbor, provider, resources):
    options = ['--description', 'by the shell', '--parameters', f'resource_type={SHARE},force=true,snapshot_name=s']
    options += ['--parameters', f'resource_type={DATABASE},resource_id={resources[1]["id"]},backup_name=b']
    done = karbor.shell('plan-create', 'shelled', provider.id, syntax(resources), *options)
    assert (done.status, done.errors) == (0, '')
    made = done.shown
    assert (made['name'], made['provider_id'], made['status']) == ('shelled', provider.id, 'suspended')
    assert json.loads(made['resources']) == resources
    parameters = json.loads(made['parameters'])
    # The shell sends text; the schema says that it is a boolean.
    assert parameters[SHARE] == {'force': True, 'snapshot_name': 's'}
    assert parameters[f'{DATABASE}#{resources[1]["id"]}'] == {'backup_name': 'b'}

    assert karbor.shell('plan-show', made['id'], user='reader').shown == made

    done = karbor.shell('plan-update', made['id'], '--name', 'renamed', '--status', 'started')
    assert (done.status, done.shown['name'], done.shown['status']) == (0, 'renamed', 'started')
    done = karbor.shell('plan-update', 'renamed', '--resources', syntax(resources[:1]), '--description', 'less')
    assert (done.status, done.shown['description']) == (0, 'less')
    assert karbor.client().plans.get(made['id']).resources == resources[:1]

    (row,) = karbor.shell('plan-list', '--name', 'renamed', '--status', 'started', '--sort', 'name:asc').rows
    assert row == {
        'Id': made['id'],
        'Name': 'renamed',
        'Description': 'less',
        'Provider id': provider.id,
        'Status': 'started',
    }
    assert karbor.shell('plan-list', '--limit', '1', '--marker', made['id']).status == 0

    done = karbor.shell('plan-delete', made['id'])
    assert (done.status, done.output, done.errors) == (0, '', '')
    with pytest.raises(exceptions.NotFound):
        karbor.client().plans.get(made['id'])


def test_shell_creates_a_plan_when_parameters_are_json(karbor, provider, resources):
    given = {SHARE: {'snapshot_name': None, 'description': 'a, b = c'}}
    done = karbor.shell('plan-create', 'json', provider.id, syntax(resources), '--parameters-json', json.dumps(given))
    assert (done.status, done.errors) == (0, '')
    assert json.loads(done.shown['parameters'])[SHARE]['description'] == 'a, b = c'
    karbor.client().plans.delete(done.shown['id'])


def test_shell_deletes_plans_by_name_and_by_id(karbor, make_plan):
    by_name, by_id = make_plan('named'), make_plan('unnamed')
    assert karbor.shell('plan-delete', 'named', by_id.id).status == 0
    left = {plan.id for plan in karbor.client().plans.list()}
    assert not {by_name.id, by_id.id} & left


def test_shell_lists_plans_of_all_projects_for_the_administrator(karbor, protected):
    ids = {row['Id'] for row in karbor.shell('plan-list', '--all-tenants', '1', user='admin').rows}
    assert protected.plan.id in ids
    ids = {row['Id'] for row in karbor.shell('plan-list', '--all-tenants', '1', user='other').rows}
    assert protected.plan.id not in ids


@pytest.mark.parametrize(
    ('change', 'field'),
    [
        ({'name': ''}, 'name'),
        ({'name': 'n' * 256}, 'name'),
        ({'provider_id': 'no-uuid'}, 'provider_id'),
        ({'provider_id': '9d4ec0cf-5c0b-4f4c-a0c1-6f2c1c9d9a3f'}, 'provider'),
        ({'resources': []}, 'resources'),
        ({'resources': [{'id': 'x', 'type': SHARE}]}, 'name'),
        ({'resources': [{'id': '../x', 'type': SHARE, 'name': 'x'}]}, 'id'),
        ({'resources': None}, 'resources'),
        ({'parameters': {'OS::No::Type': {}}}, 'OS::No::Type'),
        ({'parameters': {SHARE: {'no_such_option': '1'}}}, 'no_such_option'),
        ({'parameters': {SHARE: {'force': 'perhaps'}}}, 'force'),
        ({'parameters': None}, 'parameters'),
    ],
)
def test_library_says_bad_request_when_a_plan_is_wrong(karbor, provider, resources, change, field):
    given = {'name': 'wrong', 'provider_id': provider.id, 'resources': resources, 'parameters': {}} | change
    with pytest.raises(exceptions.BadRequest, match=field):
        karbor.client().plans.create(**given)
    assert not karbor.client().plans.list(search_opts={'name': 'wrong'})


@pytest.mark.parametrize('change', [{}, {'status': 'running'}, {'name': None}, {'provider_id': 'x'}, {'resources': []}])
def test_library_says_bad_request_when_an_update_is_wrong(karbor, protected, change):
    with pytest.raises(exceptions.BadRequest):
        karbor.client().plans.update(protected.plan.id, change)
    assert karbor.client().plans.get(protected.plan.id).to_dict() == protected.plan.to_dict()


def test_library_says_bad_request_when_the_id_is_none(karbor):
    plans = karbor.client().plans
    for ask in (plans.get, plans.delete, lambda id: plans.update(id, {'name': 'x'})):
        with pytest.raises(exceptions.BadRequest, match='plan_id'):
            ask('no-uuid')


def test_library_says_not_found_when_there_is_no_such_plan_or_it_is_of_another_project(karbor, protected, nowhere):
    for client, id in ((karbor.client(), nowhere), (karbor.client('other'), protected.plan.id)):
        for ask in (
            client.plans.get,
            client.plans.delete,
            lambda id, plans=client.plans: plans.update(id, {'name': 'x'}),
        ):
            with pytest.raises(exceptions.NotFound, match=f'Plan {id} could not be found'):
                ask(id)
    assert karbor.client().plans.get(protected.plan.id).name == 'protected'


def test_library_says_forbidden_when_a_reader_writes(karbor, protected, provider, resources):
    plans = karbor.client('reader').plans
    assert plans.get(protected.plan.id).id == protected.plan.id
    for ask in (
        lambda: plans.create('by the reader', provider.id, resources, {}),
        lambda: plans.update(protected.plan.id, {'name': 'x'}),
        lambda: plans.delete(protected.plan.id),
    ):
        with pytest.raises(exceptions.Forbidden, match='plan:'):
            ask()


def test_client_says_over_limit_when_the_quota_is_used_up(karbor, provider, make_plan):
    left = PLAN_QUOTA - len(karbor.client('other').plans.list())
    share = karbor.client('other').protectables.list_instances(SHARE)[0]
    what = [{'id': share.id, 'type': SHARE, 'name': share.name}]
    made = [make_plan(f'plan {n}', what=what, user='other') for n in range(left)]
    with pytest.raises(exceptions.RequestEntityTooLarge, match=f'{PLAN_QUOTA} of {PLAN_QUOTA} plans') as raised:
        make_plan('one too many', what=what, user='other')
    assert raised.value.retry_after == 0
    done = karbor.shell('plan-create', 'one too many', provider.id, syntax(what), user='other')
    assert done.status == 1
    assert f'{PLAN_QUOTA} of {PLAN_QUOTA} plans' in done.errors
    karbor.client('other').plans.delete(made[0].id)
    make_plan('one again', what=what, user='other')


@pytest.mark.parametrize('query', [{'limit': 0}, {'limit': 'x'}, {'marker': 'unknown'}])
def test_library_says_bad_request_when_a_list_is_asked_for_wrongly(karbor, query):
    with pytest.raises(exceptions.BadRequest, match=next(iter(query))):
        karbor.client().plans.list(**{key: str(value) for key, value in query.items()})


def test_shell_refuses_a_plan_when_a_resource_does_not_exist(karbor, provider, nowhere):
    done = karbor.shell('plan-create', 'x', provider.id, f'{nowhere}={SHARE}=x')
    assert done.status == 1
    assert f'The resource: {nowhere} can not be found.' in done.errors


def test_shell_says_what_is_wrong_when_a_plan_cannot_be_shown_or_updated(karbor, nowhere):
    for command in (['plan-show', nowhere], ['plan-update', nowhere, '--name', 'x']):
        done = karbor.shell(*command)
        assert done.status == 1
        assert nowhere in done.errors


def test_shell_deletes_what_is_before_the_missing_plan_when_one_of_three_is_missing(karbor, make_plan, nowhere):
    # This command of the client gives up at an id that it finds neither as id nor as name.
    first, last = make_plan(), make_plan()
    done = karbor.shell('plan-delete', first.id, nowhere, last.id)
    assert done.status == 1
    assert f"No plan with a name or ID of '{nowhere}' exists" in done.errors
    left = {plan.id for plan in karbor.client().plans.list()}
    assert (first.id in left, last.id in left) == (False, True)


def test_shell_says_forbidden_when_a_reader_deletes(karbor, protected):
    done = karbor.shell('plan-delete', protected.plan.id, user='reader')
    assert done.status == 1
    assert 'HTTP 403' in done.errors
