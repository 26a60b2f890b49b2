# SPDX-License-Identifier: Apache-2.0
"""Checkpoints by python-karborclient."""

import datetime
import json

import pytest
from karborclient.common.apiclient import exceptions

from karbor.tests.client.conftest import BUSY, DATABASE, SHARE

TODAY = '%Y-%m-%d'


def today(days: int = 0) -> str:
    """The date of today in UTC, or of some days later."""
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)).strftime(TODAY)


def test_library_creates_a_checkpoint_that_becomes_available(karbor, provider, resources, make_plan):
    plan = make_plan('to protect')
    made = karbor.client().checkpoints.create(provider.id, plan.id, {'reason': 'before the upgrade', 'nothing': None})
    assert made.status == 'protecting'
    expected = {'id': plan.id, 'name': 'to protect', 'provider_id': provider.id, 'resources': resources}
    assert made.protection_plan == expected
    assert json.loads(made.resource_graph)[1] == []
    assert json.loads(made.extra_info)['reason'] == 'before the upgrade'
    assert made.created_at in (today(), today(-1))

    found = karbor.ended_checkpoint(provider.id, made.id)
    assert (found.status, found.project_id) == ('available', karbor.users['demo']['project_id'])
    nodes, _ = json.loads(found.resource_graph)
    assert {tuple(node[:3]) for node in nodes.values()} == {(r['type'], r['id'], r['name']) for r in resources}
    assert {(r['type'], r['id'], r['status']) for r in found.resources} == {
        (r['type'], r['id'], 'active') for r in resources
    }


def test_library_protects_everything_in_a_project_when_the_plan_has_the_project(karbor, provider, make_plan):
    (project,) = karbor.client().protectables.list_instances('OS::Keystone::Project')
    plan = make_plan('whole', what=[{'id': project.id, 'type': project.type, 'name': project.name}])
    made = karbor.client().checkpoints.create(provider.id, plan.id)
    found = karbor.ended_checkpoint(provider.id, made.id)
    assert found.status == 'available', found.status_details
    nodes, edges = json.loads(found.resource_graph)
    assert {node[1] for node in nodes.values()} == {project.id, *(r['id'] for r in project.dependent_resources)}
    ((root, children),) = edges
    assert (nodes[root][1], len(children)) == (project.id, len(project.dependent_resources))


def test_library_lists_filters_and_pages_checkpoints(karbor, noop, make_plan):
    plan, client = make_plan(provider_id=noop.id), karbor.client()
    ids = [client.checkpoints.create(noop.id, plan.id).id for _ in range(3)]
    for id in ids:
        karbor.ended_checkpoint(noop.id, id)

    def listed(**given):
        search = {'plan_id': plan.id} | given.pop('search', {})
        return [checkpoint.id for checkpoint in client.checkpoints.list(noop.id, search_opts=search, **given)]

    assert listed() == ids[::-1]
    assert listed(sort='created_at:asc') == ids
    assert listed(sort_key='id', sort_dir='asc') == sorted(ids)
    assert listed(limit=2, sort='created_at:asc') == ids[:2]
    assert listed(limit=2, marker=ids[1], sort='created_at:asc') == ids[2:]
    assert listed(search={'start_date': today(-1), 'end_date': today(1)}) == ids[::-1]
    assert listed(search={'end_date': today(-2)}) == []
    assert listed(search={'start_date': today(2)}) == []
    assert listed(search={'status': 'available'}) == ids[::-1]
    assert listed(search={'status': 'error'}) == []
    (first, *_) = client.checkpoints.list(noop.id, search_opts={'plan_id': plan.id})
    assert first.protection_plan['name'] == plan.name
    assert first.resource_graph == '[{}, []]'


def test_library_deletes_a_checkpoint_that_stays_readable(karbor, provider, make_plan):
    plan, client = make_plan(), karbor.client()
    made = client.checkpoints.create(provider.id, plan.id)
    assert karbor.ended_checkpoint(provider.id, made.id).status == 'available'
    client.checkpoints.delete(provider.id, made.id)
    found = karbor.ended_checkpoint(provider.id, made.id)
    assert (found.status, found.protection_plan['id']) == ('deleted', plan.id)
    by_plan = {'plan_id': plan.id}
    assert client.checkpoints.list(provider.id, search_opts=by_plan) == []
    deleted = client.checkpoints.list(provider.id, search_opts=by_plan | {'status': 'deleted'})
    assert [checkpoint.id for checkpoint in deleted] == [made.id]


def test_library_resets_the_state_of_a_checkpoint(karbor, noop, make_checkpoint):
    checkpoints, id = karbor.client().checkpoints, make_checkpoint().id
    for state in ('error', 'available'):
        assert checkpoints.reset_state(noop.id, id, state) is None
        assert checkpoints.get(noop.id, id).status == state


