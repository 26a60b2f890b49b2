# SPDX-License-Identifier: Apache-2.0
"""Restores by python-karborclient."""

import json

import pytest
from karborclient.common.apiclient import exceptions

from karbor.tests.client.conftest import DATABASE, SHARE


def restore(karbor, protected, parameters=None, user='demo'):
    """A new restore of the checkpoint that all tests share."""
    ids = protected.provider_id, protected.checkpoint.id
    return karbor.client(user).restores.create(*ids, None, parameters or {}, None)


def test_library_restores_a_checkpoint_as_new_resources(karbor, protected, resources):
    parameters = {SHARE: {'restore_name': 'new share'}, DATABASE: {'restore_name': 'new database'}}
    made = restore(karbor, protected, parameters)
    assert (made.status, made.parameters, made.restore_target) == ('in_progress', parameters, None)
    assert (made.provider_id, made.checkpoint_id) == (protected.provider_id, protected.checkpoint.id)
    found = karbor.ended_restore(made.id)
    assert found.status == 'success', found.status_details

    by_type = {resource['type']: resource for resource in found.resources}
    assert {kind: resource['id'] for kind, resource in by_type.items()} == {r['type']: r['id'] for r in resources}
    for kind, name in ((SHARE, 'new share'), (DATABASE, 'new database')):
        new_id = by_type[kind]['new_id']
        assert new_id not in (None, by_type[kind]['id'])
        assert karbor.client().protectables.get_instance(kind, new_id).name == name
    assert found.resources_status == {f'{r["type"]}#{r["new_id"]}': 'available' for r in found.resources}
    assert found.resource_status == {f'{r["type"]}#{r["id"]}': 'available' for r in found.resources}
    assert found.resources_reason == found.resource_reason == {}


def test_library_tells_why_a_resource_was_not_restored(karbor, protected, resources):
    with karbor.fault(service='manila', match='POST /shares$', kind='error_state'):
        found = karbor.ended_restore(restore(karbor, protected).id)
    assert found.status == 'fail'
    assert 'manila' in found.status_details
    share, database = resources
    key = f'{SHARE}#{share["id"]}'
    assert found.resource_status[key] == 'error'
    assert 'manila' in found.resource_reason[key]
    assert 'error' in found.resources_status.values()
    assert found.resource_status[f'{DATABASE}#{database["id"]}'] == 'available'
    assert [reason for reason in found.resources_reason.values() if 'manila' in reason]
    assert found.resources[0]['type'] == SHARE


def test_library_lists_filters_and_pages_restores(karbor, noop, make_checkpoint):
    restores, id = karbor.client().restores, make_checkpoint().id
    made = [restores.create(noop.id, id, None, {}, None).id for _ in range(2)]
    for one in made:
        assert karbor.ended_restore(one).status == 'success'
    newest = restores.list(limit=2)
    assert [one.id for one in newest] == made[::-1]
    assert restores.list(limit=1, marker=made[1])[0].id == made[0]
    assert [one.id for one in restores.list(sort='created_at:asc')][-2:] == made
    assert set(made) <= {one.id for one in restores.list(search_opts={'status': 'success'})}
    assert not set(made) & {one.id for one in restores.list(search_opts={'status': 'fail'})}


def test_shell_creates_shows_and_lists_a_restore(karbor, protected, resources):
    share, database = resources
    options = ['--parameters', f'resource_type={SHARE},resource_id={share["id"]},restore_name=shelled']
    done = karbor.shell('restore-create', protected.provider_id, protected.checkpoint.id, *options)
    assert (done.status, done.errors) == (0, '')
    id = done.shown['id']
    assert done.shown['status'] == 'in_progress'
    parameters = {f'{SHARE}#{share["id"]}': {'restore_name': 'shelled'}}
    assert json.loads(done.shown['parameters']) == parameters
    assert karbor.ended_restore(id).status == 'success'

    shown = karbor.shell('restore-show', id, user='reader').shown
    assert (shown['status'], shown['checkpoint_id']) == ('success', protected.checkpoint.id)
    assert json.loads(shown['parameters']) == parameters

    rows = karbor.shell('restore-list', '--status', 'success', '--sort', 'created_at:desc', '--limit', '5').rows
    row = next(row for row in rows if row['Id'] == id)
    assert (row['Provider id'], row['Checkpoint id']) == (protected.provider_id, protected.checkpoint.id)
    assert json.loads(row['Parameters']) == parameters


def test_shell_creates_a_restore_when_parameters_are_json(karbor, noop, make_checkpoint):
    done = karbor.shell('restore-create', noop.id, make_checkpoint().id, '--parameters-json', '{}')
    assert (done.status, done.errors) == (0, '')
    assert karbor.ended_restore(done.shown['id']).status == 'success'


