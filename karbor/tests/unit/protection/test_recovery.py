# SPDX-License-Identifier: Apache-2.0
"""Ways out of an operation for the operator."""

import threading
import time
import uuid

import pytest
from oslo_config import cfg

from karbor import exception
from karbor.db import models, repository
from karbor.protection import board, recovery
from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.service import PROVIDER, Service
from karbor.tests.unit.protection.test_operations import checkpoint, operation, rows, until

CONF = cfg.CONF


def post(owner, lease=-1.0, **values):
    """An operation that nobody runs, of a checkpoint of its own, with a resource that is half made."""
    row = {'id': str(uuid.uuid4()), 'project_id': 'p', 'operation_type': 'protect', 'provider_id': PROVIDER}
    row |= {'owner': owner, 'expires_at': None if owner is None else time.time() + lease, 'resumable': True}
    row |= {'status': 'protecting', 'checkpoint_id': str(uuid.uuid4())} | values
    names = {'provider_id': PROVIDER, 'plan_id': 'plan', 'checkpoint_id': row['checkpoint_id']}
    repository.create(
        models.CheckpointRecord(
            id=row['checkpoint_id'], project_id='p', checkpoint_status='protecting', protection_plan={}, **names
        )
    )
    made = repository.create(models.OperationLog(**row))
    repository.create(
        models.OperationResource(
            operation_id=made.id, position=0, resource_type='Leaf', resource_id='a', status='build', progress=30
        )
    )
    return made.id


def test_an_operation_of_1_6_ends_as_failed_and_its_checkpoint_with_it(database):
    id = post(None)
    told = recovery.recover(id, act=False)
    assert operation(id).ended_at is None
    assert 'ends as failed: interrupted: ' in told
    assert recovery.recover(id) == told
    ended = operation(id)
    assert (ended.status, ended.ended_at is not None) == ('error', True)
    assert ended.error_info.startswith('interrupted: ') and recovery.OF_1_6 in ended.error_info
    assert checkpoint(ended.checkpoint_id).checkpoint_status == 'error'
    (row,) = rows(id).values()
    assert (row.status, row.status_details, row.progress) == ('error', ended.error_info, None)


def test_a_restore_of_1_6_ends_as_failed_with_its_operation(database):
    restore = str(uuid.uuid4())
    repository.create(models.Restore(id=restore, project_id='p', status='in_progress'))
    id = post(None, operation_type='restore', restore_id=restore)
    recovery.recover(id)
    assert operation(id).status == 'error-restoring'
    assert repository.get(models.Restore, restore).status == 'fail'
    assert checkpoint(operation(id).checkpoint_id).checkpoint_status == 'protecting'  # it is not the restore's to say


@pytest.mark.parametrize('owner', ['gone:1:abc', 'host of that name'])
def test_an_operation_whose_worker_is_gone_is_freed(database, owner):
    id = post(owner, epoch=3)
    assert owner in recovery.recover(id)
    freed = operation(id)
    assert (freed.owner, freed.ended_at, freed.epoch) == (board.ANYONE, None, 4)


@pytest.mark.parametrize('end', [False, True])
def test_an_operation_whose_lease_is_alive_is_refused(database, end):
    id = post('node7:1:abc', lease=60)
    with pytest.raises(exception.Conflict, match=r'node7:1:abc has operation .* lasts another (60.0|59)'):
        recovery.recover(id, end)
    assert operation(id).owner == 'node7:1:abc'


def test_an_operation_that_waits_for_anybody_ends_only_when_told_to(database):
    id = post(board.ANYONE, error_info='the first cause')
    with pytest.raises(exception.Conflict, match=f'waits for any protection service that has provider {PROVIDER}'):
        recovery.recover(id)
    recovery.recover(id, end=True)
    assert (operation(id).status, operation(id).error_info) == ('error', 'the first cause')


@pytest.mark.parametrize('do', [recovery.recover, recovery.cancel])
def test_an_operation_that_has_ended_or_is_unknown_is_refused(database, do):
    id = post(None)
    recovery.recover(id)
    with pytest.raises(exception.Conflict, match='has ended: it is error'):
        do(id)
    with pytest.raises(exception.OperationLogNotFound):
        do('nowhere')


def test_an_operation_is_asked_to_end_and_one_of_1_6_is_not(database):
    id = post('node7:1:abc', lease=60)
    recovery.cancel(id)
    assert operation(id).cancel_requested
    with pytest.raises(exception.Conflict, match='operation recover'):
        recovery.cancel(post(None))


@pytest.mark.parametrize('change', [{'owner': 'node8:1:abc', 'epoch': 1}, {'expires_at': 4e9}])
def test_nothing_is_done_when_it_is_claimed_or_renewed_in_between(database, monkeypatch, change):
    id = post('gone:1:abc')
    found = recovery._found(id)
    repository.update(models.OperationLog, id, change)
    monkeypatch.setattr(recovery, '_found', lambda _: found)
    for end in (False, True):
        with pytest.raises(exception.Conflict, match='meanwhile'):
            recovery.recover(id, end)
    assert operation(id).owner == change.get('owner', 'gone:1:abc')
    assert operation(id).epoch == change.get('epoch', 0)
    assert checkpoint(operation(id).checkpoint_id).checkpoint_status == 'protecting'


def test_a_worker_that_was_stuck_neither_writes_nor_starts_once_its_operation_was_ended(database):
    """It may come back, as after a pause, when the operator has given up on it."""
    backend = backends.Backend()
    backend.gate = threading.Event()
    service = Service(backend, [backends.protection(backend)])
    try:
        checkpoint_id, id = service.protect(('Leaf', 'a'), wait=False)
        until(lambda: backend.count('poll') > 0)
        service.conductor._jobboard.leases.stop()
        repository.update(models.OperationLog, id, {'expires_at': time.time() - 1})
        recovery.recover(id, end=True)
        assert checkpoint(checkpoint_id).checkpoint_status == 'error'
        backend.gate.set()
        until(lambda: not service.conductor._dispatched)
        assert (operation(id).status, checkpoint(checkpoint_id).checkpoint_status) == ('error', 'error')
        assert rows(id)['a'].status == 'error'
    finally:
        service.conductor.stop(5)


def test_what_was_freed_is_gone_on_with_by_another_worker(database):
    backend = backends.Backend()
    backend.gate = threading.Event()
    service = Service(backend, [backends.protection(backend)])
    try:
        checkpoint_id, id = service.protect(('Leaf', 'a'), wait=False)
        until(lambda: (rows(id).get('a') or models.OperationResource()).handle is not None)
        service.conductor.stop(5)
        repository.update(models.OperationLog, id, {'owner': 'gone', 'expires_at': time.time() - 1, 'resumable': True})
        CONF.set_override('host', 'elsewhere')
        recovery.recover(id)
        backend.gate.set()
        service.conductor = service.worker()
        service.conductor.start()
        until(lambda: operation(id).ended_at is not None)
        assert checkpoint(checkpoint_id).checkpoint_status == 'available'
        assert backend.count('start') == 1
    finally:
        CONF.clear_override('host')
        service.conductor.stop(5)
