# SPDX-License-Identifier: Apache-2.0
"""Database instances of Trove."""

from collections.abc import Callable
from typing import Any

import pytest

from karbor import exception
from karbor.clients import Cloud
from karbor.plugins import database
from karbor.plugins.interface import Resource
from karbor.sandbox.cloud import Sandbox
from karbor.tests.plugins.driver import SPEED, Driver, new_instance, of_database

# --- what can be protected


def test_the_own_instances_are_listed_when_they_can_be_protected(sandbox: Sandbox, cloud: Cloud) -> None:
    good, *bad = [new_instance(sandbox) for _ in range(1 + len(database.Instances.excluded))]
    for instance, status in zip(bad, database.Instances.excluded, strict=True):
        instance.status = status
    found = {resource.id for resource in database.Instances().list(cloud)}
    assert good.id in found and found.isdisjoint({i.id for i in bad})
    assert {sandbox.instances.instances[id].tenant_id for id in found} == {cloud.project_id}


def test_all_instances_are_listed_when_there_are_more_than_a_page(sandbox: Sandbox, cloud: Cloud) -> None:
    made = {new_instance(sandbox).id for _ in range(45)}
    assert made <= {resource.id for resource in database.Instances().list(cloud)}


@pytest.mark.parametrize('id', ['nowhere', '..', 'a/b', '?limit=1'])
def test_show_refuses_what_is_no_instance(cloud: Cloud, id: str) -> None:
    with pytest.raises(exception.ProtectableNotFound):
        database.Instances().show(cloud, id)


@pytest.mark.parametrize('user', ['demo', 'admin'])
def test_show_refuses_an_instance_of_another_project_and_one_in_a_bad_state(
    sandbox: Sandbox, login: Callable[[str], Cloud], user: str
) -> None:
    cloud, own = login(user), new_instance(sandbox)
    own.tenant_id = cloud.project_id
    foreign = next(i for i in sandbox.instances.instances.values() if i.name == 'ledger-db')
    assert database.Instances().show(cloud, own.id) == Resource(database.TYPE, own.id, 'an instance')
    with pytest.raises(exception.ProtectableNotFound):
        database.Instances().show(cloud, foreign.id)
    own.status = 'ERROR'
    with pytest.raises(exception.ProtectableInvalidStatus, match='is ERROR'):
        database.Instances().show(cloud, own.id)


def test_children_are_the_instances_of_the_project_itself_only(cloud: Cloud) -> None:
    own = Resource('OS::Keystone::Project', cloud.project_id, 'demo')
    assert list(database.Instances().children(cloud, own)) == list(database.Instances().list(cloud))
    assert not database.Instances().children(cloud, Resource('OS::Keystone::Project', 'another', 'other'))


# --- protect


def test_options_reach_the_backup_and_the_tag_ends_its_description(sandbox: Sandbox, driver: Driver) -> None:
    case = of_database(sandbox)
    work = driver.work(case, 'protect')
    assignment = driver.assignment(case, 'protect', {'backup_name': 'friday', 'description': 'x' * 255})
    work.start(assignment)
    (backup,) = case.copies().values()
    assert backup.name == 'friday'
    assert backup.description.endswith(f'x [karbor {assignment.tag}]') and len(backup.description) == 255


def test_a_backup_is_named_after_its_instance_when_no_name_is_wanted(sandbox: Sandbox, driver: Driver) -> None:
    case = of_database(sandbox)
    work, assignment = driver.work(case, 'protect'), driver.assignment(case, 'protect', {'backup_name': None})
    work.start(assignment)
    (backup,) = case.copies().values()
    assert backup.name == f'backup{case.resource.id}'
    assert backup.description == f'[karbor {assignment.tag}]'