def test_shell_lists_restores_of_all_projects_for_the_administrator(karbor, protected):
    id = restore(karbor, protected).id
    karbor.ended_restore(id)
    listed = karbor.shell('restore-list', '--all-tenants', '1', user='admin').rows
    assert id in {row['Id'] for row in listed}
    listed = karbor.shell('restore-list', '--tenant', karbor.users['demo']['project_id'], user='admin').rows
    assert id in {row['Id'] for row in listed}
    assert karbor.shell('restore-list', '--all-tenants', '1', user='other').rows == []


def test_library_accepts_what_the_dashboard_sends(karbor, noop, make_checkpoint):
    nulls = {'type': 'password', 'username': None, 'password': None}
    made = karbor.client().restores.create(noop.id, make_checkpoint().id, None, {}, nulls)
    assert karbor.ended_restore(made.id).status == 'success'


def test_library_says_bad_request_when_a_restore_is_wrong(karbor, protected, nowhere):
    restores, ids = karbor.client().restores, (protected.provider_id, protected.checkpoint.id)
    before = len(restores.list())
    for arguments, text in (
        (('no-uuid', ids[1], None, {}, None), 'provider_id'),
        ((ids[0], 'no-uuid', None, {}, None), 'checkpoint_id'),
        ((*ids, None, None, None), 'parameters'),
        ((*ids, None, {'OS::No::Type': {}}, None), 'OS::No::Type'),
        ((*ids, None, {SHARE: {'no_such_option': 'x'}}, None), 'no_such_option'),
        ((*ids, None, {f'{SHARE}#not an id': {}}, None), 'parameters'),
        ((*ids, 'http://192.0.2.1/v3', {}, None), 'not supported yet'),
        ((*ids, None, {}, {'type': 'password', 'username': 'u', 'password': 'secret'}), 'not supported yet'),
        ((*ids, None, {f'{SHARE}#{protected.plan.resources[0]["id"]}': {'share_id': nowhere}}, None), 'share_id'),
    ):
        with pytest.raises(exceptions.BadRequest, match=text) as raised:
            restores.create(*arguments)
        assert 'secret' not in str(raised.value)
    assert len(restores.list()) == before


def test_library_says_not_found_when_provider_checkpoint_or_restore_is_missing(karbor, protected, noop, nowhere):
    restores, id = karbor.client().restores, protected.checkpoint.id
    for provider_id, checkpoint_id in ((nowhere, id), (protected.provider_id, nowhere), (noop.id, id)):
        with pytest.raises(exceptions.NotFound):
            restores.create(provider_id, checkpoint_id, None, {}, None)
    with pytest.raises(exceptions.NotFound, match=f'Restore {nowhere} could not be found'):
        restores.get(nowhere)
    with pytest.raises(exceptions.BadRequest, match='restore_id'):
        restores.get('no-uuid')


def test_library_says_not_found_when_the_checkpoint_or_restore_is_of_another_project(karbor, protected):
    made = restore(karbor, protected)
    with pytest.raises(exceptions.NotFound, match=f'Restore {made.id} could not be found'):
        karbor.client('other').restores.get(made.id)
    with pytest.raises(exceptions.NotFound, match=f'Checkpoint {protected.checkpoint.id} could not be found'):
        restore(karbor, protected, user='other')
    assert karbor.client('other').restores.list() == []
    assert karbor.ended_restore(made.id).status == 'success'


def test_library_says_forbidden_when_a_reader_restores(karbor, protected):
    with pytest.raises(exceptions.Forbidden, match='restore:create'):
        restore(karbor, protected, user='reader')


@pytest.mark.parametrize('state', ['error', 'deleted'])
def test_library_says_conflict_when_the_checkpoint_is_not_available(karbor, noop, make_checkpoint, state):
    client, id = karbor.client(), make_checkpoint().id
    if state == 'error':
        client.checkpoints.reset_state(noop.id, id, 'error')
    else:
        client.checkpoints.delete(noop.id, id)
        karbor.ended_checkpoint(noop.id, id)
    with pytest.raises(exceptions.Conflict, match=state):
        client.restores.create(noop.id, id, None, {}, None)
    done = karbor.shell('restore-create', noop.id, id)
    assert done.status == 1
    assert 'HTTP 409' in done.errors


def test_shell_fails_with_the_message_when_there_is_no_such_restore(karbor, nowhere):
    done = karbor.shell('restore-show', nowhere)
    assert (done.status, done.output) == (1, '')
    assert f'Restore {nowhere} could not be found' in done.errors


def test_shell_fails_with_the_message_when_it_is_to_restore_elsewhere(karbor, protected):
    options = ['--restore_target', 'http://192.0.2.1/v3', '--restore_username', 'u', '--restore_password', 'secret']
    done = karbor.shell('restore-create', protected.provider_id, protected.checkpoint.id, *options)
    assert done.status == 1
    assert 'restore to another cloud is not supported yet' in done.errors
    assert 'secret' not in done.errors
