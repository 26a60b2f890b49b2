# SPDX-License-Identifier: Apache-2.0
"""Verifications from accepting to their end: they change nothing, and tell what is wrong with each resource."""

import threading
import uuid

import oslo_messaging as messaging
import pytest

from karbor import exception, submission
from karbor.context import RequestContext
from karbor.db import models, repository
from karbor.objects import operation_resource
from karbor.objects.verification import Verification
from karbor.protection import recovery
from karbor.tests.unit.protection.service import PROVIDER
from karbor.tests.unit.protection.test_operations import checkpoint, operation, rows, until


@pytest.fixture
def checkpoint_id(service):
    """A checkpoint of two leaves."""
    return service.protect(('Leaf', 'a'), ('Leaf', 'b'))[0]


def made_of(backend, id):
    return next(name for name, made in backend.objects.items() if made['id'] == id)


def maps(operation_id):
    return operation_resource.maps(operation_resource.of_operations([operation_id]), 'verify')


def is_begun(operation_id):
    found = rows(operation_id).values()
    return found and all(row.handle for row in found)


def test_a_verification_succeeds_when_every_copy_is_good(service, backend, checkpoint_id):
    before = dict(backend.objects)
    id, operation_id = service.verify(checkpoint_id)
    found, log = Verification.get(id), operation(operation_id)
    assert (found.status, found.project_id, found.checkpoint_id) == ('success', 'project', checkpoint_id)
    assert (log.status, log.operation_type, log.verification_id, log.error_info) == ('success', 'verify', id, None)
    assert maps(operation_id) == {
        'resources_status': {'Leaf#a': 'available', 'Leaf#b': 'available'},
        'resources_reason': {},
    }
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'
    assert backend.objects == before


def test_a_copy_that_is_gone_fails_the_verification_and_the_others_are_looked_at(service, backend, checkpoint_id):
    backend.objects.pop(made_of(backend, 'a'))
    id, operation_id = service.verify(checkpoint_id)
    assert Verification.get(id).status == operation(operation_id).status == 'fail'
    assert operation(operation_id).error_info == 'Leaf a: the object is gone'
    assert maps(operation_id) == {
        'resources_status': {'Leaf#a': 'error', 'Leaf#b': 'available'},
        'resources_reason': {'Leaf#a': 'the object is gone'},
    }
    assert (backend.count('cancel'), len(backend.objects)) == (0, 1)
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'


def test_what_the_bank_lost_is_told(service, checkpoint_id):
    service.provider.bank.delete(f'/checkpoints/{checkpoint_id}/resource-data/b/metadata')
    _, operation_id = service.verify(checkpoint_id)
    assert rows(operation_id)['b'].status_details.startswith('no_copy: ')
    assert rows(operation_id)['a'].status == 'active'


def test_a_type_that_nobody_can_verify_is_named(service):
    checkpoint_id, _ = service.protect(('Branch', 'big'))
    service.provider.protections['Branch'].verify = None
    id, operation_id = service.verify(checkpoint_id)
    assert Verification.get(id).status == 'fail'
    assert operation(operation_id).error_info.startswith('unsupported: no loaded plugin can verify Branch big')


def test_it_is_in_progress_and_tells_how_far_while_it_runs(service, backend, checkpoint_id):
    backend.gate = threading.Event()
    id, operation_id = service.verify(checkpoint_id, wait=False)
    until(lambda: maps(operation_id)['resources_status'] == {'Leaf#a': 'verifying', 'Leaf#b': 'verifying'})
    assert Verification.get(id).status == operation(operation_id).status == 'in_progress'
    backend.gate.set()
    assert service.conductor.wait_idle(10)
    assert Verification.get(id).status == 'success'


