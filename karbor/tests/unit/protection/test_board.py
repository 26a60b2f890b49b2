# SPDX-License-Identifier: Apache-2.0
"""What both job boards promise: claims, leases, order, limits, and workers that take over from each other."""

import logging
import sys
import threading
import time

import pytest
import sqlalchemy as sa
from oslo_config import cfg
from oslo_db import exception as db_exception
from taskflow import exceptions as taskflow_exceptions

from karbor import exception
from karbor.db import models, repository
from karbor.protection import board, redis_board, sql_board
from karbor.protection.conductor import Conductor
from karbor.protection.provider import Providers
from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.jobboards import boards, ids, short_lease
from karbor.tests.unit.protection.service import PROVIDER, Service
from karbor.tests.unit.protection.test_operations import checkpoint, operation, rows, until

__all__ = ['boards', 'short_lease']
CONF = cfg.CONF


@pytest.fixture
def backend():
    return backends.Backend()


@pytest.fixture
def service(boards, backend):
    made = Service(backend, [backends.protection(backend)])
    yield made
    made.conductor.stop(5)


@pytest.fixture
def limit():
    """limit(n) is what a project may have running."""

    def to(number):
        CONF.set_override('max_concurrent_operations_per_project', number)

    yield to
    CONF.clear_override('max_concurrent_operations_per_project')


def test_the_boards_are_known_to_taskflow_by_their_names_and_never_mistaken_for_its_own(boards):
    kinds = {'sql': sql_board.SqlJobBoard, 'redis': redis_board.RedisJobBoard}
    assert type(boards.make()) is kinds[boards.kind]


def test_a_board_whose_library_is_not_there_is_named(boards, monkeypatch):
    monkeypatch.setitem(sys.modules, 'karbor.protection.redis_board', None)
    CONF.set_override('jobboard', 'redis', 'protection')
    with pytest.raises(exception.ConfigurationError, match='job board redis cannot be loaded'):
        board.fetch()
    CONF.set_override('jobboard', boards.kind, 'protection')


def test_a_job_is_claimed_once(boards):
    boards.post()
    first, second = boards.two()
    jobs = [next(first.iterjobs()), next(second.iterjobs())]
    first.claim(jobs[0], 'one/1')
    with pytest.raises(taskflow_exceptions.UnclaimableJob):
        second.claim(jobs[1], 'two/1')
    assert list(second.iterjobs()) == []
    assert second.find_owner(jobs[1]) == operation(jobs[0].uuid).owner == 'one/1'


def test_a_takeover_is_told_with_who_left_the_operation(boards, caplog):
    caplog.set_level(logging.INFO, 'karbor')
    id = boards.post()
    first, second = boards.two()
    claimed(first, 'one/1')
    assert 'taken over' not in caplog.text
    until(lambda: list(second.iterjobs()), 10)
    job = claimed(second, 'two/1')
    assert f'Operation {id}, which one/1 left, is taken over by two/1.' in caplog.text
    second.abandon(job, 'two/1')
    until(lambda: list(first.iterjobs()), 10)
    claimed(first, 'one/1')
    assert f'Operation {id}, which was given back, is taken over by one/1.' in caplog.text


