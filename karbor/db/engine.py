# SPDX-License-Identifier: Apache-2.0
"""Transactions: `with writing() as session:` and `with reading() as session:`.

A block inside a block of the same thread joins it, so what several functions write together is
one transaction. On SQLite (WAL) writers begin immediately, so that they queue up for the busy
timeout instead of failing half-way; readers have an engine of their own and never wait.
"""

import contextlib
import functools
import os
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import sqlalchemy as sa
from oslo_config import cfg
from oslo_db import api as oslo_api
from oslo_db import exception as db_exception
from oslo_db.sqlalchemy import enginefacade
from sqlalchemy import dialects, orm

from karbor import exception

Result = TypeVar('Result')

BUSY_TIMEOUT_MS = 30_000
CONNECT_SECONDS = 10  # for a server that does not even refuse
# A host that has died while an answer is waited for is noticed by TCP after some fifteen seconds. A limit for the
# answer itself would end what may take long, as a migration of a large table does.
DEAD_HOST = {
    socket.TCP_KEEPIDLE: 5,
    socket.TCP_KEEPINTVL: 3,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 15_000,
}

# What a database says that is away, or has no time: it passes by itself. What else it refuses, it refuses again.
PASSING_FAULTS = (
    db_exception.DBConnectionError,
    db_exception.DBDeadlock,
    db_exception.RetryRequest,
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
    sa.exc.TimeoutError,
)


class _Carrier:
    """What enginefacade hangs its thread-local transactions on."""


class _State:
    facade: Any = None
    carrier = _Carrier()
    idle_seconds: float | None = None
    idle_statements: list[str] | None = None


def configure(conf: cfg.ConfigOpts) -> None:
    """Connect the process to `[database] connection`; the first use opens it. Called again, it starts anew."""
    dispose()
    facade = enginefacade.transaction_context()
    url = _url(conf)
    is_sqlite = url.startswith('sqlite')
    facade.configure(**{k: v for k, v in conf.database.items() if k in _FACADE_OPTIONS and v is not None})
    # What oslo.db does at each return of a connection is for green threads, and costs a tenth of a millisecond here.
    # A first use that finds no server fails, as any other does; a service waits by itself before it starts.
    facade.configure(thread_checkin=False, max_retries=0)
    facade.configure(connection=url, on_engine_create=[_prepare_sqlite if is_sqlite else _notice_dead_hosts])
    facade.configure(connection_parameters=_connection_parameters(conf))
    if is_sqlite:
        facade.configure(slave_connection=url, sqlite_fk=True)
    _State.facade, _State.carrier = facade, _Carrier()
    _State.idle_seconds = _State.idle_statements = None
    if is_sqlite:
        _write_ahead(sa.make_url(url).database)
        _begin_immediately(facade.writer.get_engine())


_FACADE_OPTIONS = frozenset(
    [
        'mysql_sql_mode',
        'mysql_wsrep_sync_wait',
        'connection_recycle_time',
        'max_pool_size',
        'max_overflow',
        'connection_debug',
        'connection_trace',
        'pool_timeout',
        'connection_parameters',
    ]
)


# SQLAlchemy would choose others, for what configurations of Karbor 1.6 say, than those that we install and ask for.
_DRIVERS = {'mysql': 'pymysql', 'mariadb': 'pymysql', 'postgresql': 'psycopg2'}


def _url(conf: cfg.ConfigOpts) -> str:
    """`[database] connection`, with a driver."""
    kind, separator, rest = conf.database.connection.partition('://')
    driver = _DRIVERS.get(kind)
    return f'{kind}+{driver}{separator}{rest}' if driver else conf.database.connection


def check(conf: cfg.ConfigOpts) -> None:
    """Raise ConfigurationError if `[database] connection` is no URL, or its driver is not installed."""
    try:
        sa.make_url(_url(conf)).get_dialect().import_dbapi()
    except (sa.exc.ArgumentError, ImportError) as fault:
        reason = f'nothing can be made of [database] connection: {fault}'
        raise exception.ConfigurationError(reason=reason) from fault


def _connection_parameters(conf: cfg.ConfigOpts) -> str:
    """Those of the configuration, and ours where it does not name them.

    oslo.db would talk to MySQL in characters of three bytes at most.
    """
    url, given = sa.make_url(_url(conf)), conf.database.connection_parameters
    known = url.update_query_string(given, append=True) if given else url
    mysql = {'charset': 'utf8mb4', 'connect_timeout': str(CONNECT_SECONDS)}
    ours: dict[str, dict[str, str]] = {
        'sqlite': {'plugin': _PooledSqlite.NAME},
        'mysql': mysql,
        'mariadb': mysql,
        'postgresql': {'connect_timeout': str(CONNECT_SECONDS)},
    }
    added = ours.get(url.get_backend_name(), {})
    return '&'.join(filter(None, (given, *(f'{k}={v}' for k, v in added.items() if k not in known.query))))


def dispose() -> None:
    """Close what is pooled, for a process that ends or a fork that begins."""
    if _State.facade is not None:
        _State.facade.dispose_pool()
        _State.facade = None


def _close_idle() -> None:
    """No connection may be open on both sides of a fork: SQLite would lose its locks."""
    if _State.facade is not None:
        _State.facade.dispose_pool()


os.register_at_fork(before=_close_idle)


