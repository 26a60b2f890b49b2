# SPDX-License-Identifier: Apache-2.0
"""Shares of Manila."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from oslo_config import cfg

from karbor import clients, exception
from karbor.clients import Cloud
from karbor.plugins import share, toolkit
from karbor.plugins.interface import Resource
from karbor.sandbox.cloud import Sandbox
from karbor.tests.plugins.driver import SPEED, Driver, files_of, new_share, of_share

CONF = cfg.CONF


@pytest.fixture
def old_version(cloud: Cloud) -> Any:
    """Manila is asked in a version in which snapshots have no metadata."""
    CONF.set_override('version', '2.65', 'manila_client')
    yield
    CONF.clear_override('version', 'manila_client')


# --- what can be protected


def test_the_own_shares_are_listed_when_they_can_be_protected(sandbox: Sandbox, cloud: Cloud) -> None:
    good, *bad = [new_share(sandbox, status=s) for s in ('available', *share.Shares.excluded)]
    busy = new_share(sandbox, status='extending')
    foreign = new_share(sandbox, project_id=sandbox.users[2]['project_id'], is_public=True)
    found = {resource.id for resource in share.Shares().list(cloud)}
    assert {good.id, busy.id} <= found
    assert found.isdisjoint({s.id for s in bad} | {foreign.id})
    assert {sandbox.shares.shares[id].project_id for id in found} == {cloud.project_id}


def test_all_shares_are_listed_when_the_service_gives_them_in_pages(
    sandbox: Sandbox, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {resource.id for resource in share.Shares().list(cloud)}
    made = {new_share(sandbox).id for _ in range(7)}
    monkeypatch.setattr(share, 'PAGE', 3)
    found = [resource.id for resource in share.Shares().list(cloud)]
    assert len(found) == len(set(found))
    assert set(found) == before | made


def test_no_share_is_left_out_when_another_goes_between_two_pages(
    sandbox: Sandbox, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(7):
        new_share(sandbox)
    before = {thing['id'] for thing in share.SHARES.all(cloud)}
    monkeypatch.setattr(share, 'PAGE', 3)
    pages = share.SHARES.pages(cloud)
    first = [thing['id'] for thing in next(pages)]
    with sandbox.clock.lock:
        del sandbox.shares.shares[first[0]]
    assert {thing['id'] for page in pages for thing in page} | set(first) == before


@pytest.mark.parametrize('id', ['nowhere', '..', 'a/b', '?limit=1', 'x' * 300])
def test_show_refuses_what_is_no_share(cloud: Cloud, id: str) -> None:
    with pytest.raises(exception.ProtectableNotFound):
        share.Shares().show(cloud, id)


def test_show_refuses_a_share_of_another_project_and_one_in_a_bad_state(sandbox: Sandbox, cloud: Cloud) -> None:
    own, bad = new_share(sandbox), new_share(sandbox, status='error')
    foreign = new_share(sandbox, project_id=sandbox.users[2]['project_id'], is_public=True)
    assert share.Shares().show(cloud, own.id) == Resource(share.TYPE, own.id, 'a share')
    with pytest.raises(exception.ProtectableNotFound):
        share.Shares().show(cloud, foreign.id)
    with pytest.raises(exception.ProtectableInvalidStatus, match='is error'):
        share.Shares().show(cloud, bad.id)


def test_children_are_the_shares_of_the_project_itself_only(sandbox: Sandbox, cloud: Cloud) -> None:
    own = Resource('OS::Keystone::Project', cloud.project_id, 'demo')
    assert list(share.Shares().children(cloud, own)) == list(share.Shares().list(cloud))
    assert not share.Shares().children(cloud, Resource('OS::Keystone::Project', 'another', 'other'))


# --- protect


def test_options_reach_the_snapshot_and_the_tag_is_in_its_metadata(sandbox: Sandbox, driver: Driver) -> None:
    case = of_share(sandbox)
    work = driver.work(case, 'protect')
    told = {'snapshot_name': 'before the release', 'description': 'Of Friday.'}
    assignment = driver.assignment(case, 'protect', told)
    work.start(assignment)
    (snapshot,) = case.copies().values()
    assert (snapshot.name, snapshot.description) == ('before the release', 'Of Friday.')
    assert snapshot.metadata == {'karbor': assignment.tag}


def test_the_tag_is_at_the_end_of_the_description_when_snapshots_have_no_metadata(
    sandbox: Sandbox, driver: Driver, old_version: None
) -> None:
    case = of_share(sandbox)
    work, assignment = driver.work(case, 'protect'), driver.assignment(case, 'protect', {'description': 'x' * 255})
    work.start(assignment)
    (snapshot,) = case.copies().values()
    assert snapshot.description.endswith(f'x [karbor {assignment.tag}]') and len(snapshot.description) == 255
    assert snapshot.metadata == {}
    handle = work.find(assignment)
    assert handle is not None and handle['snapshot_id'] == snapshot.id
    assert driver.go_on(work, assignment, handle).word == 'active'


def test_the_bank_holds_what_karbor_1_6_noted(sandbox: Sandbox, driver: Driver) -> None:
    case = of_share(sandbox)
    driver.run(case, 'protect')
    section = driver.section(case.resource)
    (snapshot_id,) = case.copies()
    original = sandbox.shares.shares[case.resource.id]
    assert section.get_json('metadata') == {
        'share_id': case.resource.id,
        'size': 1,
        'share_proto': 'NFS',
        'share_type': original.type.id,
        'share_network_id': None,
        'snapshot_id': snapshot_id,
    }
    assert section.get_text('status') == 'available'


def test_protect_waits_when_the_share_is_busy(sandbox: Sandbox, driver: Driver) -> None:
    case = of_share(sandbox)
    original = sandbox.shares.shares[case.resource.id]
    original.status = 'extending'
    work, assignment = driver.work(case, 'protect'), driver.assignment(case, 'protect')
    recorded = work.start(assignment)
    handle = dict(recorded)
    state = work.poll(assignment, handle)
    assert (state.word, state.details) == ('build', f'share {original.id} is extending')
    assert case.copies() == {}
    assert work.cancel(assignment, handle) is True

    original.status = 'available'
    assert work.poll(assignment, handle).word in ('build', 'active')
    assert len(case.copies()) == 1
    # After a crash only what `start` answered is known: no second snapshot is made.
    assert driver.go_on(work, assignment, dict(recorded)).word == 'active'
    assert len(case.copies()) == 1
    assert driver.section(case.resource).get_json('metadata')['snapshot_id'] in case.copies()
    driver.cancelled(work, assignment, dict(recorded))
    assert case.copies() == {}


def test_a_busy_share_is_protected_at_once_when_it_is_forced(sandbox: Sandbox, driver: Driver) -> None:
    case = of_share(sandbox)
    sandbox.shares.shares[case.resource.id].status = 'extending'
    assert driver.run(case, 'protect', {'force': True}).word == 'active'


@pytest.mark.parametrize('status', ['error', 'reverting_error', 'deleting', 'unheard-of'])
def test_protect_refuses_a_share_for_which_waiting_is_in_vain(sandbox: Sandbox, driver: Driver, status: str) -> None:
    case = of_share(sandbox)
    sandbox.shares.shares[case.resource.id].status = status
    with pytest.raises(exception.BackendFault, match=f'conflict: share {case.resource.id} is {status}'):
        driver.run(case, 'protect')


def test_protect_tells_the_type_that_cannot_have_snapshots(sandbox: Sandbox, driver: Driver) -> None:
    case = of_share(sandbox, 'no-snapshots')
    with pytest.raises(Exception) as raised:
        driver.run(case, 'protect')
    assert clients.fault('manila', raised.value).reason == 'refused'


# --- restore


def test_a_new_share_has_the_original_s_nature_and_the_wanted_words(sandbox: Sandbox, driver: Driver) -> None:
    case = of_share(sandbox, 'no-revert')
    driver.run(case, 'protect')
    state = driver.run(case, 'restore', {'restore_name': 'back', 'restore_description': 'From Friday.'})
    made = sandbox.shares.shares[str(state.new_id)]
    assert (made.name, made.description, made.size, made.share_proto) == ('back', 'From Friday.', 1, 'NFS')
    assert made.type.name == 'no-revert'


def test_a_new_share_is_named_after_checkpoint_and_share_when_no_name_is_wanted(
    sandbox: Sandbox, driver: Driver
) -> None:
    case = of_share(sandbox)
    driver.run(case, 'protect')
    made = sandbox.shares.shares[str(driver.run(case, 'restore', {'restore_name': None}).new_id)]
    assert made.name == f'{driver.checkpoint_id}@{case.resource.id}'


def test_a_checkpoint_of_karbor_1_6_is_restored_and_deleted(sandbox: Sandbox, driver: Driver) -> None:
    case = of_share(sandbox)
    before = case.content(case.resource.id)
    driver.run(case, 'protect')
    section = driver.section(case.resource)
    # Some of its banks hold JSON in JSON.
    section.put_json('metadata', section.get_text('metadata'))
    state = driver.run(case, 'restore')
    assert case.content(str(state.new_id)) == before
    assert driver.run(case, 'delete').word == 'active'
    assert case.copies() == {}


@pytest.mark.parametrize('noted', ['nonsense', [], {}, {'snapshot_id': '../shares'}, {'snapshot_id': None}])
def test_a_restore_is_a_fault_of_the_bank_when_its_notes_are_broken(
    sandbox: Sandbox, driver: Driver, noted: Any
) -> None:
    case = of_share(sandbox)
    driver.section(case.resource).put_json('metadata', noted)
    for operation in ('restore', 'delete', 'verify'):
        with pytest.raises(exception.BankError):
            driver.run(case, operation)


@pytest.mark.parametrize(
    'noted, told',
    [({'size': 3}, 'its size in GiB is 1, not 3'), ({'share_proto': 'CIFS'}, 'its protocol is NFS, not CIFS')],
)
def test_verify_tells_what_is_not_as_it_was(sandbox: Sandbox, driver: Driver, noted: dict[str, Any], told: str) -> None:
    case = of_share(sandbox)
    driver.run(case, 'protect')
    section = driver.section(case.resource)
    section.put_json('metadata', section.get_json('metadata') | noted)
    state = driver.run(case, 'verify')
    assert state.word == 'error' and told in str(state.details)


@pytest.mark.parametrize('lost', ['size', 'share_proto', 'snapshot_id'])
def test_verify_is_a_fault_of_the_bank_when_a_restore_would_lack_something(
    sandbox: Sandbox, driver: Driver, lost: str
) -> None:
    case = of_share(sandbox)
    driver.run(case, 'protect')
    section = driver.section(case.resource)
    section.put_json('metadata', {k: v for k, v in section.get_json('metadata').items() if k != lost})
    with pytest.raises(exception.BankError):
        driver.run(case, 'verify')


@pytest.mark.parametrize('status', ['creating', 'deleting', 'error_deleting', 'available'])
def test_verify_waits_for_a_busy_snapshot_only(sandbox: Sandbox, driver: Driver, status: str) -> None:
    case = of_share(sandbox)
    driver.run(case, 'protect')
    (snapshot,) = case.copies().values()
    snapshot.status = status
    work, assignment = driver.work(case, 'verify'), driver.assignment(case, 'verify')
    state = work.poll(assignment, work.start(assignment))
    words = {'creating': 'build', 'available': 'active'}
    assert state.word == words.get(status, 'error')


def test_the_share_is_reverted_in_place_when_its_own_id_is_wanted(sandbox: Sandbox, driver: Driver) -> None:
    case = of_share(sandbox)
    before = case.content(case.resource.id)
    driver.run(case, 'protect')
    case.change()
    work = driver.work(case, 'restore')
    assignment = driver.assignment(case, 'restore', {'share_id': case.resource.id})
    sandbox.clock.speed = 0
    handle = work.start(assignment)
    assert work.find(assignment) is not None, 'while it is reverted, that is found'
    sandbox.clock.speed = SPEED
    state = driver.go_on(work, assignment, handle)
    assert (state.word, state.new_id) == ('active', None)
    assert case.content(case.resource.id) == before
    assert case.restored() == {}
    assert work.find(assignment) is None


def test_a_revert_is_cancelled_before_it_is_begun_and_never_after(sandbox: Sandbox, driver: Driver) -> None:
    case = of_share(sandbox)
    driver.run(case, 'protect')
    work = driver.work(case, 'restore')
    assignment = driver.assignment(case, 'restore', {'share_id': case.resource.id})
    assert work.cancel(assignment, {}) is True
    sandbox.clock.speed = 0
    handle = work.start(assignment)
    with pytest.raises(exception.BackendFault, match='can be neither stopped nor undone'):
        work.cancel(assignment, handle)
    sandbox.clock.speed = SPEED
    driver.go_on(work, assignment, handle)
    with pytest.raises(exception.BackendFault, match='can be neither stopped nor undone'):
        work.cancel(assignment, handle)
    assert sandbox.shares.shares[case.resource.id].status == 'available'


def test_a_failed_revert_is_told_and_the_share_stays(
    sandbox: Sandbox, driver: Driver, faults: Callable[..., Any]
) -> None:
    case = of_share(sandbox)
    driver.run(case, 'protect')
    faults('manila', 'POST /shares/[^/]+/action', 'error_state')
    work = driver.work(case, 'restore')
    assignment = driver.assignment(case, 'restore', {'share_id': case.resource.id})
    handle = work.start(assignment)
    state = driver.go_on(work, assignment, handle)
    assert state.word == 'error' and f'share {case.resource.id} is reverting_error' in str(state.details)
    assert work.cancel(assignment, handle) is True
    assert case.resource.id in sandbox.shares.shares


def test_a_restore_into_any_other_share_is_refused_and_makes_nothing(sandbox: Sandbox, driver: Driver) -> None:
    case, other = of_share(sandbox), new_share(sandbox)
    content = files_of(other.path)
    driver.run(case, 'protect')
    for target in (other.id, str(uuid.uuid4()), '', 'x' * 1000):
        with pytest.raises(exception.BackendFault, match='refused: share_id .+ is not the share that was protected'):
            driver.run(case, 'restore', {'share_id': target})
    assert files_of(other.path) == content and case.restored() == {}


def test_a_revert_is_refused_when_the_type_does_not_allow_it(sandbox: Sandbox, driver: Driver) -> None:
    case = of_share(sandbox, 'no-revert')
    driver.run(case, 'protect')
    with pytest.raises(exception.BackendFault, match='refused: .+ its type no-revert does not allow it'):
        driver.run(case, 'restore', {'share_id': case.resource.id})
    assert case.restored() == {}


def test_a_revert_is_refused_when_there_is_a_newer_snapshot(sandbox: Sandbox, driver: Driver) -> None:
    case = of_share(sandbox)
    driver.run(case, 'protect')
    newer = driver.cloud.client('manila').share_snapshots.create(case.resource.id)
    with pytest.raises(exception.BackendFault, match=f'conflict: .+ snapshot {newer.id} is newer than the checkpoint'):
        driver.run(case, 'restore', {'share_id': case.resource.id})


def test_a_revert_is_refused_when_the_share_is_busy_or_the_snapshot_gone(sandbox: Sandbox, driver: Driver) -> None:
    case = of_share(sandbox)
    driver.run(case, 'protect')
    sandbox.shares.shares[case.resource.id].status = 'extending'
    with pytest.raises(exception.BackendFault, match='conflict: .+ it is extending'):
        driver.run(case, 'restore', {'share_id': case.resource.id})
    sandbox.shares.shares[case.resource.id].status = 'available'
    driver.cloud.client('manila').share_snapshots.delete(*case.copies())
    while case.copies():
        sandbox.clock.settle()
    with pytest.raises(exception.BackendFault, match='not_found: the snapshot of the checkpoint'):
        driver.run(case, 'restore', {'share_id': case.resource.id})


# --- delete


def test_delete_waits_when_the_snapshot_is_busy(sandbox: Sandbox, driver: Driver) -> None:
    case = of_share(sandbox)
    driver.run(case, 'protect')
    (snapshot,) = case.copies().values()
    snapshot.status = 'restoring'
    work, assignment = driver.work(case, 'delete'), driver.assignment(case, 'delete')
    handle = work.start(assignment)
    assert work.poll(assignment, handle).word == 'build' and case.copies()
    snapshot.status = 'available'
    assert driver.go_on(work, assignment, handle).word == 'active'
    assert case.copies() == {}


def test_delete_is_an_error_when_the_snapshot_cannot_be_deleted(
    sandbox: Sandbox, driver: Driver, faults: Callable[..., Any]
) -> None:
    case = of_share(sandbox)
    driver.run(case, 'protect')
    faults('manila', 'DELETE /snapshots/', 'error_state')
    state = driver.run(case, 'delete')
    assert state.word == 'error' and str(state.details).startswith('failed: the snapshot is error_deleting')
    # Only an administrator can bring the snapshot out of this state.
    with pytest.raises(exception.BackendFault, match='failed: the snapshot is error_deleting'):
        driver.run(case, 'delete')
    next(iter(case.copies().values())).status = 'error'
    assert driver.run(case, 'delete').word == 'active', 'it can be tried again'


# --- the rest


def test_progress_is_a_percent_below_a_hundred_when_manila_tells_it() -> None:
    work = object.__new__(share.RestoreShare)
    told = [work.progress({'progress': p}) for p in ('0%', '55%', '100%', None, 'soon')]
    assert told == [0, 55, 99, None, None]


def test_the_schemas_take_what_seed_and_karbor_1_6_took() -> None:
    options = share.ManilaSnapshot.options_schema(share.TYPE)['properties']
    restore = share.ManilaSnapshot.restore_schema(share.TYPE)['properties']
    assert set(options) == {'snapshot_name', 'description', 'force'}
    assert set(restore) == {'share_id', 'restore_name', 'restore_description'}
    assert options['force'] == {**options['force'], 'type': 'boolean', 'default': False}
    assert all(restore[key]['default'] is None for key in restore)


def test_the_poll_interval_is_an_option_of_the_provider(driver: Driver, sandbox: Sandbox) -> None:
    assert driver.work(of_share(sandbox), 'protect').poll_interval == 15
    assert toolkit.FEW < 8
