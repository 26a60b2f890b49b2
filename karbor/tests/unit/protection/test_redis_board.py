# SPDX-License-Identifier: Apache-2.0
"""The job board in Redis: what TaskFlow's own leaves open, and a Redis that forgets or is away."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
import redis
from oslo_config import cfg
from oslo_utils import timeutils
from taskflow import exceptions as taskflow_exceptions

from karbor import exception
from karbor.db import engine, models, repository
from karbor.protection import board
from karbor.tests.services.deployment import free_port
from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.jobboards import ids, redis_boards, short_lease
from karbor.tests.unit.protection.service import PROVIDER, Service
from karbor.tests.unit.protection.test_board import claimed
from karbor.tests.unit.protection.test_operations import checkpoint, operation, until

__all__ = ['redis_boards', 'short_lease']
pytestmark = pytest.mark.services
CONF = cfg.CONF


@pytest.fixture
def boards(redis_boards):
    return redis_boards


def left(boards, job):
    """The milliseconds that the claim of the job has in Redis."""
    return boards.client.pttl(job.owner_key)


def test_a_claim_has_an_end(boards):
    boards.post()
    b = boards.make()
    job = claimed(b, 'one/1')
    assert 0 < left(boards, job) <= 1000


def test_a_claim_is_lengthened_by_its_owner_only(boards):
    boards.post()
    owner, other = boards.two()
    job = claimed(owner, 'one/1')
    other.worker = 'two/1'
    other.leases.hold(job.uuid, 1, time.monotonic())
    boards.client.pexpire(job.owner_key, 500)
    other._extend()
    assert left(boards, job) <= 500
    owner._extend()
    assert left(boards, job) > 500
    assert boards.client.get(job.owner_key) == b'one/1'


def test_a_claim_that_is_refused_lengthens_nothing(boards):
    boards.post()
    owner, other = boards.two()
    seen = next(other.iterjobs())
    job = claimed(owner, 'one/1')
    boards.client.pexpire(job.owner_key, 500)
    with pytest.raises(taskflow_exceptions.UnclaimableJob):
        other.claim(seen, 'two/1')
    assert left(boards, job) <= 500


def test_a_claim_that_its_row_does_not_allow_is_given_back(boards):
    id = boards.post()
    b = boards.make()
    job = next(b.iterjobs())
    repository.update(models.OperationLog, id, {'owner': 'one/1', 'expires_at': time.time() + 60})
    with pytest.raises(taskflow_exceptions.UnclaimableJob):
        b.claim(job, 'two/1')
    assert boards.client.get(job.owner_key) is None
    assert (operation(id).owner, operation(id).epoch) == ('one/1', 0)


def _claim_and_wait(url, ready):
    CONF.set_override('connection', url, 'database')
    engine.configure(CONF)
    b = board.fetch(providers=lambda: [PROVIDER])
    b.connect()
    claimed(b, 'killed/1')
    ready.set()
    while True:  # as a conductor does
        list(b.iterjobs())
        time.sleep(0.05)


def test_a_worker_that_was_killed_is_replaced_when_its_lease_is_over(boards):
    id = boards.post()
    fork = multiprocessing.get_context('fork')
    ready = fork.Event()
    worker = fork.Process(target=_claim_and_wait, args=(CONF.database.connection, ready))
    worker.start()
    try:
        assert ready.wait(20)
        b = boards.make()
        time.sleep(1.2)  # it beats
        assert list(b.iterjobs()) == []
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
    assert claimed(b, 'next/1').epoch == 2
    assert operation(id).owner == 'next/1'


def test_what_redis_has_forgotten_is_posted_again_in_its_order_by_anybody(boards):
    posted = [boards.post(), boards.post(), boards.post(priority=3)]
    boards.forget()
    b = boards.make(providers=('another',))
    until(lambda: list(b.iterjobs()) == [] and len(boards.keys()) >= 1, 5)
    assert ids(boards.make().iterjobs()) == [posted[2], posted[0], posted[1]]


def test_what_was_accepted_by_a_process_that_died_before_it_posted_is_posted(boards):
    row = {'id': 'o', 'project_id': 'p', 'operation_type': 'protect', 'provider_id': PROVIDER}
    repository.create(models.OperationLog(**row, **board.posted(True)))
    b = boards.make()
    until(lambda: ids(b.iterjobs()) == ['o'], 5)


def test_what_runs_goes_on_when_redis_forgets_it(boards):
    id = boards.post()
    owner, other = boards.make(beats=True), boards.make()
    job = claimed(owner, 'one/1')
    boards.forget()
    end = time.monotonic() + 2.0
    while time.monotonic() < end:  # two leases
        for seen in other.iterjobs():
            with pytest.raises(taskflow_exceptions.UnclaimableJob):
                other.claim(seen, 'two/1')
        list(owner.iterjobs())
        time.sleep(0.05)
    assert owner.leases.is_valid(id, 1)
    assert (operation(id).owner, operation(id).epoch) == ('one/1', 1)
    assert boards.client.get(job.owner_key) == b'one/1'  # the claim is known again
    owner.consume(job, 'one/1')


def test_a_job_of_an_operation_that_has_ended_is_taken_off(boards):
    id = boards.post()
    b = boards.make()
    repository.update(models.OperationLog, id, {'ended_at': timeutils.utcnow()})
    with pytest.raises(taskflow_exceptions.NotFound):
        b.claim(next(b.iterjobs()), 'one/1')
    assert (list(b.iterjobs()), b.job_count) == ([], 0)


def test_a_job_that_cannot_be_read_is_posted_anew_and_disturbs_no_other(boards):
    posted = [boards.post(), boards.post()]
    b = boards.make()
    boards.client.hset(b.listings_key, posted[0], b'\xc1 rubbish')
    assert posted[1] in ids(b.iterjobs())
    until(lambda: ids(b.iterjobs()) == posted, 5)


def test_what_only_one_host_can_do_is_bound_to_it_again_when_that_is_back(boards):
    id = boards.post(resumable=False)
    home, away = boards.two()
    CONF.set_override('host', 'elsewhere')
    try:
        until(lambda: ids(away.iterjobs()) == [id], 5)  # its host is gone
        repository.update(models.OperationLog, id, {'expires_at': time.time() + 60})
        until(lambda: list(away.iterjobs()) == [], 5)
    finally:
        CONF.clear_override('host')
    assert ids(home.iterjobs()) == [id]


# -- a Redis that is away


class Server:
    """A Redis of the test's own, which keeps nothing on disk."""

    def __init__(self, folder):
        self.folder, self.port, self._process = folder, free_port(), None

    def start(self):
        command = ['redis-server', '--port', str(self.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
        self._process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)
        until(self._answers, 20)

    def _answers(self):
        try:
            return redis.Redis(port=self.port).ping()
        except redis.exceptions.ConnectionError:
            return False

    def kill(self):
        self._process.kill()
        self._process.wait()

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture
def server(tmp_path, boards):
    if shutil.which('redis-server') is None:
        pytest.skip('there is no redis-server to be started')
    made = Server(tmp_path)
    made.start()
    CONF.set_override('redis_port', made.port, 'protection')
    CONF.set_override('redis_socket_timeout', 0.3, 'protection')
    yield made
    made.thaw()
    made.kill()
    CONF.clear_override('redis_port', 'protection')
    CONF.clear_override('redis_socket_timeout', 'protection')


@pytest.fixture
def backend():
    made = backends.Backend()
    made.gate = threading.Event()
    yield made
    made.gate.set()


@pytest.fixture
def service(server, backend):
    made = Service(backend, [backends.protection(backend)])
    yield made
    made.conductor.stop(5)


@pytest.mark.parametrize('way', ['kill', 'freeze'])
def test_a_redis_that_is_away_costs_time_and_nothing_else(service, server, backend, caplog, way):
    first, running = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: backend.count('poll') > 0)
    getattr(server, way)()
    began = time.monotonic()
    second, waiting = service.protect(('Leaf', 'b'), wait=False)
    assert time.monotonic() - began < 5  # the caller does not wait for Redis
    time.sleep(2.5)  # two leases and more
    assert (operation(running).epoch, operation(waiting).epoch) == (1, 0)
    assert caplog.text.count('The job board cannot be read') == 1
    server.thaw() if way == 'freeze' else server.start()
    backend.gate.set()
    until(lambda: operation(running).ended_at and operation(waiting).ended_at, 20)
    assert [checkpoint(c).checkpoint_status for c in (first, second)] == ['available'] * 2
    assert (operation(running).epoch, backend.count('start')) == (1, 2)
    assert 'The job board can be read again' in caplog.text


