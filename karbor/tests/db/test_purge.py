# SPDX-License-Identifier: Apache-2.0
import datetime

import sqlalchemy as sa

from karbor.db import engine, models, purge, repository

NOW = datetime.datetime(2026, 6, 1)
LONG_AGO, LATELY = NOW - datetime.timedelta(days=40), NOW - datetime.timedelta(days=2)
BEFORE = NOW - datetime.timedelta(days=30)
_GONE = {'deleted': True, 'deleted_at': LONG_AGO}


def _plan(id, **values):
    resource = models.Resource(resource_id='1', resource_type='t', resource_name='n')
    repository.create(models.Plan(id=id, project_id='p', status='suspended', resources=[resource], **values))


def _left(model):
    filters = {'deleted': repository.OneOf((True, False))} if 'deleted' in model.__table__.c else {}
    return repository.count(model, **filters)


def test_rows_are_removed_when_they_were_deleted_long_enough_ago(database):
    _plan('a', **_GONE)
    _plan('b', deleted=True, deleted_at=LATELY)
    _plan('c')
    assert purge.purge(BEFORE) == {'plans': 1, 'resources': 1}
    found = repository.find(models.Plan, filters={'deleted': repository.OneOf((True, False))}, sort=[('id', 'asc')])
    assert [row.id for row in found] == ['b', 'c']
    assert _left(models.Resource) == 2
    assert purge.purge(BEFORE) == {}


def test_parts_go_when_what_they_belong_to_goes(database):
    repository.create(models.OperationLog(id='o', project_id='p', operation_type='protect', **_GONE))
    repository.create(models.OperationResource(operation_id='o', position=0, resource_type='t', resource_id='1'))
    names = {n: 'x' for n in ('checkpoint_id', 'checkpoint_status', 'provider_id', 'plan_id')}
    repository.create(models.CheckpointRecord(id='c', project_id='p', **names, **_GONE))
    repository.create(models.CheckpointGraph(checkpoint_id='c', graph='[{}, []]'))
    repository.create(models.CheckpointGraph(checkpoint_id='other', graph='[{}, []]'))
    assert purge.purge(BEFORE) == {
        'operation_logs': 1,
        'operation_resources': 1,
        'checkpoint_records': 1,
        'checkpoint_graphs': 1,
    }
    assert [row.checkpoint_id for row in repository.find(models.CheckpointGraph)] == ['other']


def test_operations_go_with_their_records_when_the_checkpoint_is_gone(database):
    ended = {'project_id': 'p', 'checkpoint_id': 'c', 'ended_at': LONG_AGO}
    for kind, record in (('restore', models.Restore), ('verification', models.Verification)):
        for id in ('old', 'other'):
            whose = {'project_id': 'p', 'provider_id': 'x', 'checkpoint_id': 'c'}
            repository.create(record(id=f'{kind}-{id}', **whose))
        told = {f'{kind}_id': f'{kind}-old', 'operation_type': kind}
        repository.create(models.OperationLog(id=kind, **told, **ended))
    assert purge.purge(BEFORE) == {'operation_logs': 2, 'restores': 1, 'verifications': 1}
    assert [row.id for row in repository.find(models.Verification)] == ['verification-other']


def test_children_go_before_their_parents_when_all_are_deleted(database):
    trigger = {'id': 't', 'name': 'n', 'project_id': 'p', 'type': 'time', 'properties': {}}
    repository.create(models.Trigger(**trigger, **_GONE))
    operation = {
        'name': 'n',
        'operation_type': 'protect',
        'user_id': 'u',
        'project_id': 'p',
        'operation_definition': {},
    }
    repository.create(models.ScheduledOperation(id='s', trigger_id='t', **operation, **_GONE))
    repository.create(models.ScheduledOperationLog(operation_id='s', state='success', **_GONE))
    usage = repository.create(models.QuotaUsage(project_id='p', resource='plans', **_GONE))
    repository.create(models.Reservation(uuid='u', usage_id=usage.id, delta=1, **_GONE))
    assert purge.purge(BEFORE) == {
        'triggers': 1,
        'scheduled_operations': 1,
        'scheduled_operation_logs': 1,
        'quota_usages': 1,
        'reservations': 1,
    }


def test_a_parent_stays_when_a_living_row_refers_to_it(database):
    trigger = {'id': 't', 'name': 'n', 'project_id': 'p', 'type': 'time', 'properties': {}}
    repository.create(models.Trigger(**trigger, **_GONE))
    operation = {
        'name': 'n',
        'operation_type': 'protect',
        'user_id': 'u',
        'project_id': 'p',
        'operation_definition': {},
    }
    repository.create(models.ScheduledOperation(id='s', trigger_id='t', **operation))
    assert purge.purge(BEFORE) == {}
    assert _left(models.Trigger) == 1


def test_all_rows_go_in_several_transactions_when_they_are_many(sqlite_database):
    values = [{'id': f'{n}', 'project_id': 'p', **_GONE} for n in range(2 * purge.BATCH + 1)]
    repository.create_many(models.Plan, values)
    commits: list[sa.Connection] = []
    sa.event.listen(engine.engine(), 'commit', commits.append)
    assert purge.purge(BEFORE) == {'plans': len(values)}
    assert len(commits) >= 3
    assert _left(models.Plan) == 0
