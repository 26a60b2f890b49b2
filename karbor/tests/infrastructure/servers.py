# SPDX-License-Identifier: Apache-2.0
"""Servers of a test's own, on ports of their own, which may be killed and started again: RabbitMQ, MariaDB, PostgreSQL.

Each keeps its data in a folder below /tmp, which its user may enter, and runs as a child of the test.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from karbor.tests.services.deployment import free_port

START_SECONDS = 60


class Missing(Exception):
    """The server is not installed here; the text says how it is."""


class Server:
    """A process that listens on ``port``, once `start` has returned, until `kill` or `stop`."""

    user: str | None = None  # who runs it when the test is root, which the server refuses

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', self.port), 1):
            return True
        return False

    def launch(self) -> None:
        """Start it; it may take a while until it is there."""
        with open(self.folder / 'log', 'ab') as log:
            self.process = subprocess.Popen(
                self.command(),
                env={**os.environ, **self.environment()},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=_id(self.user),
            )

    def start(self) -> None:
        """It is there when this returns."""
        self.launch()
        self.until_ready()

    def until_ready(self) -> None:
        assert self.process is not None
        end = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(f'{type(self).__name__} does not start:\n{self.log()[-3000:]}')
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As an operator stops it."""
        self._end(signal.SIGTERM)

    def log(self) -> str:
        return (self.folder / 'log').read_text(errors='replace')

    def _end(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class RabbitMQ(Server):
    """A node with no plugin. Its name service, epmd, is its own, too: the machine's would outlive the test."""

    SCRIPT = '/usr/lib/rabbitmq/bin/rabbitmq-server'  # the one in PATH insists on the machine's own folders

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if not Path(self.SCRIPT).exists():
            raise Missing('apt-get install rabbitmq-server')
        self.names = _Epmd(folder)
        self.names.start()
        self.distribution = free_port()
        (folder / 'plugins').write_text('[].')
        (folder / 'home').mkdir()

    @property
    def url(self) -> str:
        return f'rabbit://guest:guest@127.0.0.1:{self.port}/'

    def command(self) -> list[str]:
        return [self.SCRIPT]

    def environment(self) -> dict[str, str]:
        named = {
            'NODENAME': f'karbor-{self.port}@localhost',
            'NODE_IP_ADDRESS': '127.0.0.1',
            'NODE_PORT': self.port,
            'DIST_PORT': self.distribution,
            'MNESIA_BASE': self.folder / 'mnesia',
            'LOG_BASE': self.folder,
            'LOGS': '-',
            'ENABLED_PLUGINS_FILE': self.folder / 'plugins',
            'CONFIG_FILE': self.folder / 'rabbitmq',
            'CONF_ENV_FILE': '/dev/null',
            'PID_FILE': self.folder / 'pid',
            'SERVER_ADDITIONAL_ERL_ARGS': '+S 1:1 +sbwt none',
        }
        found = {f'RABBITMQ_{name}': str(value) for name, value in named.items()}
        return found | self.names.environment() | {'HOME': str(self.folder / 'home')}

    def is_ready(self) -> bool:
        return super().is_ready() and ' completed with ' in self.log().rpartition('Starting broker')[2]

    def _end(self, number: int) -> None:
        """The script's child is the node: it does not end with the script."""
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.folder / 'pid').read_text()), number)
        super()._end(number)


class _Epmd(Server):
    def command(self) -> list[str]:
        return ['epmd']

    def environment(self) -> dict[str, str]:
        return {'ERL_EPMD_PORT': str(self.port), 'ERL_EPMD_ADDRESS': '127.0.0.1'}


class Database(Server):
    """A server with an empty database ``karbor``."""

    admin: str
    url: str

    def install(self) -> None:
        """Make its data."""
        raise NotImplementedError

    def create(self) -> None:
        with contextlib.closing(sa.create_engine(self.admin, isolation_level='AUTOCOMMIT').connect()) as connection:
            connection.execute(sa.text('CREATE DATABASE karbor'))

    def is_ready(self) -> bool:
        made = sa.create_engine(self.admin, poolclass=sa.pool.NullPool)
        with contextlib.suppress(sa.exc.SQLAlchemyError), made.connect():
            return True
        return False


