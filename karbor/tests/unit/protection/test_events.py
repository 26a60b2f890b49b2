# SPDX-License-Identifier: Apache-2.0
"""What notifications tell of operations."""

import threading

import pytest
from oslo_config import cfg
from oslo_utils import timeutils

from karbor import exception
from karbor.db import models, repository
from karbor.protection import recovery
from karbor.tests.notified import notified
from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.service import PROVIDER, Service
from karbor.tests.unit.protection.test_operations import operation, rows, until

CONF = cfg.CONF
KEYS = {
    *('operation_id', 'operation_type', 'tenant_id', 'user_id', 'request_id', 'client_ip', 'checkpoint_id', 'plan_id'),
    *('provider_id', 'restore_id', 'verification_id', 'scheduled_operation_id', 'status', 'started_at', 'ended_at'),
    'resources',
}


@pytest.fixture
def backend():
    return backends.Backend()


@pytest.fixture
def service(database, backend):
    made = Service(backend, [backends.protection(backend)])
    yield made
    made.conductor.stop(5)


@pytest.fixture
def told(database):
    with notified() as seen:
        yield seen


def test_each_operation_tells_its_start_and_its_end(told, service):
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    restore_id, _ = service.restore(checkpoint_id)
    service.delete(checkpoint_id)
    assert told.events() == [
        f'karbor.{kind}.{at}' for kind in ('protect', 'restore', 'delete') for at in ('start', 'end')
    ]
    assert {message['publisher_id'] for message in told.messages()} == {f'karbor-protection.{CONF.host}'}
    assert {message['priority'] for message in told.messages()} == {'INFO'}
    start, end = told.payload('karbor.protect.start'), told.payload('karbor.protect.end')
    assert set(start) == set(end) == KEYS
    row = operation(operation_id)
    for payload in (start, end):
        assert payload['operation_id'] == operation_id
        assert payload['checkpoint_id'] == checkpoint_id
        assert payload['provider_id'] == PROVIDER
        assert payload['tenant_id'] == 'project'
        assert payload['user_id'] == 'user'
        assert payload['request_id'] == row.request_id == service.context.request_id
        assert payload['started_at'] == row.started_at.isoformat(timespec='microseconds')
    assert (start['status'], start['ended_at'], start['resources']) == ('protecting', None, None)
    assert (end['status'], end['ended_at']) == ('available', row.ended_at.isoformat(timespec='microseconds'))
    assert end['resources'] == {'active': 2, 'build': 0, 'error': 0, 'unreported': 0, 'total': 2}
    assert told.payload('karbor.restore.end')['restore_id'] == restore_id
    assert 'token' not in told.everything


def test_an_operation_that_fails_tells_its_first_cause(told, service, backend):
    backend.faults['start', 'a'] = exception.BackendFault('refused', 'backend', 'req-9')
    _, operation_id = service.protect(('Leaf', 'a'))
    assert told.events() == ['karbor.protect.start', 'karbor.protect.error']
    payload = told.payload('karbor.protect.error')
    assert payload['message'] == operation(operation_id).error_info
    assert payload['status'] == 'error'
    assert payload['exception'] == []
    assert payload['resources']['error'] == 1


def test_a_fault_of_ours_is_told_without_its_inside(told, service, backend):
    backend.faults['start', 'a'] = RuntimeError('http://inside.example/ broke')
    service.protect(('Leaf', 'a'))
    assert told.events()[-1] == 'karbor.protect.error'
    assert 'inside.example' not in told.everything
    assert 'Traceback' not in told.everything


def test_the_start_is_told_once_when_another_worker_goes_on(told, service, backend):
    backend.gate = threading.Event()
    _, operation_id = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: (rows(operation_id).get('a') or models.OperationResource()).handle is not None)
    service.conductor.stop(5)
    backend.gate.set()
    service.replace_worker()
    assert service.conductor.wait_idle(10)
    assert operation(operation_id).epoch == 2
    assert told.events() == ['karbor.protect.start', 'karbor.protect.end']


def test_an_operation_that_no_provider_is_left_for_tells_that_it_failed(told, service):
    service.conductor.stop(5)
    _, operation_id = service.protect(('Leaf', 'a'), wait=False)
    del service.providers[PROVIDER]
    repository.update(models.OperationLog, operation_id, {'owner': CONF.host})
    service.replace_worker()
    assert service.conductor.wait_idle(10)
    assert told.events() == ['karbor.protect.error']
    assert 'does not exist any more' in told.payload('karbor.protect.error')['message']


def test_an_operation_that_the_operator_ends_tells_that_it_failed(told, database):
    values = {'id': 'o', 'project_id': 'p', 'operation_type': 'restore', 'status': 'restoring', 'epoch': 1}
    repository.create(models.OperationLog(owner='gone/1/a', expires_at=0.0, started_at=timeutils.utcnow(), **values))
    recovery.recover('o', end=True, act=False)
    assert told.events() == []
    recovery.recover('o', end=True)
    assert told.events() == ['karbor.restore.error']
    assert told.payload('karbor.restore.error')['message'] == operation('o').error_info


def test_a_retry_tells_its_start_again(told, service, backend):
    checkpoint_id, _ = service.protect(('Leaf', 'a'))
    backend.faults['start', 'a'] = exception.BackendFault('refused', 'backend')
    _, operation_id = service.restore(checkpoint_id)
    backend.faults.clear()
    service.manager().retry(service.context, operation_id)
    assert service.conductor.wait_idle(10)
    assert told.events()[2:] == [
        *('karbor.restore.start', 'karbor.restore.error'),
        *('karbor.restore.start', 'karbor.restore.end'),
    ]