def test_a_service_whose_redis_is_away_says_so_at_its_start(boards):
    with socket.create_server(('127.0.0.1', 0)) as nobody:
        CONF.set_override('redis_port', nobody.getsockname()[1], 'protection')
        CONF.set_override('redis_socket_timeout', 0.2, 'protection')
        try:
            with pytest.raises(exception.JobBoardAway, match='Redis cannot be used: Timeout'):
                board.fetch().connect()
        finally:
            CONF.clear_override('redis_port', 'protection')
            CONF.clear_override('redis_socket_timeout', 'protection')


@pytest.fixture
def secured(tmp_path, boards):
    """A Redis that speaks TLS only, to those with a certificate and a password; the options that lead there."""
    key, certificate, port = tmp_path / 'key', tmp_path / 'certificate', free_port()
    made = ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1']
    made += ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', str(key), '-out', str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    command = ['redis-server', '--port', '0', '--tls-port', str(port), '--bind', '127.0.0.1', '--save', '']
    command += ['--tls-key-file', str(key), '--tls-cert-file', str(certificate), '--tls-ca-cert-file', str(certificate)]
    command += ['--requirepass', 'secret']
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as server:
        until(lambda: _listens(port), 20)
        files = {'ssl_keyfile': key, 'ssl_certfile': certificate, 'ssl_ca_certs': certificate}
        yield {'port': port, 'password': 'secret', 'ssl': True} | {name: str(path) for name, path in files.items()}
        server.kill()


def _listens(port):
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(('127.0.0.1', port), 5):
        return True
    return False


def test_options_lead_to_a_redis_with_tls_and_password(secured, boards):
    for name, value in secured.items():
        CONF.set_override(f'redis_{name}', value, 'protection')
    try:
        boards.make()
        CONF.set_override('redis_password', 'wrong', 'protection')
        with pytest.raises(exception.JobBoardAway):
            boards.make()
        CONF.set_override('redis_password', 'secret', 'protection')
        CONF.clear_override('redis_ssl_ca_certs', 'protection')  # those of the system do not know this certificate
        with pytest.raises(exception.JobBoardAway):
            boards.make()
    finally:
        for name in secured:
            CONF.clear_override(f'redis_{name}', 'protection')
