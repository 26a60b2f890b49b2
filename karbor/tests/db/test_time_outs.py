# SPDX-License-Identifier: Apache-2.0
"""Connections that are idle within a transaction, idle in the pool, or lead to a host that has died."""

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
import time

import pytest
from oslo_config import cfg

from karbor.db import engine, migration, models, repository
from karbor.protection import board, sql_board
from karbor.tests import databases

CONF = cfg.CONF
PROVIDER = 'b766f37c-d011-4026-8228-28730d734a3f'
LEASE_SECONDS = 3.0
SERVERS = [pytest.param(kind, marks=pytest.mark.services) for kind in databases.SERVERS]


@pytest.fixture(params=SERVERS)
def server(request, make_database):
    """The URL of a database of each server, with all tables, that the process uses."""
    url = make_database(request.param)
    with databases.connected(url):
        migration.sync()
        CONF.set_override('lease_seconds', LEASE_SECONDS, 'protection')
        yield url
        CONF.clear_override('lease_seconds', 'protection')


def _work_until_frozen(url, id, frozen):
    """A worker that claims the operation and stops in the middle of a transaction that holds its row."""
    with databases.connected(url):
        engine.cut_idle_transactions(LEASE_SECONDS / 3)
        b = sql_board.SqlJobBoard('karbor', {}, providers=lambda: [PROVIDER])
        b.claim(next(b.iterjobs()), 'frozen/1')
        with engine.writing():
            repository.update(models.OperationLog, id, {'beat': 1}, epoch=1)
            frozen.set()
            signal.pause()


def test_a_worker_frozen_in_a_transaction_holds_up_the_next_one_no_longer_than_its_lease(server):
    row = {'project_id': 'p', 'operation_type': 'protect', 'provider_id': PROVIDER}
    id = repository.create(models.OperationLog(id='o', **row, **board.posted(True))).id
    fork = multiprocessing.get_context('fork')
    frozen = fork.Event()
    worker = fork.Process(target=_work_until_frozen, args=(server, id, frozen))
    worker.start()
    try:
        assert frozen.wait(20)
        os.kill(worker.pid, signal.SIGSTOP)
        end = threading.Timer(4 * LEASE_SECONDS, worker.kill)  # of the wait for its lock, which nothing interrupts
        end.start()
        begun = time.monotonic()
        b = sql_board.SqlJobBoard('karbor', {}, providers=lambda: [PROVIDER])
        while not (jobs := list(b.iterjobs())):
            assert time.monotonic() - begun < 30
            time.sleep(0.05)
        b.claim(jobs[0], 'next/1')
        # Without the time-out: when the frozen one goes on, or the lock wait ends after 50 s.
        assert time.monotonic() - begun < 2 * LEASE_SECONDS
        found = repository.get(models.OperationLog, id)
        assert (found.owner, found.epoch, found.beat) == ('next/1', 2, 0)
        end.cancel()
    finally:
        worker.kill()
        worker.join()


def test_a_pooled_connection_may_be_idle_for_longer_than_a_transaction(server):
    engine.cut_idle_transactions(1)
    repository.create(models.Service(id=1, host='h', binary='b', report_count=0))
    time.sleep(1.5)
    for _ in range(3):
        assert repository.get(models.Service, 1) is not None


@pytest.mark.services
def test_a_mysql_that_ends_idle_connections_is_connected_to_again(make_database):
    """MySQL has `wait_timeout` only, which MariaDB knows, too."""
    with databases.connected(make_database('mariadb')):
        migration.sync()
        engine.engine().dialect.is_mariadb = False
        engine.cut_idle_transactions(1)
        with engine.reading() as session:
            ours = session.connection().connection.dbapi_connection
        with contextlib.closing(ours.cursor()) as cursor:
            cursor.execute('SELECT @@SESSION.wait_timeout, @@SESSION.idle_transaction_timeout')
            assert cursor.fetchone() == (1, 0)
        time.sleep(1.5)
        assert repository.count(models.Service) == 0
        with engine.reading() as session:
            assert session.connection().connection.dbapi_connection is not ours


def test_a_dead_host_is_noticed_and_a_long_statement_is_not_ended(server):
    with engine.reading() as session:
        ours = session.connection().connection.dbapi_connection
        handle = ours.fileno() if server.startswith('postgresql') else ours._sock.fileno()
        with socket.socket(fileno=os.dup(handle)) as connected:
            assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            for option, value in engine.DEAD_HOST.items():
                assert connected.getsockopt(socket.IPPROTO_TCP, option) == value
            assert connected.gettimeout() is None  # what a read timeout of PyMySQL would be
