# SPDX-License-Identifier: Apache-2.0
"""Instances and backups by troveclient, and what Trove says when it refuses."""

from pathlib import Path
from typing import Any

import pytest
from troveclient import exceptions


def names(things: Any) -> list[str]:
    return sorted(thing.name for thing in things)


def instance_named(trove: Any, name: str) -> Any:
    return next(instance for instance in trove.instances.list() if instance.name == name)


def data(cloud: Any, thing: Any) -> Path:
    objects = cloud.objects()
    return Path(next(o['path'] for o in objects['instances'] + objects['backups'] if o['id'] == thing.id))


@pytest.fixture
def trove(cloud):
    return cloud.trove()


@pytest.fixture
def instance(trove, until):
    made = trove.instances.create(
        'mine',
        '1',
        volume={'size': 1},
        databases=[{'name': 'shop'}, {'name': 'crm'}],
        users=[{'name': 'joe', 'password': 'pw', 'databases': [{'name': 'shop'}]}],
        datastore='mysql',
        datastore_version='8.0',
    )
    yield until(trove.instances, made, 'ACTIVE')
    for backup in trove.instances.backups(made.id):
        trove.backups.delete(backup.id)
        until(trove.backups, backup, None)
    trove.instances.delete(made)
    until(trove.instances, made, None)


def restore(trove: Any, until: Any, backup: Any, **more: Any) -> Any:
    point = {'backupRef': backup.id}
    made = trove.instances.create('copy', '1', volume={'size': 1}, restorePoint=point, **more)
    return until(trove.instances, made, 'ACTIVE')


def remove(trove: Any, until: Any, instance: Any) -> None:
    trove.instances.delete(instance)
    until(trove.instances, instance, None)


def test_instances_with_databases_and_users_are_there_at_the_start(cloud, trove):
    instances = {instance.name: instance for instance in trove.instances.list(detailed=True)}
    assert set(instances) == {'shop-db', 'wiki-db'}
    assert instances['shop-db'].volume == {'size': 1}
    assert 'volume' not in instances['wiki-db'].to_dict()
    assert names(trove.databases.list(instances['shop-db'])) == ['crm', 'shop']
    assert names(trove.users.list(instances['wiki-db'])) == ['app']
    assert 'INSERT' in (data(cloud, instances['shop-db']) / 'shop.sql').read_text()


@pytest.mark.usefixtures('slow')
def test_instance_takes_time_to_be_built_and_to_go(cloud, trove, until):
    instance = trove.instances.create('new', '1', volume={'size': 1})
    assert instance.status == 'BUILD'
    with pytest.raises(exceptions.UnprocessableEntity):
        trove.instances.delete(instance)
    with pytest.raises(exceptions.UnprocessableEntity):
        trove.databases.list(instance)
    until(trove.instances, instance, 'ACTIVE')
    path = data(cloud, instance)
    trove.instances.delete(instance)
    assert trove.instances.get(instance.id).status == 'SHUTDOWN'
    until(trove.instances, instance, None)
    assert not path.exists()


def test_project_of_an_instance_is_shown_to_administrators_only(cloud, trove, instance):
    assert 'tenant_id' not in trove.instances.get(instance.id).to_dict()
    shown = cloud.trove('admin').instances.get(instance.id)
    assert shown.tenant_id == cloud.users['demo']['project_id']


@pytest.mark.usefixtures('slow')
def test_backup_stays_as_it_was_when_the_instance_changes(cloud, trove, instance, until):
    file = data(cloud, instance) / 'shop.sql'
    file.write_bytes(b'-- precious\n\0')
    backup = trove.backups.create('b', instance.id, description='tag')
    assert backup.status == 'NEW'
    assert trove.instances.get(instance.id).status == 'BACKUP'
    file.write_bytes(b'-- clobbered\n')
    done = until(trove.backups, backup, 'COMPLETED')
    assert (done.description, done.instance_id, done.datastore['type']) == ('tag', instance.id, 'mysql')
    assert done.locationRef.startswith('http')
    until(trove.instances, instance, 'ACTIVE')
    trove.databases.delete(instance, 'crm')
    trove.users.delete(instance, 'joe')
    copy = restore(trove, until, backup)
    assert names(trove.databases.list(copy)) == ['crm', 'shop']
    assert names(trove.users.list(copy)) == ['joe']
    assert (data(cloud, copy) / 'shop.sql').read_bytes() == b'-- precious\n\0'
    remove(trove, until, copy)