class MariaDB(Database):
    user = 'mysql'
    LIST = "SELECT id FROM information_schema.processlist WHERE db = 'karbor'"
    CUT = 'KILL %d'

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if not shutil.which('mariadbd'):
            raise Missing('apt-get install mariadb-server')
        self.data = folder / 'data'
        self.admin = f'mysql+pymysql://root@127.0.0.1:{self.port}/mysql'
        self.url = f'mysql+pymysql://root@127.0.0.1:{self.port}/karbor'

    def install(self) -> None:
        command = ['mariadb-install-db', '--no-defaults', f'--datadir={self.data}', '--skip-test-db']
        _run([*command, '--auth-root-authentication-method=normal', f'--user={self.user}'])

    def command(self) -> list[str]:
        return [
            'mariadbd',
            '--no-defaults',
            f'--user={self.user}',
            f'--datadir={self.data}',
            f'--port={self.port}',
            '--bind-address=127.0.0.1',
            f'--socket={self.folder}/socket',
            f'--pid-file={self.folder}/pid',
            '--skip-name-resolve',
        ]


class PostgreSQL(Database):
    user = 'postgres'
    LIST = "SELECT pid FROM pg_stat_activity WHERE datname = 'karbor'"
    CUT = 'SELECT pg_terminate_backend(%d)'

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        found = sorted(Path('/usr/lib/postgresql').glob('*/bin/postgres'))
        if not found:
            raise Missing('apt-get install postgresql')
        self.binaries = found[-1].parent
        self.data = folder / 'data'
        self.admin = f'postgresql+psycopg2://postgres@127.0.0.1:{self.port}/postgres'
        self.url = f'postgresql+psycopg2://postgres@127.0.0.1:{self.port}/karbor'

    def install(self) -> None:
        command = [str(self.binaries / 'initdb'), '-D', str(self.data), '-A', 'trust', '-E', 'UTF8', '--locale=C']
        _run([*command, '--no-sync'], user=self.user)

    def command(self) -> list[str]:
        options = ['-p', str(self.port), '-k', str(self.folder), '-c', 'listen_addresses=127.0.0.1']
        return [str(self.binaries / 'postgres'), '-D', str(self.data), *options]

    def stop(self) -> None:
        self._end(signal.SIGINT)  # SIGTERM would wait for its clients


class Connections:
    """The connections of others to the database `karbor` of a server, to be cut."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.engine = sa.create_engine(server.admin, isolation_level='AUTOCOMMIT', poolclass=sa.pool.StaticPool)
        self.cut = 0

    def cut_all(self) -> None:
        with self.engine.connect() as connection:
            for (id,) in connection.execute(sa.text(self.server.LIST)).all():
                with contextlib.suppress(sa.exc.SQLAlchemyError):  # it is gone by itself
                    connection.execute(sa.text(self.server.CUT % id))
                    self.cut += 1

    def cut_until(self, is_over: Callable[[], Any], pause: float) -> None:
        """Cut all of them every ``pause`` seconds."""
        while not is_over():
            self.cut_all()
            time.sleep(pause)


@contextlib.contextmanager
def running(kind: type[Any]) -> Iterator[Any]:
    """A server of the ``kind``, a database with `karbor` in it; gone afterwards. Raises Missing."""
    with folder_for(kind.user) as folder:
        server = kind(folder)
        try:
            if isinstance(server, Database):
                server.install()
            server.start()
            if isinstance(server, Database):
                server.create()
            yield server
        finally:
            server.kill()
            if isinstance(server, RabbitMQ):
                server.names.kill()


@contextlib.contextmanager
def folder_for(user: str | None) -> Iterator[Path]:
    """A temporary folder of the user."""
    folder = Path(tempfile.mkdtemp(prefix='karbor-server-'))
    try:
        give(folder, user)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def give(folder: Path, user: str | None) -> None:
    """Make the folder the user's, who will run the server."""
    if user and _id(user) is not None:
        shutil.chown(folder, user)


def _id(user: str | None) -> int | None:
    """The user to become: None for staying who one is."""
    return pwd.getpwnam(user).pw_uid if user and os.getuid() == 0 else None


def _run(command: list[str], user: str | None = None) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=START_SECONDS, user=_id(user), cwd='/')