def test_protect_waits_when_the_instance_is_busy(sandbox: Sandbox, driver: Driver) -> None:
    case = of_database(sandbox)
    original = sandbox.instances.instances[case.resource.id]
    original.status = 'RESIZE'
    work, assignment = driver.work(case, 'protect'), driver.assignment(case, 'protect')
    handle = work.start(assignment)
    state = work.poll(assignment, handle)
    assert (state.word, state.details) == ('build', f'database instance {original.id} is RESIZE')
    original.status = 'ACTIVE'
    assert driver.go_on(work, assignment, handle).word == 'active'
    assert len(case.copies()) == 1


@pytest.mark.parametrize('status', ['ERROR', 'SHUTDOWN', 'UNHEARD_OF'])
def test_protect_refuses_an_instance_for_which_waiting_is_in_vain(
    sandbox: Sandbox, driver: Driver, status: str
) -> None:
    case = of_database(sandbox)
    sandbox.instances.instances[case.resource.id].status = status
    with pytest.raises(exception.BackendFault, match=f'conflict: .+ is {status}'):
        driver.run(case, 'protect')


def test_the_bank_holds_what_karbor_1_6_noted_and_more(sandbox: Sandbox, driver: Driver) -> None:
    case = of_database(sandbox)
    driver.run(case, 'protect')
    noted = driver.section(case.resource).get_json('metadata')
    (backup_id,) = case.copies()
    assert {key: noted[key] for key in ('instance_id', 'flavor', 'size', 'backup_id')} == {
        'instance_id': case.resource.id,
        'flavor': '1',
        'size': 2,
        'backup_id': backup_id,
    }
    assert (noted['datastore']['type'], noted['datastore']['version']) == ('mysql', '8.0')


# --- restore


@pytest.mark.parametrize('datastore, size', [('mysql', 2), ('mariadb', None)])
def test_a_new_instance_has_the_original_s_nature(
    sandbox: Sandbox, driver: Driver, datastore: str, size: int | None
) -> None:
    case = of_database(sandbox, datastore)
    before = case.content(case.resource.id)
    driver.run(case, 'protect')
    state = driver.run(case, 'restore')
    made = sandbox.instances.instances[str(state.new_id)]
    assert (made.datastore.name, made.volume_size, made.flavor) == (datastore, size, '1')
    assert made.name == f'{driver.checkpoint_id}@{case.resource.id}'
    assert case.content(made.id) == before


def test_a_new_instance_has_the_tag_as_its_name_until_it_is_polled(sandbox: Sandbox, driver: Driver) -> None:
    case = of_database(sandbox)
    driver.run(case, 'protect')
    work = driver.work(case, 'restore')
    told = {'restore_name': 'back', 'restore_description': 'From Friday.'}
    assignment = driver.assignment(case, 'restore', told)
    handle = work.start(assignment)
    (made,) = case.restored().values()
    assert made.name == assignment.tag
    state = work.poll(assignment, handle)
    assert made.name == 'back' and state.new_id == made.id
    state = driver.go_on(work, assignment, handle)
    assert state.extra == {'restore_description': 'From Friday.'}


def test_the_name_waits_when_trove_refuses_it_to_an_instance_that_is_being_built(
    sandbox: Sandbox, driver: Driver, faults: Callable[..., Any]
) -> None:
    case = of_database(sandbox)
    driver.run(case, 'protect')
    faults('trove', 'PUT /instances/', 'status', status=422, times=2)
    sandbox.clock.speed = 0
    work = driver.work(case, 'restore')
    assignment = driver.assignment(case, 'restore', {'restore_name': 'back'})
    handle = work.start(assignment)
    assert work.poll(assignment, handle).word == 'build'
    assert work.poll(assignment, handle).word == 'build'
    assert [i.name for i in case.restored().values()] == [assignment.tag]
    sandbox.clock.speed = SPEED
    assert driver.go_on(work, assignment, handle).word == 'active'
    assert [i.name for i in case.restored().values()] == ['back']


