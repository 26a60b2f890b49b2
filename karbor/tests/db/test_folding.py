# SPDX-License-Identifier: Apache-2.0
import datetime

import pytest

from karbor.db import folding, models, purge, repository
from karbor.objects import operation_resource

NOW = datetime.datetime(2026, 6, 1)
LONG_AGO, LATELY = NOW - datetime.timedelta(days=40), NOW - datetime.timedelta(days=2)
BEFORE = NOW - datetime.timedelta(days=30)
RESOURCE, OPERATION = models.OperationResource, models.OperationLog


def operation(id, ended_at=LONG_AGO, number=3, **values):
    told = {'project_id': 'p', 'operation_type': 'protect', 'checkpoint_id': f'checkpoint of {id}'}
    repository.create(OPERATION(id=id, ended_at=ended_at, owner='worker', **(told | values)))
    repository.create_many(RESOURCE, [resource(id, n) for n in range(number)])


def resource(id, n):
    return {
        'operation_id': id,
        'position': n,
        'level': n % 2,
        'resource_type': 'OS::Manila::Share',
        'resource_id': f'{id}-{n}',
        'resource_name': None if n == 1 else f'Täglich 🗄️ {n}',
        'new_id': f'new {n}',
        'status': ('active', 'error', None)[n % 3],
        'status_details': 'why',
        'progress': 100,
        'hooks': 4,
        'handle': {'snapshot_id': f's{n}', 'saved': {'size': 1}},
        'attempt': 2,
        'extra': {'job': [n]},
        'started_at': LONG_AGO,
        'ended_at': LONG_AGO + datetime.timedelta(microseconds=5),
    }


def checkpoint(id, status):
    names = {n: 'x' for n in ('provider_id', 'plan_id')}
    repository.create(
        models.CheckpointRecord(id=id, checkpoint_id=id, project_id='p', checkpoint_status=status, **names)
    )
    repository.create(models.CheckpointGraph(checkpoint_id=id, graph='[{}, []]'))


def rows(id):
    found = repository.find(RESOURCE, filters={'operation_id': id}, sort=[('position', 'asc')])
    return [values(row) for row in found]


def values(row):
    return {column.name: getattr(row, column.name) for column in RESOURCE.__table__.c}


def test_resources_read_as_before_when_their_operation_is_folded(database):
    operation('a')
    before, handles = rows('a'), operation_resource.handles('a')
    shown = [values(row) for row in operation_resource.of_operation('a')]
    assert folding.fold(BEFORE) == 1
    assert rows('a') == []
    assert repository.get(models.FoldedResources, 'a').number == 3
    assert [values(row) for row in folding.of_operation('a')] == before
    assert [values(row) for row in operation_resource.of_operation('a')] == shown
    assert [row.resource_id for row in operation_resource.of_operation('a', limit=2)] == ['a-1', 'a-0']
    assert operation_resource.handles('a') == handles
    assert handles['OS::Manila::Share', 'a-2']['snapshot_id'] == 's2'


def test_rows_are_as_they_were_when_an_operation_is_unfolded(database):
    operation('a')
    before = rows('a')
    folding.fold(BEFORE)
    folding.unfold('a')
    assert rows('a') == before
    assert repository.count(models.FoldedResources) == 0
    assert not repository.get(OPERATION, 'a').folded
    folding.unfold('a')  # harmless when repeated
    assert rows('a') == before


def test_only_what_ended_long_ago_is_folded_and_once(database):
    operation('old')
    operation('late', LATELY)
    operation('open', None)
    operation('empty', number=0)
    assert folding.fold(BEFORE) == 2
    assert folding.fold(BEFORE) == 0
    assert len(rows('late')) == len(rows('open')) == 3
    assert repository.count(models.FoldedResources) == 1
    assert repository.get(OPERATION, 'old').folded


