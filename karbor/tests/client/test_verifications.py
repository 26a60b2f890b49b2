# SPDX-License-Identifier: Apache-2.0
"""Verifications by python-karborclient."""

import json

import pytest
from karborclient.common.apiclient import exceptions

from karbor.tests.client.conftest import DATABASE, SHARE


def verify(karbor, protected, parameters=None, user='demo'):
    """A new verification of the checkpoint that all tests share."""
    ids = protected.provider_id, protected.checkpoint.id
    return karbor.client(user).verifications.create(*ids, parameters or {})


def test_library_verifies_a_checkpoint(karbor, protected, resources):
    made = verify(karbor, protected)
    assert (made.status, made.parameters) == ('in_progress', {})
    assert (made.provider_id, made.checkpoint_id) == (protected.provider_id, protected.checkpoint.id)
    found = karbor.ended_verification(made.id)
    assert found.status == 'success', found.status_details
    keys = {f'{r["type"]}#{r["id"]}' for r in resources}
    assert found.resources_status == dict.fromkeys(keys, 'available')
    assert found.resources_reason == {}
    assert {(r['type'], r['id'], r['new_id'], r['status']) for r in found.resources} == {
        (r['type'], r['id'], None, 'active') for r in resources
    }


def test_library_tells_which_copy_cannot_be_looked_at(karbor, protected, resources):
    with karbor.fault(service='manila', match='GET /snapshots/.*', kind='status', status=403):
        found = karbor.ended_verification(verify(karbor, protected).id)
    share, database = (f'{resource["type"]}#{resource["id"]}' for resource in resources)
    assert found.status == 'fail'
    assert found.resources_status == {share: 'error', database: 'available'}
    assert 'manila' in found.resources_reason[share]
    assert found.status_details.startswith(f'{SHARE} ')
    assert found.resources[0]['type'] == SHARE
    assert karbor.ended_verification(verify(karbor, protected).id).status == 'success'


def test_library_lists_filters_and_pages_verifications(karbor, noop, make_checkpoint):
    verifications, id = karbor.client().verifications, make_checkpoint().id
    made = [verifications.create(noop.id, id, {}).id for _ in range(2)]
    for one in made:
        assert karbor.ended_verification(one).status == 'success'
    assert [one.id for one in verifications.list(limit=2)] == made[::-1]
    assert verifications.list(limit=1, marker=made[1])[0].id == made[0]
    assert [one.id for one in verifications.list(sort='created_at:asc')][-2:] == made
    assert set(made) <= {one.id for one in verifications.list(search_opts={'status': 'success'})}
    assert not set(made) & {one.id for one in verifications.list(search_opts={'status': 'fail'})}


def test_shell_creates_shows_and_lists_a_verification(karbor, noop, make_checkpoint):
    checkpoint = make_checkpoint()
    options = ['--parameters', f'resource_type={SHARE},depth=3']
    done = karbor.shell('verification-create', noop.id, checkpoint.id, *options)
    assert (done.status, done.errors) == (0, '')
    assert done.shown['status'] == 'in_progress'
    assert json.loads(done.shown['parameters']) == {SHARE: {'depth': '3'}}
    id = done.shown['id']
    assert karbor.ended_verification(id).status == 'success'

    shown = karbor.shell('verification-show', id, user='reader').shown
    assert (shown['status'], shown['checkpoint_id']) == ('success', checkpoint.id)
    rows = karbor.shell('verification-list', '--status', 'success', '--sort', 'created_at:desc', '--limit', '5').rows
    row = next(row for row in rows if row['Id'] == id)
    assert (row['Provider id'], row['Checkpoint id'], row['Status']) == (noop.id, checkpoint.id, 'success')
    listed = karbor.shell('verification-list', '--all-tenants', '1', user='admin').rows
    assert id in {row['Id'] for row in listed}
    assert karbor.shell('verification-list', user='other').rows == []


def test_library_says_what_is_wrong_with_a_verification(karbor, protected, noop, nowhere):
    verifications, ids = karbor.client().verifications, (protected.provider_id, protected.checkpoint.id)
    before = len(verifications.list())
    for arguments, fault, text in (
        (('no-uuid', ids[1], {}), exceptions.BadRequest, 'provider_id'),
        ((ids[0], 'no-uuid', {}), exceptions.BadRequest, 'checkpoint_id'),
        ((*ids, {'OS::No::Type': {}}), exceptions.BadRequest, 'OS::No::Type'),
        ((*ids, {DATABASE: {'no_such_option': 'x'}}), exceptions.BadRequest, 'no_such_option'),
        ((nowhere, ids[1], {}), exceptions.NotFound, 'Provider'),
        ((ids[0], nowhere, {}), exceptions.NotFound, 'Checkpoint'),
        ((noop.id, ids[1], {}), exceptions.NotFound, 'Checkpoint'),
    ):
        with pytest.raises(fault, match=text):
            verifications.create(*arguments)
    assert len(verifications.list()) == before
    with pytest.raises(exceptions.NotFound, match=f'Verification {nowhere} could not be found'):
        verifications.get(nowhere)


def test_library_shows_nothing_of_another_project(karbor, protected):
    made = verify(karbor, protected)
    with pytest.raises(exceptions.NotFound, match=f'Verification {made.id} could not be found'):
        karbor.client('other').verifications.get(made.id)
    with pytest.raises(exceptions.NotFound, match=f'Checkpoint {protected.checkpoint.id} could not be found'):
        verify(karbor, protected, user='other')
    assert karbor.client('other').verifications.list() == []
    with pytest.raises(exceptions.Forbidden, match='verification:create'):
        verify(karbor, protected, user='reader')
    assert karbor.ended_verification(made.id).status == 'success'


def test_shell_says_conflict_when_the_checkpoint_is_not_available(karbor, noop, make_checkpoint):
    client, id = karbor.client(), make_checkpoint().id
    client.checkpoints.reset_state(noop.id, id, 'error')
    with pytest.raises(exceptions.Conflict, match='is error; verify needs one that is available'):
        client.verifications.create(noop.id, id, {})
    done = karbor.shell('verification-create', noop.id, id)
    assert done.status == 1
    assert 'HTTP 409' in done.errors
