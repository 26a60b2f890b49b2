# SPDX-License-Identifier: Apache-2.0
"""Databases for tests: each made for one test and dropped after it.

Import the fixtures into a conftest.py. `database_url` and `database` come once for each of SQLite,
MariaDB and PostgreSQL, the servers under the marker `services`. A server that does not answer
fails the test where the environment has CI set, and skips it elsewhere.
"""

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from oslo_config import cfg

from karbor.conf import opts
from karbor.db import engine, migration

CONF = cfg.CONF

SERVERS = {
    'mariadb': 'mysql+pymysql://root@127.0.0.1:3306/mysql',
    'postgresql': 'postgresql+psycopg2://postgres@127.0.0.1:5432/postgres',
}
KINDS = ['sqlite', *(pytest.param(kind, marks=pytest.mark.services) for kind in SERVERS)]
MakeDatabase = Callable[[str], str]


@contextlib.contextmanager
def temporary(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a new, empty database of the ``kind`` sqlite (a file in ``folder``), mariadb or postgresql."""
    name = f'karbor_test_{uuid.uuid4().hex[:12]}'
    if kind == 'sqlite':
        yield f'sqlite:///{folder}/{name}.sqlite'
        return
    server = sa.create_engine(SERVERS[kind], isolation_level='AUTOCOMMIT', poolclass=sa.pool.NullPool)
    try:
        with server.connect() as connection:
            connection.execute(sa.text(f'CREATE DATABASE {name}'))
    except sa.exc.OperationalError as fault:
        _unreachable(kind, fault)
    try:
        yield server.url.set(database=name).render_as_string(hide_password=False)
    finally:
        engine.dispose()
        with server.connect() as connection:
            forced = ' WITH (FORCE)' if kind == 'postgresql' else ''
            connection.execute(sa.text(f'DROP DATABASE {name}{forced}'))


def _unreachable(kind: str, fault: Exception) -> None:
    text = f'{kind} does not answer: {fault}'
    if os.environ.get('CI'):
        pytest.fail(text)
    pytest.skip(text)


@contextlib.contextmanager
def connected(url: str) -> Iterator[None]:
    """The process uses the database ``url``, without tables being made there."""
    opts.register(CONF)
    CONF([], project='karbor', default_config_files=[], default_config_dirs=[])
    CONF.set_override('connection', url, 'database')
    engine.configure(CONF)
    try:
        yield
    finally:
        engine.dispose()
        CONF.clear_override('connection', 'database')


@pytest.fixture
def make_database(tmp_path: Path) -> Iterator[MakeDatabase]:
    """Call it with a kind to get the URL of a new, empty database."""
    with contextlib.ExitStack() as stack:
        yield lambda kind: stack.enter_context(temporary(kind, tmp_path))


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, make_database: MakeDatabase) -> Iterator[str]:
    """The URL of an empty database of each kind, that the process uses."""
    url = make_database(request.param)
    with connected(url):
        yield url


@pytest.fixture
def database(database_url: str) -> str:
    """The URL of a database of each kind, with all tables, that the process uses."""
    migration.sync()
    return database_url


@pytest.fixture
def sqlite_database(make_database: MakeDatabase) -> Iterator[str]:
    """The URL of an SQLite database with all tables, that the process uses."""
    url = make_database('sqlite')
    with connected(url):
        migration.sync()
        yield url
