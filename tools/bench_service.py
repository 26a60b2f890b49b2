# SPDX-License-Identifier: Apache-2.0
"""Where the bench measures: the standalone service on SQLite, and three processes on a database server and RabbitMQ.

The standalone service has RPC within its process and no authentication; the three processes check tokens
with keystonemiddleware, whose Keystone is the sandbox's, in a process of its own. Both have real HTTP on the
loopback, no limit of plans, and the provider that does nothing.
"""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import requests

from karbor.tests import databases
from karbor.tests.services import broker
from karbor.tests.services.deployment import NOOP, Deployment

COMMANDS = Path(sys.executable).parent
OPTIONS = 'quota_plans = -1\nreport_interval = 10\nrpc_accept_timeout = 20\n'  # the tests' deployment has its own
PORTS = {'mariadb': 3306, 'postgresql': 5432}
RABBIT_PORT = 5672


@dataclass
class Project:
    """A project with the headers that let its user in."""

    id: str
    headers: dict[str, str]


@dataclass
class Site:
    """A running Karbor. The project `reads` is filled with what is listed; `writes` takes what load makes."""

    database: str
    transport: str
    folder: Path
    database_url: str
    address: tuple[str, int]
    reads: Project
    writes: Project
    pids: dict[str, list[int]] = field(default_factory=dict)
    provider_id: str = NOOP
    deployment: Deployment | None = None
    cloud: Any = None  # what the sandbox told when it was ready

    def resident_mb(self) -> dict[str, float]:
        """Megabytes in memory of each kind of process, the mean where there are several."""
        return {name: sum(map(_resident_mb, pids)) / len(pids) for name, pids in self.pids.items()}

    @contextlib.contextmanager
    def empty_database(self) -> Iterator[str]:
        """The URL of another, empty database of the same kind."""
        with databases.temporary(self.database, self.folder) as url:
            yield url


def _resident_mb(pid: int) -> float:
    lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('VmRSS:')) / 1024


def missing(database: str) -> str | None:
    """What has to run for this kind of site and does not."""
    wanted = {database: PORTS[database], 'rabbitmq': RABBIT_PORT} if database in PORTS else {}
    return next((name for name, port in wanted.items() if not _listens(port)), None)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(('127.0.0.1', port), timeout=2).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def site(database: str, folder: Path, cloud_speed: float = 1.0) -> Iterator[Site]:
    """A Karbor that runs within the block, on a database of its own."""
    folder.mkdir()
    with _standalone(folder) if database == 'sqlite' else _processes(database, folder, cloud_speed) as made:
        yield made


@contextlib.contextmanager
def _standalone(folder: Path) -> Iterator[Site]:
    options = folder / 'bench.conf'
    options.write_text(f'[DEFAULT]\n{OPTIONS}')
    state = folder / 'state'
    command = ['karbor-standalone', '--port', '0', '--state-dir', str(state), '--config-file', str(options)]
    with _started(command, folder) as (process, ready):
        url = urlsplit(ready['karbor'])
        yield Site(
            'sqlite',
            'local',
            folder,
            f'sqlite:///{state}/karbor.sqlite',
            (str(url.hostname), int(url.port or 0)),
            _unchecked('reads'),
            _unchecked('writes'),
            {'standalone': [process.pid]},
        )


def _unchecked(name: str) -> Project:
    return Project(name, {'X-Auth-Token': f'bench:{name}'})


@contextlib.contextmanager
def _processes(database: str, folder: Path, cloud_speed: float) -> Iterator[Site]:
    sandbox = ['karbor-sandbox', '--state-dir', str(folder / 'cloud'), '--speed', str(cloud_speed)]
    with (
        _started(sandbox, folder) as (_, ready),
        databases.temporary(database, folder) as url,
        broker.virtual_host() as transport,
    ):
        keystone = SimpleNamespace(**{name: ready[name] for name in ('auth_url', 'users', 'service_user')})
        deployment = Deployment(folder / 'karbor', url, transport, keystone, OPTIONS)
        with deployment.running():
            workers = {name.removeprefix('karbor-'): p.workers for name, p in deployment.processes.items()}
            address = ('127.0.0.1', deployment.port)
            projects = (log_in(ready, name) for name in ('demo', 'other'))
            yield Site(database, 'rabbit', folder, url, address, *projects, workers, NOOP, deployment, ready)


def log_in(cloud: Any, name: str) -> Project:
    """The project of that user of the sandbox, with a token."""
    user = next(u for u in cloud['users'] if u['name'] == name)
    who = {'name': name, 'password': user['password'], 'domain': {'id': 'default'}}
    asked = {
        'identity': {'methods': ['password'], 'password': {'user': who}},
        'scope': {'project': {'id': user['project_id']}},
    }
    reply = requests.post(f'{cloud["auth_url"]}/auth/tokens', json={'auth': asked}, timeout=30)
    reply.raise_for_status()
    return Project(user['project_id'], {'X-Auth-Token': reply.headers['X-Subject-Token']})


@contextlib.contextmanager
def _started(command: list[str], folder: Path) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """A command of Karbor within the block, and the line that it prints when it is ready."""
    with open(folder / f'{command[0]}.errors', 'w+') as errors:
        process = subprocess.Popen(
            [COMMANDS / command[0], *command[1:]], stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                errors.seek(0)
                raise RuntimeError(f'{command[0]} does not start: {errors.read()[-2000:]}')
            yield process, json.loads(line)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
