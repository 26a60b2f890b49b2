# SPDX-License-Identifier: Apache-2.0
"""Where TaskFlow's conductor would do something else: each test names the trap."""

import threading
import time

import pytest
from oslo_config import cfg
from oslo_db import exception as db_exception

from karbor.db import models, repository
from karbor.protection import book
from karbor.protection import run as runs
from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.jobboards import boards, short_lease
from karbor.tests.unit.protection.service import Service
from karbor.tests.unit.protection.test_operations import checkpoint, operation, until

__all__ = ['boards', 'short_lease']
CONF = cfg.CONF


@pytest.fixture
def backend():
    made = backends.Backend()
    yield made
    if made.gate is not None:
        made.gate.set()


@pytest.fixture
def start(boards, backend, monkeypatch):
    """start(**options) is a protection service with these options of `[DEFAULT]`."""
    monkeypatch.setattr('karbor.protection.conductor.AGAIN_SECONDS', 0.05)
    monkeypatch.setattr('karbor.protection.redis_board.CANCEL_SECONDS', 0.05)
    CONF.set_override('lease_seconds', 20.0, 'protection')
    started = []

    def make(**options):
        for name, value in options.items():
            CONF.set_override(name, value)
        started.append((Service(backend, [backends.protection(backend)]), options))
        return started[-1][0]

    yield make
    for service, options in started:
        service.conductor.stop(5)
        for name in options:
            CONF.clear_override(name)


def protect(service, *ids):
    return [service.protect(('Leaf', id), wait=False) for id in ids]


@pytest.mark.parametrize('fault', [RuntimeError('a bug'), db_exception.DBConnectionError('gone'), SystemExit(1)])
def test_a_job_whose_run_cannot_be_built_is_no_trash(start, monkeypatch, fault):
    known, failures = runs.installation_id, [fault]

    def failing():
        if failures:
            raise failures.pop()
        return known()

    monkeypatch.setattr(runs, 'installation_id', failing)
    service = start()
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'))
    assert failures == []
    assert (checkpoint(checkpoint_id).checkpoint_status, operation(operation_id).epoch) == ('available', 2)


def test_a_job_that_was_interrupted_is_not_consumed_and_its_flow_not_reverted(start, backend, monkeypatch):
    """TaskFlow consumes a job whose task raised anything but ExecutionFailure, and reverts its flow in any case."""
    write, failures = book.Book._write, ['when there is something to lose']
    seen = []

    def failing(self, pending, told):
        if failures and backend.objects:
            failures.pop()
            raise db_exception.DBConnectionError('gone')
        seen.append(operation(self.run.id))
        return write(self, pending, told)

    monkeypatch.setattr(book.Book, '_write', failing)
    service = start()
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'))
    assert failures == []
    assert (checkpoint(checkpoint_id).checkpoint_status, operation(operation_id).epoch) == ('available', 2)
    assert {row.error_info for row in seen} == {None}
    assert (backend.count('start'), backend.count('find'), backend.count('cancel')) == (1, 1, 0)


def test_a_job_has_no_book_to_be_loaded(boards):
    boards.post()
    assert next(boards.make().iterjobs()).book is None


def test_a_worker_of_the_same_host_and_process_has_another_name(start):
    service = start()
    assert service.conductor._name != service.worker()._name


def test_a_posted_job_and_a_freed_slot_wake_the_conductor(start):
    """TaskFlow's sleeps out its time."""
    CONF.set_override('claim_interval', 60.0, 'protection')
    service = start(max_concurrent_operations=1)
    until(lambda: service.conductor._dispatched is not None)
    time.sleep(0.3)  # it sleeps now
    made = protect(service, 'a', 'b', 'c')
    until(lambda: all(operation(o).ended_at is not None for _, o in made), 20)


def test_operations_hooks_and_polls_have_pools_of_their_own(start, backend):
    """In a shared one, operations fill it up and wait for their own hooks for ever."""
    for name in ('hook_threads', 'poll_threads'):
        CONF.set_override(name, 1, 'protection')
    try:
        service = start(max_concurrent_operations=4)
        backend.gate = threading.Event()
        made = protect(service, 'a', 'b', 'c', 'd')
        until(lambda: len(backend.objects) == 4)
        backend.gate.set()
        until(lambda: all(operation(o).ended_at is not None for _, o in made), 20)
    finally:
        for name in ('hook_threads', 'poll_threads'):
            CONF.clear_override(name, 'protection')


def begun(*made):
    return [operation(o).epoch for _, o in made]


def test_no_more_operations_run_than_there_are_slots_and_a_new_number_counts_at_once(start, backend):
    service = start(max_concurrent_operations=2)
    backend.gate = threading.Event()
    made = protect(service, 'a', 'b', 'c', 'd')
    until(lambda: len(backend.objects) == 2)
    time.sleep(0.3)  # many looks at the board
    assert begun(*made) == [1, 1, 0, 0]
    CONF.set_override('max_concurrent_operations', 3)
    until(lambda: begun(*made) == [1, 1, 1, 0])
    backend.gate.set()
    assert service.conductor.wait_idle(20)
    assert begun(*made) == [1, 1, 1, 1]


def test_what_is_to_be_cancelled_finds_a_slot_when_all_are_taken(start, backend):
    """TaskFlow looks at the board then, too, but takes nothing."""
    service = start(max_concurrent_operations=1, max_concurrent_operations_per_project=1)
    backend.gate = threading.Event()
    made = protect(service, 'a', 'b', 'c')
    until(lambda: begun(*made) == [1, 0, 0])
    repository.update(models.OperationLog, made[2][1], {'cancel_requested': True})
    until(lambda: repository.get(models.OperationLog, made[2][1]).error_info == 'cancelled')
    assert begun(*made) == [1, 0, 1]
    assert not service.conductor._runs[made[0][1]].cancelled.is_set()


def test_a_run_is_told_within_a_second_that_it_is_to_be_cancelled_when_all_slots_are_taken(start, backend):
    service = start(max_concurrent_operations=1)
    backend.gate = threading.Event()
    made = protect(service, 'a', 'b')
    until(lambda: begun(*made) == [1, 0])
    until(lambda: made[0][1] in service.conductor._runs)
    run = service.conductor._runs[made[0][1]]
    repository.update(models.OperationLog, run.id, {'cancel_requested': True})
    assert run.cancelled.wait(5)  # it is half a second on a machine that has nothing else to do
