# SPDX-License-Identifier: Apache-2.0
"""Cancel: soon over, and clean. Retry: what failed, and nothing else. Both on real rows, with a real bank."""

import threading
import time
from contextlib import contextmanager

import oslo_messaging as messaging
import pytest
from oslo_config import cfg

from karbor import exception, submission
from karbor.context import RequestContext
from karbor.db import models, repository
from karbor.plugins.interface import State
from karbor.protection import flows
from karbor.protection import run as runs
from karbor.protection.book import Book
from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.service import PROVIDER
from karbor.tests.unit.protection.test_operations import checkpoint, operation, rows, until

CONF = cfg.CONF


@pytest.fixture
def checkpoint_id(service):
    """A checkpoint of three leaves."""
    return service.protect(*(('Leaf', name) for name in 'abc'))[0]


def restore(id):
    return repository.get(models.Restore, id)


def cancelled(service, operation_id):
    """The operation, after it was cancelled and has ended."""
    submission.cancel(operation_id)
    until(lambda: operation(operation_id).ended_at is not None)
    assert service.conductor.wait_idle(5)
    return operation(operation_id)


# --- cancel ----------------------------------------------------------------------------------------------


def test_a_cancelled_protect_leaves_nothing_behind(service, backend):
    backend.gate = threading.Event()
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), ('Leaf', 'b'), wait=False)
    until(lambda: len(backend.objects) == 2)
    log = cancelled(service, operation_id)
    assert (log.status, log.error_info) == ('error', 'cancelled')
    assert checkpoint(checkpoint_id).checkpoint_status == 'error'
    assert backend.objects == {}
    assert {row.status for row in rows(operation_id).values()} == {'error'}
    assert 'removed again, since the operation was cancelled' in rows(operation_id)['a'].status_details
    assert service.provider.bank.get_json(f'/checkpoints/{checkpoint_id}/index.json')['status'] == 'error'


class NotYet(backends.Restored):
    """Everything but `c` gets ready."""

    def poll(self, work, handle):
        return State('creating') if work.resource.id == 'c' else super().poll(work, handle)


def test_a_cancelled_restore_loses_what_it_has_made_even_what_is_active(service, backend, checkpoint_id):
    before = set(backend.objects)
    service.provider.protections['Leaf'].restore = type('NotYet', (NotYet,), {'backend': backend})
    restore_id, operation_id = service.restore(checkpoint_id, wait=False)
    until(lambda: [row.status for row in rows(operation_id).values()] == ['active', 'active', 'build'])
    log = cancelled(service, operation_id)
    assert (log.status, log.error_info) == ('error-restoring', 'cancelled')
    assert restore(restore_id).status == 'fail'
    assert set(backend.objects) == before
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'
    assert {row.status for row in rows(operation_id).values()} == {'error'}


def test_an_operation_that_waits_is_cancelled_before_anything_is_made(service, backend):
    service.conductor.stop(5)
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), wait=False)
    submission.cancel(operation_id)
    service.conductor = service.worker()
    service.conductor.start()
    until(lambda: operation(operation_id).ended_at is not None)
    assert operation(operation_id).error_info == 'cancelled'
    assert checkpoint(checkpoint_id).checkpoint_status == 'error'
    assert backend.calls == []


def test_what_a_dead_worker_has_started_and_not_noted_is_removed_by_the_next(service, backend, monkeypatch):
    write = Book.write

    def dying(book, **told):
        if book.run.operation.epoch == 1 and backend.objects:
            submission.cancel(book.run.id)
            raise runs.LostClaim('the worker is dead')
        write(book, **told)

    monkeypatch.setattr(Book, 'write', dying)
    monkeypatch.setattr('karbor.protection.conductor.AGAIN_SECONDS', 0.05)
    _, operation_id = service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    log = operation(operation_id)
    assert (log.error_info, log.epoch) == ('cancelled', 2)
    assert backend.objects == {}


@pytest.fixture
def cancelled_last(monkeypatch):
    """Somebody cancels when everything is done and only the end is to be written; the worker has not heard of it."""
    usual = flows._finish_in_bank

    def finish(run, word, failed):
        if not failed:
            submission.cancel(run.id)
        usual(run, word, failed)

    monkeypatch.setattr(flows, '_finish_in_bank', finish)


def test_a_protect_that_is_cancelled_at_the_last_moment_is_cancelled(service, backend, cancelled_last):
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'))
    log = operation(operation_id)
    assert (log.status, log.error_info) == ('error', 'cancelled')
    assert checkpoint(checkpoint_id).checkpoint_status == 'error'
    assert service.provider.bank.get_json(f'/checkpoints/{checkpoint_id}/index.json')['status'] == 'error'
    assert backend.objects == {}


def test_a_delete_that_is_cancelled_when_all_is_gone_is_done(service, checkpoint_id, cancelled_last):
    log = operation(service.delete(checkpoint_id))
    assert (log.status, log.error_info) == ('deleted', None)
    assert checkpoint(checkpoint_id).checkpoint_status == 'deleted'


