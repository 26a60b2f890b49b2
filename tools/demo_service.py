# SPDX-License-Identifier: Apache-2.0
"""karbor-standalone with its sandbox cloud as a process: started, logged in to, and stopped again."""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from karborclient import client as karbor_client
from keystoneauth1 import session
from keystoneauth1.identity import v3

# Where the commands of this environment are: karbor-standalone, karbor.
COMMANDS = Path(sys.executable).parent
READY_SECONDS = 30
STOP_SECONDS = 10
TAIL_LINES = 20
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class NotStarted(Exception):
    """The service ended, or took too long, before it said that it is ready."""


class Service:
    """A service that runs within a `with` block; its state is in a temporary directory and goes with it.

    `ready` is the line that it prints when it is ready: where Karbor and Keystone are, users, providers.
    """

    def __init__(self, port: int = 0) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix='karbor-', ignore_cleanup_errors=True)
        self.directory = Path(self._directory.name)
        # Where stevedore, and what else keeps a cache, leaves its files.
        self._environment = os.environ | {'XDG_CACHE_HOME': f'{self.directory}/cache'}
        self._port = port
        self.process: subprocess.Popen[str] | None = None
        self.ready: dict[str, Any] = {}

    def __enter__(self) -> 'Service':
        try:
            self._start()
        except BaseException:  # whatever it is, it is raised again: no process must be left
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process and remove its state; another Ctrl-C does not disturb it."""
        for number in ENDINGS:
            signal.signal(number, signal.SIG_IGN)
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._directory.cleanup()

    def user(self, name: str) -> dict[str, Any]:
        """Name, password, project, project_id and roles of a user of the sandbox."""
        return next(user for user in self.ready['users'] if user['name'] == name)

    def session(self, name: str) -> session.Session:
        """A Keystone session of the user in its project."""
        user = self.user(name)
        password = v3.Password(
            self.ready['auth_url'],
            username=name,
            password=user['password'],
            user_domain_id='default',
            project_id=user['project_id'],
        )
        return session.Session(password)

    def client(self, name: str) -> Any:
        """python-karborclient as the user."""
        endpoint = f'{self.ready["karbor"]}/{self.user(name)["project_id"]}'
        return karbor_client.Client('1', endpoint, session=self.session(name))

    def credentials(self, name: str) -> dict[str, str]:
        """The environment variables with which OpenStack's commands log in as the user."""
        user = self.user(name)
        return {
            'OS_AUTH_URL': self.ready['auth_url'],
            'OS_USERNAME': name,
            'OS_PASSWORD': user['password'],
            'OS_PROJECT_NAME': user['project'],
            'OS_USER_DOMAIN_ID': 'default',
            'OS_PROJECT_DOMAIN_ID': 'default',
        }

    def shell(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command `karbor` with these arguments, as the user, after it has ended."""
        others = {key: value for key, value in self._environment.items() if not key.startswith('OS_')}
        return subprocess.run(
            [COMMANDS / 'karbor', *arguments],
            env=others | self.credentials(name),
            capture_output=True,
            text=True,
            timeout=READY_SECONDS,
            check=False,
        )

    def last_words(self) -> str:
        """The last lines that the service has logged, or written to standard error."""
        return '\n'.join(self._log().splitlines()[-TAIL_LINES:])

    def keep_log(self) -> Path:
        """A copy of the log that stays when the service is gone."""
        with tempfile.NamedTemporaryFile('w', prefix='karbor-', suffix='.log', delete=False) as kept:
            kept.write(self._log())
        return Path(kept.name)

    def _log(self) -> str:
        return ''.join(file.read_text(errors='replace') for file in sorted(self.directory.rglob('*.log')))

    def _start(self) -> None:
        command = [str(COMMANDS / 'karbor-standalone'), '--sandbox', '--port', str(self._port)]
        # A session of its own: Ctrl-C is for whoever started it, who then ends it in order.
        with open(self.directory / 'standard-error.log', 'w') as errors:
            self.process = subprocess.Popen(
                [*command, '--state-dir', str(self.directory / 'state')],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self._environment,
                text=True,
                start_new_session=True,
            )
        self.ready = json.loads(self._first_line() or 'null') or {}
        if not self.ready:
            raise NotStarted(self.last_words() or 'it said nothing')

    def _first_line(self) -> str:
        assert self.process and self.process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            return self.process.stdout.readline() if selector.select(READY_SECONDS) else ''


def spare_proxies() -> None:
    """Let nothing that this process starts or asks take a proxy to the loopback."""
    for name in ('no_proxy', 'NO_PROXY'):
        os.environ[name] = ','.join(filter(None, [os.environ.get(name), '127.0.0.1', 'localhost']))


def stop_at_sigterm() -> None:
    """Let SIGTERM, and a terminal that is closed, end this process as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for number in ENDINGS:
        signal.signal(number, interrupt)