def test_maps_of_restores_are_as_before_when_they_are_folded(database):
    operation('a', restore_id='r1', operation_type='restore')
    operation('b', LATELY, restore_id='r2', operation_type='restore')
    operation('c', restore_id='r3', operation_type='restore', number=0)

    def maps():
        found = operation_resource.of_operations(['a', 'b', 'c'])
        return {
            id: operation_resource.maps([row for row in found if row.operation_id == id], 'restore')
            for id in ('a', 'b', 'c')
        }

    before = maps()
    folding.fold(BEFORE)
    assert repository.count(models.FoldedResources) == 1
    assert maps() == before
    assert before['a']['resource_status']['OS::Manila::Share#a-0'] == 'available'
    assert before['c']['resource_status'] == {}


def test_many_are_folded_in_several_transactions(sqlite_database, monkeypatch):
    monkeypatch.setattr(folding, 'ROWS', 10)
    monkeypatch.setattr(folding, 'CANDIDATES', 7)
    for n in range(10):
        operation(f'{n}', number=4)
    operation('large', number=25)
    assert list(folding.few(['1', '2', '3', 'large', '4'])) == [['1', '2'], ['3'], ['large'], ['4']]
    assert folding.fold(BEFORE) == 11
    assert repository.count(RESOURCE) == 0
    assert sum(row.number for row in repository.find(models.FoldedResources)) == 65


def test_nothing_is_folded_when_the_transaction_fails(database, monkeypatch):
    operation('a')

    def failing(*_):
        raise RuntimeError('in the middle')

    monkeypatch.setattr(folding, '_packed', failing)
    with pytest.raises(RuntimeError, match='in the middle'):
        folding.fold(BEFORE)
    assert len(rows('a')) == 3
    assert not repository.get(OPERATION, 'a').folded


# --- purge


def test_operations_go_with_their_checkpoint_when_it_was_deleted_long_ago(database):
    checkpoint('gone', 'deleted')
    operation('protect', checkpoint_id='gone')
    operation('delete', checkpoint_id='gone', operation_type='delete')
    operation('restore', checkpoint_id='gone', operation_type='restore', restore_id='r')
    repository.create(models.Restore(id='r', status='success', checkpoint_id='gone'))
    repository.create(models.Restore(id='other', status='success', checkpoint_id='other'))
    operation('unknown', checkpoint_id='of another database')
    folding.fold(BEFORE - datetime.timedelta(days=300))
    assert purge.purge(BEFORE) == {
        'operation_logs': 4,
        'operation_resources': 12,
        'restores': 1,
        'checkpoint_records': 1,
        'checkpoint_graphs': 1,
    }
    assert [row.id for row in repository.find(models.Restore)] == ['other']


def test_folded_resources_go_with_their_operation(database):
    operation('a')
    folding.fold(BEFORE)
    assert purge.purge(BEFORE) == {'operation_logs': 1, 'folded_resources': 1}


@pytest.mark.parametrize('status', ['available', 'error', 'error-deleting', 'deleting', 'protecting'])
def test_everything_of_a_checkpoint_stays_as_long_as_it_is_there(database, status):
    checkpoint('here', status)
    operation('a', checkpoint_id='here')
    assert purge.purge(BEFORE) == {}
    assert len(rows('a')) == 3


def test_what_is_open_or_ended_lately_stays_and_keeps_its_checkpoint(database):
    checkpoint('gone', 'deleted')
    operation('protect', checkpoint_id='gone')
    operation('delete', LATELY, checkpoint_id='gone')
    operation('open', None, checkpoint_id='of another database')
    assert purge.purge(BEFORE) == {'operation_logs': 1, 'operation_resources': 3}
    assert repository.get(models.CheckpointRecord, 'gone') is not None
    assert purge.purge(NOW) == {
        'operation_logs': 1,
        'operation_resources': 3,
        'checkpoint_records': 1,
        'checkpoint_graphs': 1,
    }
    assert repository.get(OPERATION, 'open') is not None


def test_old_operations_of_living_checkpoints_are_passed_once_in_a_purge(sqlite_database, monkeypatch):
    monkeypatch.setattr(purge, 'BATCH', 3)
    checkpoint('here', 'available')
    for n in range(8):
        operation(f'kept {n}', checkpoint_id='here', number=1)
        operation(f'gone {n}', number=1)
    assert purge.purge(BEFORE) == {'operation_logs': 8, 'operation_resources': 8}
    assert repository.count(OPERATION) == 8