def test_it_runs_together_with_restores_and_holds_up_the_deletion(service, backend, checkpoint_id):
    backend.gate = threading.Event()
    verification, _ = service.verify(checkpoint_id, wait=False)
    restore, _ = service.restore(checkpoint_id, wait=False)
    second, _ = service.verify(checkpoint_id, wait=False)
    with pytest.raises(messaging.ExpectedException) as refused:
        service.delete(checkpoint_id, wait=False)
    assert isinstance(refused.value.exc_info[1], exception.CheckpointInUse)
    backend.gate.set()
    assert service.conductor.wait_idle(20)
    assert {Verification.get(verification).status, Verification.get(second).status} == {'success'}
    assert repository.get(models.Restore, restore).status == 'success'
    service.delete(checkpoint_id)
    assert checkpoint(checkpoint_id).checkpoint_status == 'deleted'


def test_a_cancelled_verification_fails_and_says_so(service, backend, checkpoint_id):
    backend.gate = threading.Event()
    id, operation_id = service.verify(checkpoint_id, wait=False)
    until(lambda: is_begun(operation_id))
    submission.cancel(operation_id)
    until(lambda: operation(operation_id).ended_at is not None)
    assert (Verification.get(id).status, operation(operation_id).error_info) == ('fail', 'cancelled')
    assert {row.status_details for row in rows(operation_id).values()} == {
        'interrupted, since the operation ended before its time'
    }
    assert len(backend.objects) == 2


def test_another_worker_goes_on_with_it(service, backend, checkpoint_id):
    backend.gate = threading.Event()
    id, operation_id = service.verify(checkpoint_id, wait=False)
    until(lambda: is_begun(operation_id))
    service.replace_worker()
    backend.gate.set()
    assert service.conductor.wait_idle(20)
    assert Verification.get(id).status == 'success'
    assert operation(operation_id).epoch == 2
    assert backend.count('look') == 2  # what was begun is only asked after


def test_a_passing_fault_passes(service, backend, checkpoint_id):
    backend.faults['look', 'a'] = exception.BackendFault('unavailable', 'backend', transient=True, retry_after=0.1)
    id, _ = service.verify(checkpoint_id, wait=False)
    until(lambda: backend.count('look') >= 2)
    backend.faults.clear()
    assert service.conductor.wait_idle(20)
    assert Verification.get(id).status == 'success'


def test_one_that_the_operator_ends_has_failed(service, backend, checkpoint_id):
    service.conductor.stop(5)
    id, operation_id = service.verify(checkpoint_id, wait=False)
    repository.update(models.OperationLog, operation_id, {'expires_at': 0.0})
    recovery.recover(operation_id, end=True)
    assert (Verification.get(id).status, operation(operation_id).status) == ('fail', 'fail')


REFUSALS = [
    ('checkpoint', exception.CheckpointNotFound),
    ('provider', exception.ProviderNotFound),
    ('project', exception.CheckpointNotFound),
    ('state', exception.CheckpointInvalidState),
]


@pytest.mark.parametrize('what, told', REFUSALS, ids=[what for what, _ in REFUSALS])
def test_what_is_refused_leaves_no_row(service, checkpoint_id, what, told):
    """The protection service itself refuses, whatever the API has let through."""
    if what == 'state':
        repository.update(models.CheckpointRecord, checkpoint_id, {'checkpoint_status': 'error'})
    wanted = Verification.new(
        provider_id=str(uuid.uuid4()) if what == 'provider' else PROVIDER,
        checkpoint_id=str(uuid.uuid4()) if what == 'checkpoint' else checkpoint_id,
        parameters={},
    )
    other = RequestContext(project_id='another', user_id='user', roles=['member'], auth_token='token')
    with pytest.raises(messaging.ExpectedException) as refused:
        service.manager().verification(other if what == 'project' else service.context, wanted, str(uuid.uuid4()))
    assert isinstance(refused.value.exc_info[1], told)
    assert repository.count(models.Verification) == 0
    assert repository.count(models.OperationLog) == 1


def test_it_is_accepted_once_when_it_is_asked_for_twice(service, checkpoint_id):
    wanted = Verification.new(provider_id=PROVIDER, checkpoint_id=checkpoint_id, parameters={})
    operation_id = str(uuid.uuid4())
    for _ in range(2):
        service.manager().verification(service.context, wanted, operation_id)
    assert service.conductor.wait_idle(10)
    assert repository.count(models.Verification) == 1
    assert repository.count(models.OperationLog, operation_type='verify') == 1