def engine() -> sa.Engine:
    """The writers' engine, for migrations."""
    return _State.facade.writer.get_engine()


def writing() -> AbstractContextManager[orm.Session]:
    """A session whose block is committed as one transaction, or rolled back as one."""
    return _State.facade.writer.using(_State.carrier)


def reading() -> AbstractContextManager[orm.Session]:
    """A session that only reads; inside a `writing` block, that block's."""
    return _State.facade.reader.async_.using(_State.carrier)


def cut_idle_transactions(seconds: float) -> None:
    """From now on the database ends a transaction of this process that is idle for longer than ``seconds``.

    A worker that is frozen within one would keep its locks, and so whoever takes over, for as long.
    SQLite, which has one host only, cannot do it.
    """
    writers = engine()
    name = writers.dialect.name
    if name == 'sqlite' or _State.idle_seconds == seconds:
        return
    whole, milliseconds = max(1, int(seconds)), max(1000, int(seconds * 1000))
    if name == 'postgresql':
        statements = [f'SET SESSION idle_in_transaction_session_timeout = {milliseconds}']
    elif getattr(writers.dialect, 'is_mariadb', False):
        statements = [f'SET SESSION {name} = {whole}' for name in _MARIADB_IDLE]
    else:  # MySQL ends any idle connection. Those in the pool are asked before each use whether they live.
        statements = [f'SET SESSION wait_timeout = {whole}']
    if _State.idle_statements is None:
        sa.event.listen(writers, 'connect', _set_idle_time)
    _State.idle_seconds, _State.idle_statements = seconds, statements
    writers.dispose()


_MARIADB_IDLE = ('idle_transaction_timeout', 'idle_write_transaction_timeout', 'idle_readonly_transaction_timeout')


def _set_idle_time(connection: Any, record: Any) -> None:
    with contextlib.closing(connection.cursor()) as cursor:
        for statement in _State.idle_statements or ():
            cursor.execute(statement)
    connection.commit()  # PostgreSQL would take the setting back with a rollback


def repeated(transaction: Callable[..., Result]) -> Callable[..., Result]:
    """``transaction``, a function that is one whole transaction, begun again after a deadlock or a lost connection."""
    retry = oslo_api.wrap_db_retry(
        max_retries=6,
        retry_interval=0.02,
        inc_retry_interval=True,
        jitter=True,
        retry_on_deadlock=True,
        retry_on_disconnect=True,
    )
    return functools.wraps(transaction)(retry(transaction))


class _PooledSqlite(sa.engine.CreateEnginePlugin):
    """Keeps connections to SQLite open, where oslo.db would open one for each session.

    A writer may have to wait for another, so that no number of connections is too many.
    """

    NAME = 'karbor_pooled_sqlite'

    def __init__(self, url: sa.URL, kwargs: dict[str, Any]) -> None:
        if kwargs.get('poolclass') is sa.pool.NullPool:
            kwargs.update(poolclass=sa.pool.QueuePool, pool_size=16, max_overflow=-1)

    def update_url(self, url: sa.URL) -> sa.URL:
        return url.difference_update_query(['plugin'])


dialects.plugins.register(_PooledSqlite.NAME, __name__, _PooledSqlite.__name__)


def _notice_dead_hosts(made: sa.Engine) -> None:
    @sa.event.listens_for(made, 'connect')
    def _connect(connection: Any, record: Any) -> None:
        """PyMySQL has no parameters for it; the same way goes for PostgreSQL, too."""
        handle = connection.fileno() if made.dialect.name == 'postgresql' else connection._sock.fileno()
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(handle)) as connected:  # or a Unix socket
            if connected.family != socket.AF_UNIX:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for option, value in DEAD_HOST.items():
                    connected.setsockopt(socket.IPPROTO_TCP, option, value)

    made.dispose()  # of the connection that oslo.db has tried the server with


def _prepare_sqlite(sqlite: sa.Engine) -> None:
    @sa.event.listens_for(sqlite, 'connect')
    def _connect(connection: Any, record: Any) -> None:
        connection.execute(f'PRAGMA busy_timeout={BUSY_TIMEOUT_MS}')
        connection.execute('PRAGMA synchronous=FULL')


def _write_ahead(path: str | None) -> None:
    """Switch the file to WAL, which it stays in: set by each connection, the switch would collide with a writer."""
    if not path or path == ':memory:':
        return
    try:
        opened = sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000)
    except sqlite3.Error as fault:
        raise type(fault)(f'{fault}: {path}') from None
    with contextlib.closing(opened) as connection:
        for _ in range(100):
            with contextlib.suppress(sqlite3.OperationalError):
                connection.execute('PRAGMA journal_mode=WAL')
                return
            time.sleep(0.05)
        connection.execute('PRAGMA journal_mode=WAL')


def _begin_immediately(sqlite: sa.Engine) -> None:
    """oslo.db would send its own BEGIN, which takes the lock too late: let it believe that it did."""

    @sa.event.listens_for(sqlite, 'checkout')
    def _checkout(connection: Any, record: Any, proxy: Any) -> None:
        record.info['in_transaction'] = True

    @sa.event.listens_for(sqlite, 'rollback')
    @sa.event.listens_for(sqlite, 'commit')
    def _end(connection: sa.Connection) -> None:
        connection.info['in_transaction'] = True

    @sa.event.listens_for(sqlite, 'begin')
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql('BEGIN IMMEDIATE')