def test_library_tells_why_a_resource_was_not_protected(karbor, provider, make_plan):
    plan, client = make_plan(), karbor.client()
    with karbor.fault(service='manila', match='POST /snapshots$', kind='error_state'):
        made = client.checkpoints.create(provider.id, plan.id)
        found = karbor.ended_checkpoint(provider.id, made.id)
    assert found.status == 'error'
    assert 'manila' in found.status_details
    failed = found.resources[0]
    assert (failed['type'], failed['status']) == (SHARE, 'error')
    assert 'manila' in failed['status_details']
    assert 'http' not in failed['status_details']
    client.checkpoints.delete(provider.id, made.id)
    assert karbor.ended_checkpoint(provider.id, made.id).status == 'deleted'


def test_shell_creates_shows_lists_and_deletes_a_checkpoint(karbor, provider, resources, make_plan):
    plan = make_plan('shelled')
    done = karbor.shell('checkpoint-create', provider.id, plan.id, '--extra_info', 'why=test', 'flag')
    assert (done.status, done.errors) == (0, '')
    id = done.shown['id']
    assert (done.shown['status'], json.loads(done.shown['protection_plan'])['name']) == ('protecting', 'shelled')
    assert json.loads(done.shown['extra_info'])['why'] == 'test'
    karbor.ended_checkpoint(provider.id, id)

    shown = karbor.shell('checkpoint-show', provider.id, id, user='reader').shown
    assert (shown['status'], len(json.loads(shown['resource_graph'])[0])) == ('available', len(resources))

    dates = ['--start_date', today(-1), '--end_date', today(1)]
    (row,) = karbor.shell('checkpoint-list', provider.id, '--plan_id', plan.id, *dates, '--sort', 'id:asc').rows
    assert (row['Id'], row['Status']) == (id, 'available')
    assert row['Protection plan'] == f'Name: shelled\nId: {plan.id}'

    done = karbor.shell('checkpoint-delete', provider.id, id)
    assert (done.status, done.output, done.errors) == (0, '', '')
    assert karbor.ended_checkpoint(provider.id, id).status == 'deleted'
    assert karbor.shell('checkpoint-show', provider.id, id).shown['status'] == 'deleted'
    assert karbor.shell('checkpoint-list', provider.id, '--plan_id', plan.id).rows == []


def test_shell_lists_checkpoints_of_all_projects_for_the_administrator(karbor, protected):
    command = ['checkpoint-list', protected.provider_id]
    demo = ['--all-tenants', '1', '--project_id', karbor.users['demo']['project_id']]
    for options in ([*demo[:2]], demo):
        ids = {row['Id'] for row in karbor.shell(*command, *options, user='admin').rows}
        assert protected.checkpoint.id in ids
    assert karbor.shell(*command, *demo, user='other').rows == []
    assert karbor.shell(*command, user='admin').rows == []


def test_shell_resets_the_state_of_a_checkpoint(karbor, noop, make_checkpoint):
    id = make_checkpoint().id
    for option, state in ((), 'error'), (('--available',), 'available'):
        done = karbor.shell('checkpoint-reset-state', noop.id, id, *option)
        assert (done.status, done.output, done.errors) == (0, '', '')
        assert karbor.client().checkpoints.get(noop.id, id).status == state


def test_shell_goes_on_when_one_of_three_checkpoints_to_delete_is_missing(karbor, noop, make_checkpoint, nowhere):
    first, last = make_checkpoint(), make_checkpoint()
    done = karbor.shell('checkpoint-delete', noop.id, first.id, nowhere, last.id)
    assert (done.status, done.errors) == (0, '')
    assert done.output == f"Failed to delete '{nowhere}'; checkpoint not found\n"
    assert [karbor.ended_checkpoint(noop.id, one.id).status for one in (first, last)] == ['deleted', 'deleted']
    done = karbor.shell('checkpoint-delete', noop.id, nowhere)
    assert done.status == 1
    assert 'Unable to find and delete any of the specified checkpoint' in done.errors


def test_shell_goes_on_when_one_of_four_checkpoints_cannot_be_reset(karbor, noop, make_checkpoint, nowhere):
    first, last = make_checkpoint(), make_checkpoint()
    gone = make_checkpoint()
    karbor.client().checkpoints.delete(noop.id, gone.id)
    assert karbor.ended_checkpoint(noop.id, gone.id).status == 'deleted'
    done = karbor.shell('checkpoint-reset-state', noop.id, first.id, nowhere, gone.id, last.id)
    assert (done.status, done.errors) == (0, '')
    assert done.output.splitlines() == [
        f"Failed to reset state of '{nowhere}'; checkpoint not found",
        f"Failed to reset state of '{gone.id}'; invalid input or current checkpoint state",
    ]
    assert [karbor.client().checkpoints.get(noop.id, one.id).status for one in (first, last)] == ['error', 'error']


def test_shell_says_that_it_is_not_allowed_when_a_reader_resets_a_state(karbor, protected):
    done = karbor.shell('checkpoint-reset-state', protected.provider_id, protected.checkpoint.id, user='reader')
    assert done.status == 1
    assert 'not allowed' in done.output