def test_it_can_be_seen_that_somebody_has_cancelled(service, backend):
    backend.gate = threading.Event()
    service.provider.protections['Leaf'].protect = type('Stuck', (Stuck,), {'backend': backend})
    _, operation_id = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: backend.count('start') == 1)
    submission.cancel(operation_id)
    assert operation(operation_id).status_details == 'cancelling'
    backend.gate.set()
    assert service.conductor.wait_idle(20)


def test_what_cannot_be_removed_is_listed(service, backend):
    backend.gate = threading.Event()
    backend.faults['cancel', 'b'] = backends.REFUSED
    _, operation_id = service.protect(('Leaf', 'a'), ('Leaf', 'b'), wait=False)
    until(lambda: len(backend.objects) == 2)
    log = cancelled(service, operation_id)
    assert log.error_info == 'cancelled; may be left: what was made for Leaf b'
    assert rows(operation_id)['b'].status_details.startswith('may be left: refused: ')
    assert [made['id'] for made in backend.objects.values()] == ['b']


class Stuck(backends.Made):
    """Its start does not answer for long."""

    def start(self, work):
        self.backend.called('start', work.resource.id)
        self.backend.gate.wait(30)
        return {'object': self.backend.create(work.tag, work.resource.id)}


def test_a_call_that_does_not_answer_holds_up_no_cancelling(service, backend):
    CONF.set_override('cancel_timeout', 5, 'protection')
    backend.gate = threading.Event()
    service.provider.protections['Leaf'].protect = type('Stuck', (Stuck,), {'backend': backend})
    _, operation_id = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: backend.count('start') == 1)
    began = time.monotonic()
    log = cancelled(service, operation_id)
    CONF.clear_override('cancel_timeout', 'protection')
    assert time.monotonic() - began < 10
    assert log.error_info == 'cancelled; may be left: what was made for Leaf a'
    backend.gate.set()


def test_a_listing_that_does_not_answer_holds_up_no_cancelling(service, backend, monkeypatch):
    CONF.set_override('cancel_timeout', 5, 'protection')
    asked, gate = threading.Event(), threading.Event()

    def children(cloud, parent):
        asked.set()
        gate.wait(30)
        return []

    monkeypatch.setattr(service.protectables.plugins['Leaf'], 'children', children)
    checkpoint_id, operation_id = service.protect(('Box', 'x'), wait=False)
    assert asked.wait(10)
    submission.cancel(operation_id)
    until(lambda: operation(operation_id).ended_at is not None)
    CONF.clear_override('cancel_timeout', 'protection')
    gate.set()
    until(lambda: not service.conductor._dispatched)
    assert operation(operation_id).error_info == 'cancelled'
    assert (checkpoint(checkpoint_id).checkpoint_status, rows(operation_id)) == ('error', {})


def test_cancelling_survives_the_worker(service, backend):
    backend.gate = threading.Event()
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: len(backend.objects) == 1)
    service.conductor.stop(5)
    submission.cancel(operation_id)
    service.conductor = service.worker()
    service.conductor.start()
    until(lambda: operation(operation_id).ended_at is not None)
    assert operation(operation_id).error_info == 'cancelled'
    assert backend.objects == {}


def test_what_has_ended_cannot_be_cancelled(service, checkpoint_id):
    operation_id = checkpoint(checkpoint_id).operation_id
    with pytest.raises(exception.OperationInvalidState, match='is available; cancel needs one that has not ended'):
        submission.cancel(operation_id)
    assert not operation(operation_id).cancel_requested


def test_a_deletion_that_is_cancelled_can_be_made_again(service, backend, checkpoint_id):
    gate = threading.Event()

    class Slow(backends.Removed):
        def start(self, work):
            gate.wait(20)
            return super().start(work)

    plugin = service.provider.protections['Leaf']
    usual, plugin.delete = plugin.delete, type('Slow', (Slow,), {'backend': backend})
    operation_id = service.delete(checkpoint_id, wait=False)
    until(lambda: len(rows(operation_id)) == 3)
    submission.cancel(operation_id)
    gate.set()
    until(lambda: operation(operation_id).ended_at is not None)
    plugin.delete = usual
    if operation(operation_id).status == 'error-deleting':
        service.delete(checkpoint_id)
    assert checkpoint(checkpoint_id).checkpoint_status == 'deleted'
    assert backend.objects == {}


# --- retry -----------------------------------------------------------------------------------------------


@contextmanager
def refused(fault, match):
    """What is expected crosses RPC in a wrapper."""
    with pytest.raises(messaging.ExpectedException) as told:
        yield
    wrong = told.value.exc_info[1]
    assert isinstance(wrong, fault)
    assert match in wrong.text


def retry(service, operation_id, wait=True):
    service.manager().retry(service.context, operation_id)
    if wait:
        assert service.conductor.wait_idle(20)


