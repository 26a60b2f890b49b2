# SPDX-License-Identifier: Apache-2.0
"""Karbor as it runs in production: three processes with a database and a broker between them.

Each is started by its console script and ended by SIGTERM; all state is in one folder.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import requests

from karbor.cmd import standalone

COMMANDS = Path(sys.executable).parent
BINARIES = ('karbor-protection', 'karbor-operationengine', 'karbor-api')
API_WORKERS = 2
ACCEPT_SECONDS = 2
REPORT_SECONDS = 1
GRACEFUL_SECONDS = 5
START_SECONDS = 30
# When nothing comes in, a listener of oslo.messaging looks only every five seconds whether it has to end.
STOP_SECONDS = GRACEFUL_SECONDS + 5
NOOP = 'b766f37c-d011-4026-8228-28730d734a3f'
CLOUD = 'cf56bd3e-97a7-4078-b6d5-f36246333fd9'

CONFIGURATION = """\
[DEFAULT]
host = {host}
state_path = {folder}
use_stderr = false
transport_url = {broker}
provider_config_dir = {folder}/providers.d
osapi_karbor_listen = 127.0.0.1
osapi_karbor_listen_port = {port}
osapi_karbor_workers = {workers}
auth_strategy = {auth_strategy}
rpc_accept_timeout = {accept}
report_interval = {report}
graceful_shutdown_timeout = {graceful}
{options}

[database]
connection = {database}
"""

PROVIDERS = {
    'noop.conf': """\
[provider]
id = {noop}
name = noop
description = Protects nothing and succeeds
plugin = karbor-noop-protection-plugin
bank = karbor-fs-bank-plugin
enabled = true

[file_system_bank_plugin]
file_system_bank_path = {bank}
""",
    'shares.conf': """\
[provider]
id = {cloud}
name = shares
description = Shares and databases
plugin = karbor-share-protection-plugin
plugin = karbor-database-protection-plugin
bank = karbor-fs-bank-plugin
enabled = true

[file_system_bank_plugin]
file_system_bank_path = {bank}
""",
}


class Failure(Exception):
    """A process did not do what it was told to; with the end of its log."""


class Process:
    """One console script of Karbor, which may be started and ended several times."""

    def __init__(self, binary: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.binary, self.folder = binary, folder
        self.environment = {**os.environ, **environment}
        self.log_file = folder / f'{binary}.log'
        self.errors_file = folder / f'{binary}.errors'
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it may take a while until it serves."""
        command = [
            str(COMMANDS / self.binary),
            f'--config-file={self.folder}/karbor.conf',
            f'--log-file={self.log_file}',
        ]
        with open(self.errors_file, 'ab') as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, env=self.environment
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_started(self) -> bool:
        """Whether it was started, and not ended by `stop`."""
        return self._process is not None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def workers(self) -> list[int]:
        """The ids of the processes that do the work, in the order of their start."""
        found: list[str] = []
        for thread in Path(f'/proc/{self.pid}/task').iterdir():  # any of them may have started one
            with contextlib.suppress(FileNotFoundError):
                found += (thread / 'children').read_text().split()
        return sorted(map(int, found))

    def stop(self, seconds: float = STOP_SECONDS + 5) -> float:
        """End it by SIGTERM; the seconds that this took. Raises Failure when it ends late, or with another
        status than 0.
        """
        assert self._process is not None
        began, workers = time.monotonic(), self.workers
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._kill(workers)
            raise self._failure(f'was not ended {seconds} s after SIGTERM') from None
        if status != 0:
            self._kill(workers)
            raise self._failure(f'ended with status {status}')
        self._process = None
        return time.monotonic() - began

    def log(self) -> str:
        """What it has logged and printed."""
        files = (f for f in (self.log_file, self.errors_file) if f.exists())
        return ''.join(f.read_text(errors='replace') for f in files)

    def _kill(self, workers: list[int]) -> None:
        """The process, and those of its workers that are left without it."""
        assert self._process is not None
        for pid in [self._process.pid, *workers]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def _failure(self, what: str) -> Failure:
        return Failure(f'{self.binary} {what}:\n{self.log()[-6000:]}')


