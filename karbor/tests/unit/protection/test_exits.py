# SPDX-License-Identifier: Apache-2.0
"""No state is for ever: every status of a checkpoint, a restore and an operation, and what gets out of it.

A table for each; that every status has its line is tested, too. What ends a state is the real service.
"""

import threading
import time
import uuid

import pytest
from oslo_messaging.rpc import dispatcher as rpc_dispatcher

from karbor import exception
from karbor.db import models, repository
from karbor.protection import recovery
from karbor.statuses import OPERATION_WORDS, CheckpointStatus, OperationType, RestoreStatus
from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.service import PROVIDER, Service
from karbor.tests.unit.protection.test_operations import checkpoint, operation, until


@pytest.fixture
def backend():
    return backends.Backend()


class Removed(backends.Removed):
    """Removes what a failed protect has left, too, as the plugins for shares and instances do."""

    def start(self, work):
        try:
            return super().start(work)
        except exception.BankObjectNotFound:
            self.backend.objects.pop((work.protected or {}).get('object'), None)
            return {}


@pytest.fixture
def service(database, backend):
    plugin = backends.protection(backend)
    plugin.delete = type('Removed', (Removed,), {'backend': backend})
    made = Service(backend, [plugin])
    yield made
    made.conductor.stop(5)


def lost(operation_id):
    """As if its worker and its host were gone for ever, and nobody else took it up."""
    values = {'ended_at': None, 'owner': 'gone:1:abc', 'expires_at': time.time() - 1, 'provider_id': 'loaded nowhere'}
    repository.update(models.OperationLog, operation_id, values)


# --- checkpoints: what brings each state about, and the states that its exits lead to


def available(service, backend):
    return service.protect(('Leaf', 'a'))[0]


def failed(service, backend):
    backend.faults['start', 'a'] = backends.REFUSED
    made = service.protect(('Leaf', 'a'))[0]
    backend.faults.clear()
    return made


def half_deleted(service, backend):
    made = available(service, backend)
    backend.faults['remove', 'a'] = backends.REFUSED
    service.delete(made)
    backend.faults.clear()
    return made


def protecting(service, backend):
    backend.gate = threading.Event()
    made, operation_id = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: backend.count('poll') > 0)
    service.conductor.stop(5)
    backend.gate.set()
    lost(operation_id)
    return made


def deleting(service, backend):
    made = available(service, backend)
    service.conductor.stop(5)
    operation_id = str(uuid.uuid4())
    service.manager().delete(service.context, PROVIDER, made, operation_id)
    lost(operation_id)
    return made


def deleted(service, backend):
    made = available(service, backend)
    service.delete(made)
    return made


def copied(word):
    def made(service, backend):
        id = available(service, backend)
        repository.update(models.CheckpointRecord, id, {'checkpoint_status': word})  # Karbor 1.6 wrote it
        return id

    return made


def delete(service, id):
    service.delete(id)


def reset(service, id):
    service.manager().reset_state(service.context, PROVIDER, id, 'available')


def recover(service, id):
    (row,) = repository.find(models.OperationLog, ['id'], {'checkpoint_id': id, 'ended_at': None})
    recovery.recover(row.id, end=True)


CHECKPOINTS = {
    CheckpointStatus.PROTECTING: (protecting, {recover: 'error'}),
    CheckpointStatus.AVAILABLE: (available, {delete: 'deleted', reset: 'available'}),
    CheckpointStatus.ERROR: (failed, {delete: 'deleted', reset: 'available'}),
    CheckpointStatus.DELETING: (deleting, {recover: 'error-deleting'}),
    CheckpointStatus.DELETED: (deleted, {}),  # the end: `db purge` takes it
    CheckpointStatus.ERROR_DELETING: (half_deleted, {delete: 'deleted', reset: 'available'}),
    CheckpointStatus.WAIT_COPYING: (copied('wait_copying'), {reset: 'available'}),
    CheckpointStatus.COPYING: (copied('copying'), {reset: 'available'}),
    CheckpointStatus.FINISHED: (copied('finished'), {reset: 'available'}),
}
_EXITS = [
    pytest.param(status, make, way, end, id=f'{status}-{way.__name__}')
    for status, (make, ways) in CHECKPOINTS.items()
    for way, end in ways.items()
]


def test_every_state_of_a_checkpoint_has_an_exit_but_the_last():
    assert set(CHECKPOINTS) == set(CheckpointStatus)
    assert [status for status, (_, ways) in CHECKPOINTS.items() if not ways] == [CheckpointStatus.DELETED]