def test_a_retry_restores_what_failed_and_nothing_else(service, backend, checkpoint_id):
    backend.faults['start', 'b'] = backends.REFUSED
    before = len(backend.objects)
    restore_id, operation_id = service.restore(checkpoint_id)
    first = {name: row.new_id for name, row in rows(operation_id).items()}
    assert (restore(restore_id).status, first['b']) == ('fail', None)
    backend.faults.clear()
    backend.calls.clear()
    retry(service, operation_id)
    log = operation(operation_id)
    assert (log.status, log.error_info, restore(restore_id).status) == ('restored', None, 'success')
    assert [id for call, id in backend.calls if call == 'start'] == ['b']
    again = rows(operation_id)
    assert {name: again[name].new_id for name in 'ac'} == {name: first[name] for name in 'ac'}
    assert (again['a'].attempt, again['b'].attempt) == (1, 2)
    assert len(backend.objects) == before + 3


def test_what_was_removed_when_it_failed_is_not_taken_for_the_next_attempt(service, backend, checkpoint_id):
    backend.states['b'] = 'error'
    _, operation_id = service.restore(checkpoint_id)
    backend.faults['cancel', 'b'] = backends.REFUSED
    retry(service, operation_id)  # fails again, and leaves its object behind
    left = {handle for handle, made in backend.objects.items() if made['tag'].endswith('/2')}
    assert len(left) == 1
    backend.states.clear()
    retry(service, operation_id)
    assert rows(operation_id)['b'].attempt == 3
    assert rows(operation_id)['b'].new_id not in left
    assert operation(operation_id).status == 'restored'


def test_a_retry_deletes_what_was_left(service, backend, checkpoint_id):
    backend.faults['remove', 'b'] = backends.REFUSED
    operation_id = service.delete(checkpoint_id)
    assert checkpoint(checkpoint_id).checkpoint_status == 'error-deleting'
    backend.faults.clear()
    backend.calls.clear()
    retry(service, operation_id, wait=False)
    assert service.conductor.wait_idle(20)
    assert checkpoint(checkpoint_id).checkpoint_status == 'deleted'
    assert [id for call, id in backend.calls if call == 'remove'] == ['b']
    assert backend.objects == {}


def test_a_cancelled_retry_keeps_what_was_restored_before(service, backend, checkpoint_id):
    backend.faults['start', 'b'] = backends.REFUSED
    before = set(backend.objects)
    _, operation_id = service.restore(checkpoint_id)
    kept = set(backend.objects) - before
    backend.faults.clear()
    backend.gate = threading.Event()
    retry(service, operation_id, wait=False)
    until(lambda: len(backend.objects) == len(before) + 3)
    cancelled(service, operation_id)
    assert set(backend.objects) == before | kept
    assert [rows(operation_id)[name].status for name in 'abc'] == ['active', 'error', 'active']


def test_only_what_failed_can_be_retried(service, backend, checkpoint_id):
    protect = checkpoint(checkpoint_id).operation_id
    with refused(exception.OperationInvalidState, 'begin a new protect instead'):
        retry(service, protect)
    _, done = service.restore(checkpoint_id)
    with refused(exception.OperationInvalidState, 'is restored; retry needs one that ended in'):
        retry(service, done)
    backend.faults['start', 'b'] = backends.REFUSED
    _, failed = service.restore(checkpoint_id)
    backend.gate = threading.Event()
    backend.faults.clear()
    retry(service, failed, wait=False)
    with refused(exception.OperationInvalidState, 'is restoring'):
        retry(service, failed)
    backend.gate.set()
    assert service.conductor.wait_idle(10)


def test_a_restore_cannot_be_retried_when_the_checkpoint_is_gone(service, backend, checkpoint_id):
    backend.faults['start', 'b'] = backends.REFUSED
    _, failed = service.restore(checkpoint_id)
    service.delete(checkpoint_id)
    with refused(exception.CheckpointInvalidState, 'is deleted; retry needs one that is available'):
        retry(service, failed)
    assert operation(failed).ended_at is not None


def test_nobody_retries_an_operation_of_another_project(service, backend, checkpoint_id):
    backend.faults['start', 'b'] = backends.REFUSED
    _, failed = service.restore(checkpoint_id)
    stranger = RequestContext(project_id='another', user_id='user', roles=['member'], auth_token='token')
    with refused(exception.OperationLogNotFound, failed):
        service.manager().retry(stranger, failed)


# --- places ----------------------------------------------------------------------------------------------


def test_a_large_operation_leaves_places_to_a_small_one(service, backend):
    CONF.set_override('max_concurrent_resources_per_type', 4, 'protection')
    backend.gate = threading.Event()
    try:
        _, large = service.protect(*(('Leaf', f'large{n}') for n in range(20)), wait=False)
        until(lambda: len(backend.objects) == 4)
        _, small = service.protect(('Leaf', 'small'), wait=False)
        time.sleep(0.3)
        assert len(backend.objects) == 4, 'more places than there are'
        backend.gate.set()
        assert service.conductor.wait_idle(20)
        began = rows(small)['small'].started_at
        before = [row for row in rows(large).values() if row.started_at < began]
        assert len(before) < 20, 'the small one had to wait for the large one'
    finally:
        CONF.clear_override('max_concurrent_resources_per_type', 'protection')
    assert (operation(large).status, operation(small).status) == ('available', 'available')
    assert repository.count(models.CheckpointRecord, provider_id=PROVIDER, checkpoint_status='available') == 2
