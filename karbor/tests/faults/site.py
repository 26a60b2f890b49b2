# SPDX-License-Identifier: Apache-2.0
"""What all cases of a test process share: a sandbox cloud, and the process that workers are forked from."""

import contextlib
import heapq
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from karbor.cmd import standalone
from karbor.sandbox.clock import Clock
from karbor.sandbox.cloud import Sandbox
from karbor.tests import databases, fixtures
from karbor.tests.faults.points import SECONDS, Gate, Points

PROVIDER = 'cf56bd3e-97a7-4078-b6d5-f36246333fd9'
LOOKS = 2
LEASE = 1.5
MEMORY = '/dev/shm'  # no disk makes leases run out; what is lost with the power is tested elsewhere

CONFIGURATION = """\
[DEFAULT]
state_path = {folder}
transport_url = local://
provider_config_dir = {folder}/providers.d
use_stderr = false

[database]
connection = {connection}

[protection]
lease_seconds = {lease_seconds}
claim_interval = {claim_interval}
poll_first = 0.02
http_timeout = {http_timeout}
start_faults = 30
"""

PROVIDER_FILE = f"""\
[provider]
id = {PROVIDER}
name = cloud
description = Shares and databases
plugin = karbor-share-protection-plugin
plugin = karbor-database-protection-plugin
bank = karbor-fs-bank-plugin
enabled = true

[manila_snapshot_plugin]
poll_interval = 1

[database_backup_plugin]
poll_interval = 1

[file_system_bank_plugin]
file_system_bank_path = {{folder}}/bank
"""


class CountedClock(Clock):
    """What takes time is done at the `LOOKS`-th request after it began: so that each run sees the same states."""

    def __init__(self) -> None:
        super().__init__()
        self._requests = 0
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = itertools.count()

    def after(self, seconds: float, change: Callable[[], None]) -> None:
        with self.lock:
            heapq.heappush(self._waiting, (self._requests + LOOKS, next(self._serial), change))

    def settle(self) -> None:
        with self.lock:
            self._requests += 1
            while self._waiting and self._waiting[0][0] <= self._requests:
                heapq.heappop(self._waiting)[2]()