class Deployment:
    """The three processes on ``database`` and ``broker`` (URLs), with their state in ``folder``.

    With a ``sandbox`` tokens are checked by its Keystone and there is a provider for its services;
    without one everybody is an administrator. ``options`` are more lines of `[DEFAULT]`.
    """

    def __init__(
        self,
        folder: Path,
        database: str,
        broker: str,
        sandbox: Any = None,
        options: str = '',
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.database, self.sandbox = folder, database, sandbox
        self.host, self.port = f'karbor-{uuid.uuid4().hex[:12]}', free_port()
        (folder / 'providers.d').mkdir(parents=True)
        self._configure(broker, options)
        self.processes = {binary: Process(binary, folder, environment or {}) for binary in BINARIES}

    @property
    def url(self) -> str:
        """The root of the API."""
        return f'http://127.0.0.1:{self.port}'

    @property
    def bank(self) -> Path:
        return self.folder / 'bank'

    def manage(self, *arguments: str) -> str:
        """What `karbor-manage` prints. Raises Failure."""
        command = [str(COMMANDS / 'karbor-manage'), f'--config-file={self.folder}/karbor.conf', *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
        if done.returncode:
            raise Failure(f'karbor-manage {" ".join(arguments)}: {done.stderr}')
        return done.stdout

    @contextlib.contextmanager
    def running(self) -> Iterator['Deployment']:
        """Within the block the three processes serve; at its end each has to end in order."""
        self.manage('db', 'sync')
        with contextlib.ExitStack() as stack:
            for process in self.processes.values():
                process.start()
                stack.callback(self._end, process)
            self.until(self.answers, 'the API and the protection service answer')
            yield self

    def answers(self) -> bool:
        """Whether API and protection service do. Raises Failure when a process has ended by itself."""
        dead = [name for name, process in self.processes.items() if not process.is_running]
        if dead:
            raise Failure(f'{", ".join(dead)} ended by itself.\n{self.logs()}')
        try:
            return self._binds() > 0 and requests.get(self.url, timeout=5).status_code == 300
        except requests.ConnectionError:
            return False

    def start_protection(self) -> None:
        """It serves when this returns."""
        self.processes['karbor-protection'].start()
        known = self._binds()
        self.until(lambda: self._binds() > known, 'the protection service serves again')

    def until(self, is_so: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
        """What ``is_so`` returns once that is true. Raises Failure after ``seconds``, or when a process died."""
        end = time.monotonic() + seconds
        while not (found := is_so()):
            if time.monotonic() > end:
                raise Failure(f'It did not come to this: {what}.\n{self.logs()[-6000:]}')
            time.sleep(0.02)
        return found

    def logs(self) -> str:
        """The end of each process's log."""
        return '\n'.join(f'--- {name}\n{process.log()[-4000:]}' for name, process in self.processes.items())

    def _configure(self, broker: str, options: str) -> None:
        text = CONFIGURATION.format(
            host=self.host,
            folder=self.folder,
            broker=broker,
            port=self.port,
            workers=API_WORKERS,
            auth_strategy='keystone' if self.sandbox else 'noauth',
            accept=ACCEPT_SECONDS,
            report=REPORT_SECONDS,
            graceful=GRACEFUL_SECONDS,
            database=self.database,
            options=options,
        )
        if self.sandbox:
            text += standalone.CREDENTIALS.format(auth_url=self.sandbox.auth_url, user=self.sandbox.service_user)
        path = self.folder / 'karbor.conf'
        path.touch(mode=0o600)
        path.write_text(text)
        for name, provider in PROVIDERS.items():
            if self.sandbox or name == 'noop.conf':
                written = provider.format(noop=NOOP, cloud=CLOUD, bank=self.bank)
                (self.folder / 'providers.d' / name).write_text(written)

    def _binds(self) -> int:
        """How often the protection service said that it serves."""
        return self.processes['karbor-protection'].log().count('karbor-protection serves the providers')

    @staticmethod
    def _end(process: Process) -> None:
        if process.is_started:
            process.stop()


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]