def test_of_many_that_claim_at_once_one_wins(boards):
    id = boards.post()
    won, seen = [], [(b, next(b.iterjobs())) for b in (boards.make() for _ in range(8))]

    def claim(place, b, job):
        try:
            b.claim(job, f'worker/{place}')
        except taskflow_exceptions.UnclaimableJob:
            return
        won.append(place)

    threads = [threading.Thread(target=claim, args=(place, *pair)) for place, pair in enumerate(seen)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert (operation(id).owner, operation(id).epoch) == (f'worker/{won[0]}', 1)


def test_what_ran_out_is_claimed_by_the_next_and_the_epoch_tells_them_apart(boards):
    id = boards.post()
    first, second = boards.two()
    job = next(first.iterjobs())
    first.claim(job, 'one/1')
    assert first.leases.is_valid(id, 1)
    until(lambda: not first.leases.is_valid(id, 1), 5)
    until(lambda: ids(second.iterjobs()) == [id], 5)
    taken = claimed(second, 'two/1')
    assert (job.epoch, taken.epoch) == (1, 2)
    first.abandon(job, 'one/1')  # what the first one still says has no effect
    assert (operation(id).owner, operation(id).epoch) == ('two/1', 2)
    assert list(first.iterjobs()) == []


def claimed(b, who):
    """The first job of the board, claimed as soon as its row allows."""
    end = time.monotonic() + 5
    while True:
        job = next(b.iterjobs(), None)
        try:
            if job is not None:
                b.claim(job, who)
                return job
        except taskflow_exceptions.UnclaimableJob:
            pass
        assert time.monotonic() < end, 'it cannot be claimed'
        time.sleep(0.02)


def test_a_worker_that_claims_again_what_it_lost_has_a_lease_for_the_new_run_only(boards):
    id = boards.post()
    (only,) = (boards.make(),)
    lost = claimed(only, 'one/1')
    until(lambda: not only.leases.is_valid(id, 1), 5)
    again = claimed(only, 'one/1')
    assert not only.leases.is_valid(id, lost.epoch)
    only.abandon(lost, 'one/1')
    assert only.leases.is_valid(id, again.epoch)
    assert (operation(id).owner, again.epoch) == ('one/1', 2)


def test_a_heartbeat_keeps_a_claim(boards):
    id = boards.post()
    held, other = boards.make(beats=True), boards.make()
    held.claim(next(held.iterjobs()), 'one/1')
    end = time.monotonic() + 1.6
    while time.monotonic() < end:
        assert list(held.iterjobs()) == list(other.iterjobs()) == []
        time.sleep(0.05)
    assert held.leases.is_valid(id, 1)


def test_a_claim_that_was_lost_is_not_kept_by_a_heartbeat(boards):
    id = boards.post()
    held = boards.make()
    held.claim(next(held.iterjobs()), 'one/1')
    repository.update(models.OperationLog, id, {'owner': 'two/1'})
    held.leases._renew_all()
    assert not held.leases.is_valid(id, 1)


def test_a_lease_that_was_found_to_be_over_is_not_kept_by_a_late_heartbeat(boards):
    """The run that was told so waits for the next one, which would never come."""
    id = boards.post()
    held = boards.make()
    held.claim(next(held.iterjobs()), 'one/1')
    held.leases.hold(id, 1, time.monotonic() - held.leases.seconds)
    assert not held.leases.is_valid(id, 1)
    before = operation(id).expires_at
    held.leases._renew_all()
    assert (operation(id).expires_at, held.leases.is_valid(id, 1)) == (before, False)
    assert claimed(held, 'one/1').epoch == 2


def test_a_heartbeat_leaves_what_has_just_ended_as_it_is(boards):
    id = boards.post()
    held = boards.make()
    held.claim(next(held.iterjobs()), 'one/1')
    repository.update(models.OperationLog, id, {'ended_at': sa.func.now(), 'expires_at': board.now() + 0.9})
    before = operation(id)
    held.leases._renew_all()
    assert (operation(id).updated_at, operation(id).expires_at) == (before.updated_at, before.expires_at)
    assert held.leases.is_valid(id, 1)


def test_what_is_given_back_is_there_for_the_next_at_once(boards):
    id = boards.post()
    first, second = boards.two()
    job = next(first.iterjobs())
    first.claim(job, 'one/1')
    first.trash(job, 'one/1')  # as TaskFlow does with what it cannot begin
    assert (operation(id).owner, ids(second.iterjobs())) == (board.ANYONE, [id])


def test_what_has_ended_is_no_job_any_more(boards):
    id = boards.post()
    first, second = boards.two()
    job = next(first.iterjobs())
    first.claim(job, 'one/1')
    repository.update(models.OperationLog, id, {'ended_at': sa.func.now()})
    first.consume(job, 'one/1')
    assert list(second.iterjobs()) == []
    assert second.job_count == 0


def test_operations_of_providers_that_are_not_loaded_are_left_alone(boards):
    boards.post()
    assert list(boards.make(providers=()).iterjobs()) == []
    assert list(boards.make(providers=('another',)).iterjobs()) == []


def test_what_needs_the_token_in_memory_stays_with_its_host_while_that_lives(boards, monkeypatch):
    monkeypatch.setattr(redis_board, 'REAP_SECONDS', 0.1)
    id = boards.post(resumable=False)
    home, away = boards.two()
    assert ids(home.iterjobs()) == [id]
    home.leases._renew_all()
    CONF.set_override('host', 'elsewhere')
    try:
        assert list(away.iterjobs()) == []
        until(lambda: ids(away.iterjobs()) == [id], 5)  # its host is gone: somebody has to end it
    finally:
        CONF.clear_override('host')


def test_the_oldest_is_first_and_priority_goes_before(boards):
    posted = [boards.post(), boards.post(), boards.post(priority=5)]
    assert ids(boards.make().iterjobs()) == [posted[2], posted[0], posted[1]]


def test_a_project_at_its_limit_is_passed_over_and_hides_nobody(boards, limit):
    limit(2)
    many = [boards.post() for _ in range(board.WINDOW + 4)]
    other = boards.post(project_id='other')
    b = boards.make()
    assert ids(b.iterjobs()) == [*many[:2], other]
    for job in b.iterjobs():
        b.claim(job, 'one/1')
    waiting = boards.post(project_id='other')
    assert ids(boards.make().iterjobs()) == [waiting]


def test_without_a_limit_the_oldest_go_first_whosever_they_are(boards, limit):
    limit(0)
    many = [boards.post() for _ in range(3)] + [boards.post(project_id='other')]
    assert ids(boards.make().iterjobs()) == many


def test_what_ran_out_counts_no_more_for_the_limit(boards, limit):
    limit(1)
    posted = [boards.post(), boards.post()]
    first, second = boards.two()
    first.claim(next(first.iterjobs()), 'one/1')
    assert list(second.iterjobs()) == []
    until(lambda: ids(second.iterjobs()) == posted[:1], 5)


def test_two_workers_that_claim_at_once_stay_within_a_limit_together(boards, limit):
    limit(3)
    for _ in range(12):
        boards.post()
    workers = [boards.make() for _ in range(4)]
    start, won = threading.Barrier(4), []

    def claim_all(place, b):
        start.wait()
        for _ in range(3):
            for job in b.iterjobs():
                try:
                    b.claim(job, f'worker/{place}')
                    won.append(job.uuid)
                except taskflow_exceptions.UnclaimableJob:
                    pass

    threads = [threading.Thread(target=claim_all, args=pair) for pair in enumerate(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if boards.kind == 'sql':
        assert len(won) == 3
    else:  # jobs and claims are read one after the other
        assert 3 <= len(won) <= 3 + len(workers) - 1


def test_what_is_to_be_cancelled_goes_before_all_and_past_the_limit(boards, limit, monkeypatch):
    monkeypatch.setattr(redis_board, 'CANCEL_SECONDS', 0.0)
    limit(1)
    posted = [boards.post(priority=9), boards.post(), boards.post()]
    b = boards.make()
    repository.update(models.OperationLog, posted[2], {'cancel_requested': True})
    assert ids(b.iterjobs()) == [posted[2], posted[0]]
    assert [job.cancel_requested for job in b.iterjobs()] == [True, False]


def test_a_worker_is_told_what_it_runs_and_has_to_cancel(boards, limit, monkeypatch):
    monkeypatch.setattr(redis_board, 'CANCEL_SECONDS', 0.0)
    limit(1)
    posted, told = [boards.post() for _ in range(board.WINDOW + 2)], []
    b, other = boards.make(cancel=told.extend), boards.make(cancel=told.extend)
    b.claim(next(b.iterjobs()), 'one/1')
    assert (list(b.iterjobs()), told) == ([], [])
    repository.update(models.OperationLog, posted[0], {'cancel_requested': True})
    assert (list(other.iterjobs()), told) == ([], [])
    assert (list(b.iterjobs()), told) == ([], posted[:1])


# -- with a conductor


def test_a_fault_of_the_database_does_not_end_the_conductor(service, backend, monkeypatch):
    fetch, failures = board.Claims._swap, [2]

    def failing(*arguments, **named):
        if failures[0]:
            failures[0] -= 1
            raise db_exception.DBConnectionError('gone')
        return fetch(*arguments, **named)

    monkeypatch.setattr(board.Claims, '_swap', staticmethod(failing))
    checkpoint_id, _ = service.protect(('Leaf', 'a'))
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'
    assert failures == [0]


def test_a_worker_that_stopped_beating_is_replaced_and_nothing_is_done_twice(service, backend):
    """The first worker is alive but cut off, as after a pause: it neither starts nor writes once its lease is over."""
    backend.gate = threading.Event()
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), ('Leaf', 'b'), wait=False)
    until(lambda: backend.count('poll') > 1)
    first = service.conductor
    first._jobboard.leases.stop()
    first._wait_timeout.interrupt()  # and it claims nothing more
    second = service.worker()
    repository.update(models.OperationLog, operation_id, {'resumable': True})
    if first._jobboard.connected and hasattr(first._jobboard, '_reap'):
        first._jobboard._reap()  # as it is another kind of operation now
    second.start()
    until(lambda: operation(operation_id).epoch == 2)
    backend.gate.set()
    until(lambda: operation(operation_id).ended_at is not None)
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'
    assert backend.count('start') == len(backend.objects) == 2
    assert {row.status for row in rows(operation_id).values()} == {'active'}
    second.stop(5)


def test_a_stopped_worker_hands_over_at_once(service, backend):
    backend.gate = threading.Event()
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: (rows(operation_id).get('a') or models.OperationResource()).handle is not None)
    begun = time.monotonic()
    service.conductor.stop(5)
    assert time.monotonic() - begun < 3
    assert operation(operation_id).owner == CONF.host
    backend.gate.set()
    service.conductor = service.worker()
    service.conductor.start()
    until(lambda: operation(operation_id).ended_at is not None)
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'
    assert backend.count('start') == 1


def test_a_start_is_refused_once_the_lease_is_over(service, backend, monkeypatch):
    """Between the decision to start and the call: the last look at the lease is right before the back end is asked."""
    backend.faults['find', 'a'] = RuntimeError('not asked for in a first run')
    monkeypatch.setattr('karbor.protection.lease.Leases.is_valid', lambda self, id, epoch: False)
    _, operation_id = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: operation(operation_id).epoch >= 2)
    assert backend.calls == []
    monkeypatch.undo()


def test_an_idle_board_costs_few_statements(boards):
    CONF.clear_override('lease_seconds', 'protection')
    CONF.clear_override('claim_interval', 'protection')
    statements = []

    def count(*told):
        statements.append(told[2])

    idle = Conductor(Providers({PROVIDER: None}), set(), None)
    sa.event.listen(sa.Engine, 'before_cursor_execute', count)
    idle.start()
    time.sleep(4)
    idle.stop(1)
    sa.event.remove(sa.Engine, 'before_cursor_execute', count)
    assert 0 < len([s for s in statements if not s.startswith(('PRAGMA', 'BEGIN'))]) <= 3 * 4
