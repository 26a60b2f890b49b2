# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import contextlib
import multiprocessing
import os
import threading

import pytest
import sqlalchemy as sa
from oslo_config import cfg

from karbor.db import engine, models, repository
from karbor.objects import plan
from karbor.tests import databases

CONF = cfg.CONF
WRITERS, TIMES = 8, 25


@pytest.fixture
def counter(database):
    """A row that writers count up, reading it first: none of the counts may be lost."""
    repository.create(models.Service(id=1, host='h', binary='b', report_count=0))


def _count_up(times=TIMES):
    for _ in range(times):
        _count_one()


def _count_once():
    with engine.writing():
        found = repository.lock(models.Service, 1)
        assert found is not None
        repository.update(models.Service, 1, {'report_count': found.report_count + 1})


_count_one = engine.repeated(_count_once)


def _counted():
    return _first().report_count


def _first():
    found = repository.get(models.Service, 1)
    assert found is not None
    return found


def test_no_write_fails_or_is_lost_when_eight_threads_write_at_once(counter):
    with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
        for result in [pool.submit(_count_up) for _ in range(WRITERS)]:
            result.result()
    assert _counted() == WRITERS * TIMES


def _process(url, gate):
    with databases.connected(url):
        gate.wait()
        _count_up()


def test_no_write_fails_or_is_lost_when_eight_processes_write_at_once(database, counter):
    fork = multiprocessing.get_context('fork')
    gate = fork.Barrier(WRITERS)
    processes = [fork.Process(target=_process, args=(database, gate)) for _ in range(WRITERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [p.exitcode for p in processes] == [0] * WRITERS
    assert _counted() == WRITERS * TIMES


def test_sqlite_writers_queue_up_when_nobody_begins_again(sqlite_database):
    """Without `repeated`: on SQLite the lock is taken at the beginning, so there is nothing to repeat."""
    repository.create(models.Service(id=1, host='h', binary='b', report_count=0))
    with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
        for result in [pool.submit(lambda: [_count_once() for _ in range(TIMES)]) for _ in range(WRITERS)]:
            result.result()
    assert _counted() == WRITERS * TIMES


def test_readers_do_not_wait_when_a_writer_is_at_work(database):
    repository.create(models.Service(id=1, host='h', binary='b', report_count=0))
    with engine.writing():
        repository.update(models.Service, 1, {'report_count': 1})
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            assert pool.submit(_counted).result(timeout=5) == 0
    assert _counted() == 1


def test_blocks_are_one_transaction_when_nested(database):
    with contextlib.suppress(ZeroDivisionError), engine.writing():
        repository.create(models.Service(host='h', binary='a'))
        with engine.writing() as inner:
            repository.create(models.Service(host='h', binary='b'))
            with engine.reading() as reading:
                assert reading is inner
                assert repository.count(models.Service) == 2
        raise ZeroDivisionError
    assert repository.count(models.Service) == 0


def test_nothing_is_written_when_the_block_raises(database):
    with pytest.raises(ZeroDivisionError), engine.writing():
        repository.create(models.Service(host='h', binary='a'))
        raise ZeroDivisionError
    assert repository.count(models.Service) == 0
    repository.create(models.Service(host='h', binary='a'))
    assert repository.count(models.Service) == 1


def test_rows_can_be_read_when_their_session_is_over(database):
    repository.create(models.Service(id=1, host='h', binary='a'))
    assert _first().binary == 'a'
    assert repository.create(models.Service(id=2, host='h', binary='b')).binary == 'b'


def test_foreign_keys_are_enforced(database):
    resource = models.Resource(plan_id='nowhere', resource_id='1', resource_type='t', resource_name='n')
    with pytest.raises(Exception, match='(?i)foreign key'):
        repository.create(resource)


def test_a_connection_serves_several_transactions(database):
    with engine.engine().connect() as connection:
        for n in range(3):
            connection.execute(sa.insert(models.Service).values(host='h', binary=str(n), report_count=0, deleted=False))
            connection.commit()
            connection.execute(sa.delete(models.Service))
            connection.rollback()
    assert repository.count(models.Service) == 3


def test_no_connection_is_shared_when_the_process_forks(database):
    repository.create(models.Service(id=1, host='h', binary='b', report_count=0))
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            _count_up(3)
            status = 0
        os._exit(status)
    _count_up(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert _counted() == 6


def test_sqlite_keeps_its_connections_when_sessions_end(sqlite_database):
    opened = []
    sa.event.listen(engine.engine(), 'connect', lambda connection, record: opened.append(connection))
    for n in range(20):
        repository.create(models.Service(host='h', binary=str(n)))
    assert len(opened) <= 1


def test_sqlite_does_not_refuse_when_more_threads_write_than_the_pool_keeps(sqlite_database):
    gate = threading.Barrier(40)

    def create(n):
        gate.wait()
        repository.create(models.Service(host='h', binary=str(n)))

    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        list(pool.map(create, range(40)))
    assert repository.count(models.Service) == 40


@pytest.fixture
def statements(database):
    """The SQL statements that the test makes the process send."""
    sent = []

    def note(connection, cursor, statement, parameters, context, many):
        if not statement.startswith(('BEGIN', 'PRAGMA')):
            sent.append(statement)

    facade = engine._State.facade
    engines = {facade.writer.get_engine(), facade.reader.get_engine()}
    for found in engines:
        sa.event.listen(found, 'before_cursor_execute', note)
    yield sent
    for found in engines:
        sa.event.remove(found, 'before_cursor_execute', note)


def _plan(resources):
    named = [{'id': str(n), 'type': 't', 'name': 'n'} for n in range(resources)]
    return plan.Plan.new(name='a', project_id='p', status='suspended', parameters={}, resources=named)


def test_one_statement_reads_a_plan_however_many_resources_it_has(statements):
    made = _plan(resources=30)
    made.create()
    statements.clear()
    assert len(plan.Plan.get(made.id).resources) == 30
    assert len(statements) == 1


def test_one_statement_makes_a_list_a_count_and_an_update(statements):
    for call in (
        lambda: repository.find(
            models.Plan, ['id', 'name'], {'project_id': 'p'}, [('created_at', 'desc'), ('id', 'asc')], 50
        ),
        lambda: repository.count(models.Plan, project_id='p'),
        lambda: repository.update(models.Plan, 'x', {'name': 'y'}, status='started'),
        lambda: repository.create_many(models.Service, [{'host': 'h', 'binary': str(n)} for n in range(20)]),
    ):
        statements.clear()
        call()
        assert len(statements) == 1