def test_incremental_backup_goes_with_its_parent(cloud, trove, instance, until):
    whole = until(trove.backups, trove.backups.create('b1', instance.id), 'COMPLETED')
    until(trove.instances, instance, 'ACTIVE')
    part = until(trove.backups, trove.backups.create('b2', instance.id, incremental=True), 'COMPLETED')
    assert part.parent_id == whole.id
    path = data(cloud, part)
    trove.backups.delete(whole.id)
    until(trove.backups, whole, None)
    until(trove.backups, part, None)
    assert not path.exists()
    until(trove.instances, instance, 'ACTIVE')


def test_backup_outlives_its_instance(trove, until):
    instance = until(
        trove.instances,
        trove.instances.create('gone', '1', volume={'size': 1}, databases=[{'name': 'kept'}]),
        'ACTIVE',
    )
    backup = until(trove.backups, trove.backups.create('b', instance.id), 'COMPLETED')
    until(trove.instances, instance, 'ACTIVE')
    remove(trove, until, instance)
    copy = restore(trove, until, backup)
    assert names(trove.databases.list(copy)) == ['kept']
    remove(trove, until, copy)
    trove.backups.delete(backup.id)
    until(trove.backups, backup, None)


@pytest.mark.usefixtures('slow')
def test_busy_instance_is_neither_deleted_nor_backed_up_again(trove, instance, until):
    backup = trove.backups.create('b', instance.id)
    for call in (
        lambda: trove.backups.create('c', instance.id),
        lambda: trove.instances.delete(instance),
        lambda: trove.backups.delete(backup.id),
    ):
        with pytest.raises(exceptions.UnprocessableEntity):
            call()
    with pytest.raises(exceptions.Conflict):
        trove.instances.create('early', '1', volume={'size': 1}, restorePoint={'backupRef': backup.id})
    until(trove.backups, backup, 'COMPLETED')
    until(trove.instances, instance, 'ACTIVE')


@pytest.mark.parametrize(
    ('given', 'error'),
    [
        ({'name': ''}, exceptions.BadRequest),
        ({'flavor_id': None}, exceptions.BadRequest),
        ({'flavor_id': '9'}, exceptions.BadRequest),
        ({'volume': None}, exceptions.BadRequest),
        ({'volume': {'size': 'x'}}, exceptions.BadRequest),
        ({'datastore': 'oracle'}, exceptions.NotFound),
        ({'datastore': 'mysql', 'datastore_version': '9.9'}, exceptions.BadRequest),
        ({'datastore': 'mariadb'}, exceptions.HttpNotImplemented),
        ({'databases': [{'name': '../x'}]}, exceptions.BadRequest),
        ({'databases': [{'name': 'x'}, {'name': 'x'}]}, exceptions.BadRequest),
        ({'users': ['x']}, exceptions.BadRequest),
        ({'restorePoint': {'backupRef': 'none'}}, exceptions.NotFound),
    ],
)
def test_instance_is_refused_when_the_request_is_bad(cloud, trove, given, error):
    before = cloud.objects()['instances']
    with pytest.raises(error):
        trove.instances.create(**{'name': 'bad', 'flavor_id': '1', 'volume': {'size': 1}, **given})
    assert cloud.objects()['instances'] == before


def test_instance_without_volume_is_backed_up_and_restored(trove, until):
    wiki = instance_named(trove, 'wiki-db')
    backup = until(trove.backups, trove.backups.create('b', wiki.id), 'COMPLETED')
    with pytest.raises(exceptions.HttpNotImplemented):
        trove.instances.create('copy', '1', volume={'size': 1}, restorePoint={'backupRef': backup.id})
    with pytest.raises(exceptions.BadRequest):
        trove.instances.create('copy', '1', datastore='mysql', restorePoint={'backupRef': backup.id})
    copy = trove.instances.create('copy', '1', restorePoint={'backupRef': backup.id})
    until(trove.instances, copy, 'ACTIVE')
    assert names(trove.databases.list(copy)) == ['wiki']
    remove(trove, until, copy)
    trove.backups.delete(backup.id)
    until(trove.backups, backup, None)