class Site:
    """From `start` to `stop`. Each Karbor of it is made by `karbor`."""

    def __init__(self) -> None:
        self.sandbox = Sandbox(clock=CountedClock())
        self._template = fixtures._migrated()
        command = [sys.executable, '-m', 'karbor.tests.faults.worker']
        self._nursery = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lock = threading.Lock()

    def start(self) -> 'Site':
        self.sandbox.start()
        return self

    def stop(self) -> None:
        assert self._nursery.stdin is not None
        self._nursery.stdin.close()
        self._nursery.wait(SECONDS)
        self.sandbox.stop()

    def fork(self, folder: Path, name: str) -> int:
        """The id of the process of a new worker."""
        assert self._nursery.stdin is not None and self._nursery.stdout is not None
        with self._lock:
            self._nursery.stdin.write(f'{folder} {name}\n')
            self._nursery.stdin.flush()
            return int(self._nursery.stdout.readline())

    @contextlib.contextmanager
    def karbor(
        self,
        database: str = 'sqlite',
        lease_seconds: float = LEASE,
        claim_interval: float = 0.05,
        http_timeout: int = 5,
    ) -> Iterator['Karbor']:
        """A Karbor of its own: folder, database, bank, workers."""
        folder = Path(tempfile.mkdtemp(prefix='faults-', dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
        try:
            with databases.temporary(database, folder) as url:
                if database == 'sqlite':
                    shutil.copy(self._template, url.removeprefix('sqlite:///'))
                else:
                    _sync(url)
                text = CONFIGURATION.format(
                    folder=folder,
                    connection=url,
                    lease_seconds=lease_seconds,
                    claim_interval=claim_interval,
                    http_timeout=http_timeout,
                )
                user = self.sandbox.service_user
                text += standalone.CREDENTIALS.format(auth_url=self.sandbox.auth_url, user=user)
                (folder / 'karbor.conf').write_text(text)
                (folder / 'providers.d').mkdir()
                (folder / 'providers.d' / 'cloud.conf').write_text(PROVIDER_FILE.format(folder=folder))
                made = Karbor(self, folder, url)
                try:
                    yield made
                finally:
                    made.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sync(url: str) -> None:
    """All tables in an empty database of a server."""
    from karbor.db import migration

    with databases.connected(url):
        migration.sync()


class Karbor:
    """Workers on one database and bank, with a gate that tells the test what they are at."""

    def __init__(self, site: Site, folder: Path, url: str) -> None:
        self.site, self.folder, self.url = site, folder, url
        self.points = Points()
        self.points.is_over = True
        self._gate = Gate(folder / 'gate', self.points)
        self._commands = socket.socket(socket.AF_UNIX)
        self._commands.bind(str(folder / 'commands'))
        self._commands.listen(8)
        self.workers: list[Worker] = []

    def worker(self, name: str) -> 'Worker':
        """A new worker, which claims nothing before it is told to `start`."""
        pid = self.site.fork(self.folder, name)
        self._commands.settimeout(SECONDS)
        connection, _ = self._commands.accept()
        made = Worker(name, pid, connection, self.folder / f'{name}.log')
        self.workers.append(made)
        return made

    def watch(self, points: Points, sees_calls: bool = True) -> None:
        """From now on ``points`` are told of what the first worker does, and of the calls of the sandbox."""
        self.points = self._gate.points = points
        if sees_calls:
            self.site.sandbox.faults.watch = points.called

    def logs(self) -> str:
        """The end of what each worker logged."""
        return '\n'.join(f'--- {w.name}\n{w.log()[-5000:]}' for w in self.workers)

    def stop(self) -> None:
        self.points.release()
        self.site.sandbox.faults.watch = lambda call, is_done: None
        self.site.sandbox.faults.clear()
        for worker in self.workers:
            worker.kill()
        self._gate.close()
        self._commands.close()


class Worker:
    """A worker as the test holds it; `ask` has it do one of its commands."""

    def __init__(self, name: str, pid: int, connection: socket.socket, log_file: Path) -> None:
        self.name, self.pid, self.log_file = name, pid, log_file
        self._connection = connection
        self._lines = connection.makefile('rb')
        self.hello = json.loads(self._lines.readline() or b'null')
        assert self.hello and self.hello['pid'] == pid, f'the worker does not start:\n{self.log()}'
        self.is_dead = False

    def ask(self, do: str, **arguments: Any) -> Any:
        """What the command answers. Raises Killed when the worker is gone, RuntimeError when the command failed."""
        try:
            self._connection.sendall(json.dumps({'do': do, **arguments}).encode() + b'\n')
            line = self._lines.readline()
        except OSError:
            line = b''
        if not line:
            raise Killed(self.name)
        answer = json.loads(line)
        if 'fault' in answer:
            raise RuntimeError(f'{do}: {answer["fault"]}\n{self.log()[-5000:]}')
        return answer['answer']

    def kill(self) -> float:
        """The moment (monotonic) after which it is no more."""
        if not self.is_dead:
            os.kill(self.pid, signal.SIGKILL)
            self._wait_until_gone()
            self.is_dead = True
        return time.monotonic()

    def _wait_until_gone(self) -> None:
        end = time.monotonic() + SECONDS
        while os.path.exists(f'/proc/{self.pid}'):
            assert time.monotonic() < end, 'a killed worker is still there'
            time.sleep(0.001)

    def freeze(self, points: Points) -> None:
        """SIGSTOP, outside of any transaction."""
        with points.quiet():
            os.kill(self.pid, signal.SIGSTOP)
            stat, end = Path(f'/proc/{self.pid}/stat'), time.monotonic() + SECONDS
            while stat.read_text().rpartition(')')[2].split()[0] != 'T':
                assert time.monotonic() < end, 'the worker does not stop'
                time.sleep(0.001)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def log(self) -> str:
        return self.log_file.read_text(errors='replace') if self.log_file.exists() else ''


class Killed(Exception):
    """The worker was killed before it answered."""


def new_id() -> str:
    return str(uuid.uuid4())
