# SPDX-License-Identifier: Apache-2.0
"""`karbor-protection` as a process of its own: what signals do to it."""

import contextlib
import os
import signal
import uuid
from pathlib import Path

import pytest
import redis

from karbor.db import models, repository
from karbor.plugins.interface import Protection, State, Work
from karbor.protection import board
from karbor.statuses import CheckpointStatus, OperationType, running
from karbor.tests.services.deployment import Process
from karbor.tests.unit.protection.jobboards import KINDS
from karbor.tests.unit.protection.test_operations import checkpoint, operation, rows, until

PROVIDER, OTHER = str(uuid.uuid4()), str(uuid.uuid4())
PLUGIN = f'{__name__}:Slow'
GATE = 'KARBOR_TEST_GATE'  # the file that the cloud of these tests waits for
GRACEFUL_SECONDS = 5


class SlowWork(Work):
    service = 'gate'
    poll_interval = 0.05

    def start(self, work):
        return {'made': work.resource.id}

    def find(self, work):
        raise AssertionError('its handle was recorded')

    def poll(self, work, handle):
        return State('available' if Path(os.environ[GATE]).exists() else 'creating')

    def cancel(self, work, handle):
        return True


class Slow(Protection):
    resource_types = ('Slow',)
    protect = SlowWork


class Broken(Protection):
    def __init__(self, config):
        raise RuntimeError('broken')


class Protector:
    """The process, in ``folder``, on the database of the test."""

    def __init__(self, folder, kind):
        self.folder, self.gate = folder, folder / 'gate'
        self.namespace = f'karbor-test-{uuid.uuid4().hex}'
        (folder / 'providers.d').mkdir()
        self.kind, self.processes = kind, []

    def start(self, host):
        process = Process('karbor-protection', self._home(host), {GATE: str(self.gate)})
        process.start()
        self.processes.append(process)
        until(lambda: 'serves the providers' in process.log() or not process.is_running, 30)
        assert process.is_running, process.log()
        return process

    def _home(self, host):
        home = self.folder / host
        home.mkdir(exist_ok=True)
        self.configure(host)
        return home

    def configure(self, host, **options):
        lines = [f'{name} = {value}' for name, value in options.items()]
        (self.folder / host / 'karbor.conf').write_text(
            '\n'.join(
                [
                    '[DEFAULT]',
                    f'host = {host}',
                    f'state_path = {self.folder}',
                    'use_stderr = false',
                    'transport_url = local://',
                    f'provider_config_dir = {self.folder}/providers.d',
                    f'graceful_shutdown_timeout = {GRACEFUL_SECONDS}',
                    *lines,
                    '[database]',
                    f'connection = sqlite:///{self.folder}/karbor.sqlite',
                    '[protection]',
                    f'jobboard = {self.kind}',
                    f'redis_namespace = {self.namespace}',
                    'lease_seconds = 30',  # so that what is quick was handed over
                    'poll_first = 0.05',
                ]
            )
        )

    def provide(self, id=PROVIDER, name='slow', plugin=PLUGIN):
        (self.folder / 'providers.d' / f'{name}.conf').write_text(
            f'[provider]\nid = {id}\nname = {name}\nplugin = {plugin}\nbank = karbor-fs-bank-plugin\nenabled = true\n'
            f'[file_system_bank_plugin]\nfile_system_bank_path = {self.folder}/bank\n'
        )

    def protect(self):
        """The checkpoint and operation that were accepted, as by a service that was there before."""
        c, o = str(uuid.uuid4()), str(uuid.uuid4())
        plan = {'id': 'plan', 'name': 'plan', 'provider_id': PROVIDER}
        known = {'project_id': 'p', 'provider_id': PROVIDER, 'plan_id': 'plan'}
        plan['resources'] = [{'type': 'Slow', 'id': 'a', 'name': 'a'}]
        repository.create(
            models.CheckpointRecord(
                id=c,
                checkpoint_id=c,
                checkpoint_status=CheckpointStatus.PROTECTING,
                operation_id=o,
                protection_plan=plan,
                **known,
            )
        )
        told = {'operation_type': OperationType.PROTECT, 'status': running(OperationType.PROTECT)}
        repository.create(models.OperationLog(id=o, checkpoint_id=c, **told, **known, **board.posted(True)))
        return c, o

    def end(self):
        for process in self.processes:
            if process.is_started:
                with contextlib.suppress(ProcessLookupError):
                    process._kill(process.workers)
        if self.kind == 'redis':
            client = redis.Redis()
            for key in client.scan_iter(f'{self.namespace}:*'):
                client.delete(key)


@pytest.fixture
def protector(database, tmp_path, request):
    made = Protector(tmp_path, getattr(request, 'param', 'sql'))
    made.provide()
    yield made
    made.end()


def published():
    return {row.name: row for row in repository.find(models.Provider)}


def begun(id):
    return lambda: (rows(id).get('a') or models.OperationResource()).handle is not None


def test_sighup_takes_what_can_be_reloaded_and_disturbs_nothing_that_runs(protector):
    process = protector.start('here')
    c, o = protector.protect()
    until(begun(o), 20)
    workers = process.workers

    protector.provide(OTHER, 'other')
    protector.provide(name='slow', plugin='no.such:Plugin')  # the one that is at work
    protector.configure('here', debug='true', max_concurrent_operations=7, state_path='/ignored')
    os.kill(process.pid, signal.SIGHUP)
    until(lambda: 'has now the providers' in process.log(), 20)
    assert set(published()) == {'slow', 'other'}
    assert published()['slow'].resource_types == ['Slow']
    told = process.log()
    assert 'slow.conf cannot be used, it is kept as it was' in told
    assert 'DEFAULT.max_concurrent_operations changed from [None] to [7]' in told
    assert 'Ignoring change to immutable option DEFAULT.state_path' in told

    (protector.folder / 'providers.d' / 'other.conf').unlink()
    protector.configure('here', max_concurrent_operations='many')
    os.kill(process.pid, signal.SIGHUP)
    until(lambda: process.log().count('has now the providers') == 2, 20)
    assert set(published()) == {'slow'}
    told = [line for line in process.log().splitlines() if 'The configuration is kept as it was' in line]
    assert {line.count('many') for line in told} == {1}  # lines of the master and of its worker
    assert 'Traceback' not in process.log()

    assert operation(o).epoch == 1
    protector.gate.touch()
    until(lambda: operation(o).ended_at is not None, 20)
    assert (checkpoint(c).checkpoint_status, operation(o).epoch) == ('available', 1)
    assert process.workers == workers
    assert process.stop() < GRACEFUL_SECONDS + 5
    assert ' DEBUG cotyledon' in process.log()


@pytest.mark.services  # for its time: two starts of a process
@pytest.mark.parametrize('protector', KINDS, indirect=True)
def test_sigterm_hands_over_and_another_host_goes_on_at_once(protector):
    process = protector.start('here')
    c, o = protector.protect()
    until(begun(o), 20)
    assert operation(o).owner.startswith('here/')
    assert process.stop() < GRACEFUL_SECONDS
    assert operation(o).owner == board.ANYONE
    if protector.kind == 'redis':
        assert not [k for k in redis.Redis().scan_iter(f'{protector.namespace}:*') if k.endswith(b'.owned')]
    protector.gate.touch()
    other = protector.start('there')
    until(lambda: operation(o).ended_at is not None, 20)  # sooner than the lease ends
    assert (checkpoint(c).checkpoint_status, operation(o).epoch) == ('available', 2)
    assert other.stop() < GRACEFUL_SECONDS + 5