def test_the_user_s_name_stays_when_it_was_given_meanwhile(sandbox: Sandbox, driver: Driver) -> None:
    case = of_database(sandbox)
    driver.run(case, 'protect')
    work, assignment = driver.work(case, 'restore'), driver.assignment(case, 'restore', {'restore_name': 'back'})
    handle = work.start(assignment)
    (made,) = case.restored().values()
    made.name = 'mine'
    assert driver.go_on(work, assignment, handle).word == 'active'
    assert made.name == 'mine'


@pytest.mark.parametrize(
    'noted',
    [
        {'datastore': {'type': 'mysql', 'version': '8.0'}, 'flavor': {'id': '1', 'links': []}, 'size': 2},
        {'datastore': 'mysql', 'flavor': '1', 'size': 2},
        {'flavor': '1', 'size': 2},
    ],
)
def test_a_checkpoint_of_karbor_1_6_is_restored(sandbox: Sandbox, driver: Driver, noted: dict[str, Any]) -> None:
    case = of_database(sandbox)
    before = case.content(case.resource.id)
    driver.run(case, 'protect')
    (backup_id,) = case.copies()
    driver.section(case.resource).put_json('metadata', {**noted, 'backup_id': backup_id})
    state = driver.run(case, 'restore')
    assert state.word == 'active' and case.content(str(state.new_id)) == before


def test_network_access_and_configuration_are_noted_and_asked_for() -> None:
    instance = {
        'id': 'i',
        'datastore': {'type': 'mysql', 'version': '8.0', 'version_number': '8.0.32'},
        'flavor': {'id': 'f'},
        'volume': {'size': 5, 'used': 0.1},
        'addresses': [
            {'address': '10.0.0.2', 'type': 'private', 'network': 'n'},
            {'address': '1.2.3.4', 'type': 'public', 'network': 'p'},
        ],
        'access': {'is_public': True, 'allowed_cidrs': ['10.0.0.0/8']},
        'configuration': {'id': 'c', 'name': 'tuned', 'links': []},
    }
    assert database._as_saved(database._description(instance)) == {
        'flavor_id': 'f',
        'volume': {'size': 5},
        'nics': [{'network_id': 'n'}],
        'access': {'is_public': True, 'allowed_cidrs': ['10.0.0.0/8']},
        'configuration': 'c',
        'datastore': 'mysql',
        'datastore_version': '8.0',
    }


def test_the_schemas_take_what_seed_and_karbor_1_6_took() -> None:
    options = database.TroveBackup.options_schema(database.TYPE)['properties']
    restore = database.TroveBackup.restore_schema(database.TYPE)['properties']
    assert set(options) == {'backup_name', 'description'}
    assert set(restore) == {'restore_name', 'restore_description'}


@pytest.mark.parametrize(
    'noted, told',
    [
        ({'size': 1e-9}, 'GB, more than the 1e-09 GB of the volume'),
        ({'datastore': {'type': 'oracle'}}, 'its datastore is mysql, not oracle'),
        ({'datastore': 'oracle'}, 'its datastore is mysql, not oracle'),
    ],
)
def test_verify_tells_what_is_not_as_it_was(sandbox: Sandbox, driver: Driver, noted: dict[str, Any], told: str) -> None:
    case = of_database(sandbox)
    driver.run(case, 'protect')
    section = driver.section(case.resource)
    section.put_json('metadata', section.get_json('metadata') | noted)
    state = driver.run(case, 'verify')
    assert state.word == 'error' and told in str(state.details)


@pytest.mark.parametrize('status', ['BUILDING', 'DELETE_FAILED', 'COMPLETED'])
def test_verify_waits_for_a_busy_backup_only(sandbox: Sandbox, driver: Driver, status: str) -> None:
    case = of_database(sandbox)
    driver.run(case, 'protect')
    (backup,) = case.copies().values()
    backup.status = status
    work, assignment = driver.work(case, 'verify'), driver.assignment(case, 'verify')
    state = work.poll(assignment, work.start(assignment))
    assert state.word == {'BUILDING': 'build', 'COMPLETED': 'active'}.get(status, 'error')