def test_unknown_ids_are_refused_in_troves_words(cloud, trove):
    project = cloud.users['demo']['project_id']
    reply = cloud.get('demo', f'/database/v1.0/{project}/instances/nothing')
    fault = {'code': 404, 'message': 'Instance nothing cannot be found.'}
    assert (reply.status_code, reply.json()) == (404, {'itemNotFound': fault})
    assert reply.headers['x-openstack-request-id'].startswith('req-')
    for call in (trove.backups.get, trove.instances.delete, trove.backups.delete, trove.flavors.get):
        with pytest.raises(exceptions.NotFound):
            call('nothing')


def test_databases_and_users_are_made_and_dropped(trove, instance):
    trove.databases.create(instance, [{'name': 'new'}])
    trove.users.create(instance, [{'name': 'ann', 'password': 'x', 'databases': [{'name': 'new'}]}])
    assert names(trove.databases.list(instance)) == ['crm', 'new', 'shop']
    assert trove.users.get(instance, 'ann').databases == [{'name': 'new'}]
    with pytest.raises(exceptions.BadRequest):
        trove.databases.create(instance, [{'name': 'new'}])
    with pytest.raises(exceptions.BadRequest):
        trove.users.create(instance, [{'name': 'ann', 'password': 'x'}])
    trove.databases.delete(instance, 'new')
    trove.users.delete(instance, 'ann')
    with pytest.raises(exceptions.NotFound):
        trove.databases.delete(instance, 'new')
    with pytest.raises(exceptions.NotFound):
        trove.users.delete(instance, 'ann')
    assert names(trove.users.list(instance)) == ['joe']


@pytest.mark.usefixtures('slow')
def test_instance_is_renamed_and_restarted(trove, instance, until):
    trove.instances.update(instance, name='renamed')
    assert trove.instances.get(instance.id).name == 'renamed'
    trove.instances.restart(instance.id)
    assert trove.instances.get(instance.id).status == 'REBOOT'
    until(trove.instances, instance, 'ACTIVE')


def test_lists_come_in_pages_of_at_most_twenty(trove, instance):
    trove.databases.create(instance, [{'name': f'd{n:02}'} for n in range(30)])
    first = trove.databases.list(instance)
    assert (len(first), first.next) == (20, 'd18')
    rest = trove.databases.list(instance, marker=first.next)
    assert (len(rest), rest.next) == (12, None)
    one = trove.instances.list(limit=1)
    assert len(one) == 1
    assert {i.id for i in trove.instances.list(limit=5, marker=one.next)}.isdisjoint({one[0].id})


def test_backups_are_listed_for_the_project_and_for_an_instance(trove, instance, until):
    backup = until(trove.backups, trove.backups.create('b', instance.id), 'COMPLETED')
    until(trove.instances, instance, 'ACTIVE')
    assert [b.id for b in trove.instances.backups(instance.id)] == [backup.id]
    assert [b.id for b in trove.backups.list(instance_id=instance.id)] == [backup.id]
    assert trove.backups.list(instance_id='other') == []


def test_other_projects_things_are_not_there(cloud, trove, instance, until):
    backup = until(trove.backups, trove.backups.create('b', instance.id), 'COMPLETED')
    until(trove.instances, instance, 'ACTIVE')
    other = cloud.trove('other')
    assert names(other.instances.list()) == ['ledger-db']
    for call in (
        lambda: other.instances.get(instance.id),
        lambda: other.instances.delete(instance.id),
        lambda: other.backups.create('x', instance.id),
        lambda: other.backups.get(backup.id),
        lambda: restore(other, until, backup),
    ):
        with pytest.raises(exceptions.NotFound):
            call()
    project = cloud.users['demo']['project_id']
    assert cloud.get('other', f'/database/v1.0/{project}/instances').status_code == 403


def test_reader_sees_everything_and_changes_nothing(cloud, instance):
    reader = cloud.trove('reader')
    assert reader.instances.get(instance.id).name == 'mine'
    for call in (
        lambda: reader.instances.create('x', '1', volume={'size': 1}),
        lambda: reader.instances.delete(instance.id),
        lambda: reader.backups.create('x', instance.id),
        lambda: reader.databases.create(instance, [{'name': 'x'}]),
    ):
        with pytest.raises(exceptions.Forbidden):
            call()


def test_datastores_and_flavors_are_listed(trove):
    assert names(trove.datastores.list()) == ['mariadb', 'mysql']
    assert names(trove.datastore_versions.list('mysql')) == ['8.0']
    assert trove.datastore_versions.get('mysql', '8.0').name == '8.0'
    assert [f.name for f in trove.flavors.list()] == ['m1.tiny', 'm1.small']