@pytest.mark.parametrize(('status', 'make', 'way', 'end'), _EXITS)
def test_a_checkpoint_gets_out_of_its_state(service, backend, status, make, way, end):
    id = make(service, backend)
    assert checkpoint(id).checkpoint_status == status
    way(service, id)
    assert checkpoint(id).checkpoint_status == end


@pytest.mark.parametrize('make', [protecting, deleting])
def test_a_checkpoint_that_was_recovered_can_be_deleted(service, backend, make):
    """The exits lead on: what the operator ended is no dead end either."""
    id = make(service, backend)
    recover(service, id)
    service.conductor = service.worker()
    service.conductor.start()
    service.delete(id)
    assert checkpoint(id).checkpoint_status == 'deleted'
    assert backend.objects == {}


@pytest.mark.parametrize('make', [protecting, deleting])
def test_a_checkpoint_that_is_worked_on_is_neither_deleted_nor_reset(service, backend, make):
    id = make(service, backend)
    ways = (
        lambda: service.manager().delete(service.context, PROVIDER, id, str(uuid.uuid4())),
        lambda: reset(service, id),
    )
    for way, refusal in zip(ways, (exception.CheckpointInUse, exception.InvalidInput), strict=True):
        with pytest.raises(rpc_dispatcher.ExpectedException) as refused:
            way()
        assert refused.value.exc_info[0] is refusal
        assert f'is {make.__name__}' in str(refused.value.exc_info[1])


# --- restores and operations


def open_operation(type, owner, restore_id=None):
    """An operation that runs and whose worker is gone, of a checkpoint in the state that it is in then."""
    word, _, _ = OPERATION_WORDS[type]
    ids = {name: str(uuid.uuid4()) for name in ('operation', 'checkpoint')}
    state = word if word in set(CheckpointStatus) else 'available'
    names = {'provider_id': PROVIDER, 'plan_id': 'plan', 'checkpoint_id': ids['checkpoint']}
    repository.create(
        models.CheckpointRecord(id=ids['checkpoint'], project_id='project', checkpoint_status=state, **names)
    )
    expires_at = None if owner is None else time.time() - 1
    repository.create(
        models.OperationLog(
            id=ids['operation'],
            project_id='project',
            operation_type=type,
            status=word,
            owner=owner,
            expires_at=expires_at,
            provider_id=PROVIDER,
            checkpoint_id=ids['checkpoint'],
            restore_id=restore_id,
        )
    )
    return ids['operation']


OWNERS = {'of 1.6': None, 'of a worker that is gone': 'gone:1:abc', 'of nobody yet': ''}


@pytest.mark.parametrize('owner', OWNERS.values(), ids=OWNERS.keys())
@pytest.mark.parametrize('type', list(OperationType))
def test_an_operation_that_nobody_runs_ends_in_its_failure_word(database, type, owner):
    id = open_operation(type, owner)
    recovery.recover(id, end=True)
    assert operation(id).status == OPERATION_WORDS[type][2]
    assert operation(id).ended_at is not None
    assert checkpoint(operation(id).checkpoint_id).checkpoint_status in (
        'available',
        'error',
        'error-deleting',
        'copying',
    )


def test_every_type_of_operation_has_words_for_its_states():
    assert set(OPERATION_WORDS) == set(OperationType)


# What brings each state of a restore about, and the state after its exit. The other two are ends: a new restore is
# made instead.
RESTORES = {RestoreStatus.IN_PROGRESS: RestoreStatus.FAIL, RestoreStatus.SUCCESS: None, RestoreStatus.FAIL: None}


@pytest.mark.parametrize('status', list(RestoreStatus))
def test_a_restore_is_in_progress_only_with_an_operation_that_can_be_ended(service, backend, status):
    made = available(service, backend)
    if status == RestoreStatus.IN_PROGRESS:
        id = str(uuid.uuid4())
        repository.create(models.Restore(id=id, project_id='project', status=status))
        recovery.recover(open_operation('restore', 'gone:1:abc', id), end=True)
        assert repository.get(models.Restore, id).status == RESTORES[status]
        return
    if status == RestoreStatus.FAIL:
        backend.faults['start', 'a'] = backends.REFUSED
    id, _ = service.restore(made)
    assert repository.get(models.Restore, id).status == status
    assert checkpoint(made).checkpoint_status == 'available', 'it can be restored again, and deleted'