def test_library_says_not_found_when_there_is_no_such_checkpoint(karbor, protected, noop, nowhere):
    mine, foreign = karbor.client().checkpoints, karbor.client('other').checkpoints
    for checkpoints, provider_id, id in (
        (mine, protected.provider_id, nowhere),
        (mine, noop.id, protected.checkpoint.id),
        (foreign, protected.provider_id, protected.checkpoint.id),
    ):
        text = f'Checkpoint {id} could not be found'
        with pytest.raises(exceptions.NotFound, match=text):
            checkpoints.get(provider_id, id)
        with pytest.raises(exceptions.NotFound, match=text):
            checkpoints.delete(provider_id, id)
        with pytest.raises(exceptions.NotFound, match=text):
            checkpoints.reset_state(provider_id, id, 'error')
    assert mine.get(protected.provider_id, protected.checkpoint.id).status == 'available'


def test_library_says_not_found_when_there_is_no_such_provider(karbor, protected, nowhere):
    checkpoints = karbor.client().checkpoints
    with pytest.raises(exceptions.NotFound, match=nowhere):
        checkpoints.list(nowhere)
    with pytest.raises(exceptions.NotFound):
        checkpoints.get(nowhere, protected.checkpoint.id)


def test_library_says_not_found_when_the_plan_is_missing_or_of_another_project(karbor, protected, nowhere):
    for user, plan_id in (('demo', nowhere), ('other', protected.plan.id)):
        with pytest.raises(exceptions.NotFound, match=f'Plan {plan_id} could not be found'):
            karbor.client(user).checkpoints.create(protected.provider_id, plan_id)


def test_library_says_bad_request_when_a_checkpoint_is_asked_for_wrongly(karbor, protected, noop):
    checkpoints, provider_id = karbor.client().checkpoints, protected.provider_id
    for ask in (
        lambda: checkpoints.create(noop.id, protected.plan.id),
        lambda: checkpoints.create(provider_id, 'no-uuid'),
        lambda: checkpoints.create(provider_id, protected.plan.id, {'nested': {'not': 'allowed'}}),
        lambda: checkpoints.get(provider_id, 'no-uuid'),
        lambda: checkpoints.delete(provider_id, 'no-uuid'),
        lambda: checkpoints.reset_state(provider_id, protected.checkpoint.id, 'deleted'),
        lambda: checkpoints.list(provider_id, search_opts={'start_date': 'yesterday'}),
        lambda: checkpoints.list(provider_id, marker='9d4ec0cf-5c0b-4f4c-a0c1-6f2c1c9d9a3f'),
    ):
        with pytest.raises(exceptions.BadRequest):
            ask()


def test_library_says_forbidden_when_a_reader_writes(karbor, protected):
    checkpoints, provider_id, id = karbor.client('reader').checkpoints, protected.provider_id, protected.checkpoint.id
    assert checkpoints.get(provider_id, id).status == 'available'
    for ask in (
        lambda: checkpoints.create(provider_id, protected.plan.id),
        lambda: checkpoints.delete(provider_id, id),
        lambda: checkpoints.reset_state(provider_id, id, 'error'),
    ):
        with pytest.raises(exceptions.Forbidden, match='provider:checkpoint_'):
            ask()


def test_library_says_conflict_when_the_checkpoint_is_being_written(karbor, provider, make_plan):
    plan, client = make_plan(), karbor.client()
    with karbor.fault(service='manila', match='POST /snapshots$', kind='slow', seconds=3):
        made = client.checkpoints.create(provider.id, plan.id)
        with pytest.raises(exceptions.Conflict, match='protecting'):
            client.checkpoints.delete(provider.id, made.id)
        with pytest.raises(exceptions.Conflict, match='protecting'):
            client.restores.create(provider.id, made.id, None, {}, None)
        with pytest.raises(exceptions.BadRequest, match='protecting'):
            client.checkpoints.reset_state(provider.id, made.id, 'error')
        done = karbor.shell('checkpoint-delete', provider.id, made.id)
        assert (done.status, 'HTTP 409' in done.errors) == (1, True)
        assert client.checkpoints.get(provider.id, made.id).status in BUSY
        assert karbor.ended_checkpoint(provider.id, made.id).status == 'available'


def test_library_says_conflict_when_a_deleted_checkpoint_is_deleted_again(karbor, noop, make_checkpoint):
    checkpoints, id = karbor.client().checkpoints, make_checkpoint().id
    checkpoints.delete(noop.id, id)
    assert karbor.ended_checkpoint(noop.id, id).status == 'deleted'
    with pytest.raises(exceptions.Conflict, match='deleted'):
        checkpoints.delete(noop.id, id)


def test_library_deletes_a_checkpoint_again_when_it_failed_before(karbor, provider, make_plan):
    plan, client = make_plan(), karbor.client()
    made = client.checkpoints.create(provider.id, plan.id)
    assert karbor.ended_checkpoint(provider.id, made.id).status == 'available'
    with karbor.fault(service='trove', match='DELETE /backups/', kind='error_state', times=None):
        client.checkpoints.delete(provider.id, made.id)
        found = karbor.ended_checkpoint(provider.id, made.id)
    assert found.status == 'error-deleting'
    assert {r['type']: r['status'] for r in found.resources}[DATABASE] == 'error'
    client.checkpoints.delete(provider.id, made.id)
    assert karbor.ended_checkpoint(provider.id, made.id).status == 'deleted'
