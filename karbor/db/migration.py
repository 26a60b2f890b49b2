# SPDX-License-Identifier: Apache-2.0
"""The schema of the process's database: which revision it is at, and how it gets to another.

A whole `sync` is one transaction under a lock of the database, so that several processes may call
it at once. (MySQL commits after each statement; the revisions may be repeated there.)
"""

import contextlib
import pathlib
import warnings
from collections.abc import Callable, Iterator

import sqlalchemy as sa
from alembic import command, config
from alembic.script import ScriptDirectory
from oslo_utils import timeutils, uuidutils

from karbor.db import engine, models

FIRST = '001'  # the schema of Karbor 1.6
LAST_OF_1_6 = 3

LOCK_TIMEOUT = 600
_POSTGRESQL_LOCK = 0x6B6172626F72  # "karbor"


class SchemaError(Exception):
    """The database cannot be brought to the revision; the text tells an operator what to do."""


def sync(revision: str = 'head') -> None:
    """Bring the database to ``revision``, a later one than it has, and give it its `installation` row.

    A database of Karbor 1.6 (`migrate_version` 3) is upgraded in place. Raises SchemaError for an
    older one, for one that is newer than this Karbor, and for a revision that does not exist.
    """
    known = _script()
    target = known.get_current_head() if revision == 'head' else revision
    if target not in _revisions(known):
        raise SchemaError(f'There is no revision {revision}; there are {", ".join(_revisions(known))}.')
    with _locked() as connection:
        current = _current(connection)
        if current is None and _is_karbor_1_6(connection):
            _alembic(connection, command.stamp, FIRST)
            current = FIRST
        _check_direction(known, current, str(target))
        _alembic(connection, command.upgrade, str(target))
        _make_installation(connection)


def version() -> str | None:
    """The revision that the database is at; None before the first `sync`, also for a database of Karbor 1.6."""
    with engine.engine().connect() as connection:
        return _current(connection)


def head() -> str:
    """The revision that this Karbor needs."""
    return str(_script().get_current_head())


def version_of_1_6() -> int | None:
    """The last migration of Karbor 1.x that the database has seen; None where it never was one of Karbor 1.x."""
    with engine.engine().connect() as connection:
        return _migrate_version(connection)


def check_upgradable() -> None:
    """Return if `sync` can bring the database to the revision of this Karbor; else SchemaError says why."""
    with engine.engine().connect() as connection:
        current = _current(connection)
        if current is None:
            _is_karbor_1_6(connection)
        else:
            _check_direction(_script(), current, head())


def _config() -> config.Config:
    made = config.Config()
    made.set_main_option('script_location', str(pathlib.Path(__file__).parent / 'migrations').replace('%', '%%'))
    return made


def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _revisions(script: ScriptDirectory) -> list[str]:
    return sorted(r.revision for r in script.walk_revisions())


def _alembic(connection: sa.Connection, action: Callable[[config.Config, str], None], revision: str) -> None:
    made = _config()
    made.attributes['connection'] = connection
    with warnings.catch_warnings():
        # SQLite: a table that is made anew loses the CHECKs of 1.6 on booleans, as it should.
        warnings.filterwarnings('ignore', 'Unnamed CHECK constraint')
        action(made, revision)


def _current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table('alembic_version'):
        return None
    return connection.scalar(sa.select(sa.column('version_num')).select_from(sa.table('alembic_version')))


def _check_direction(script: ScriptDirectory, current: str | None, target: str) -> None:
    revisions = _revisions(script)
    if current is not None and current not in revisions:
        raise SchemaError(f'The database is at revision {current}, which is newer than this Karbor (at most {head()}).')
    if current is not None and revisions.index(current) > revisions.index(target):
        raise SchemaError(
            f'The database is at revision {current}; going back to {target} is not supported: restore a backup.'
        )


def _is_karbor_1_6(connection: sa.Connection) -> bool:
    """Whether Karbor 1.6 made the tables of this database; SchemaError if they are of something else or too old."""
    found = _migrate_version(connection)
    if found is None:
        if sa.inspect(connection).has_table('plans'):
            raise SchemaError(
                'The database has tables but neither `alembic_version` nor `migrate_version`: it is not one of'
                ' Karbor. Use an empty database, or restore a backup of one of Karbor.'
            )
        return False
    if found != LAST_OF_1_6:
        raise SchemaError(
            f'The database is at migration {found} of Karbor 1.x; it has to be at {LAST_OF_1_6}. Run `karbor-manage'
            ' db sync` of the last Karbor 1.x first, then that of this one.'
        )
    return True


def _migrate_version(connection: sa.Connection) -> int | None:
    if not sa.inspect(connection).has_table('migrate_version'):
        return None
    table = sa.table('migrate_version', sa.column('repository_id'), sa.column('version'))
    return connection.scalar(sa.select(table.c.version).where(table.c.repository_id == 'karbor'))


def _make_installation(connection: sa.Connection) -> None:
    table = sa.inspect(connection).has_table(models.Installation.__tablename__)
    if table and connection.scalar(sa.select(models.Installation.id)) is None:
        row = {'id': uuidutils.generate_uuid(), 'created_at': timeutils.utcnow()}
        connection.execute(sa.insert(models.Installation).values(row))


@contextlib.contextmanager
def _locked() -> Iterator[sa.Connection]:
    """A connection in a transaction that no other `sync` of this database runs beside."""
    with engine.engine().connect() as connection:
        match connection.dialect.name:
            case 'sqlite':
                within = _locked_sqlite(connection)
            case 'postgresql':
                within = _locked_postgresql(connection)
            case _:
                within = _locked_mysql(connection)
        with within:
            yield connection


@contextlib.contextmanager
def _locked_sqlite(connection: sa.Connection) -> Iterator[None]:
    """The transaction is the lock. Tables are made anew and renamed, which foreign keys would take for deletions."""
    driver = connection.connection.dbapi_connection
    assert driver is not None
    driver.execute('PRAGMA foreign_keys=OFF')
    try:
        with connection.begin():
            yield
            broken = connection.exec_driver_sql('PRAGMA foreign_key_check').first()
            if broken is not None:
                raise SchemaError(f'Row {broken[1]} of {broken[0]} refers to a row of {broken[2]} that does not exist.')
    finally:
        driver.execute('PRAGMA foreign_keys=ON')


@contextlib.contextmanager
def _locked_postgresql(connection: sa.Connection) -> Iterator[None]:
    with connection.begin():
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_POSTGRESQL_LOCK)))
        yield


@contextlib.contextmanager
def _locked_mysql(connection: sa.Connection) -> Iterator[None]:
    """Names of locks hold for the whole server, and are short."""
    name = sa.func.sha1(sa.func.concat('karbor db sync ', sa.func.database()))
    if connection.scalar(sa.select(sa.func.get_lock(name, LOCK_TIMEOUT))) != 1:
        raise SchemaError(f'Another `db sync` of this database has been running for {LOCK_TIMEOUT} s.')
    try:
        connection.commit()
        with connection.begin():
            yield
    finally:
        connection.rollback()
        connection.scalar(sa.select(sa.func.release_lock(name)))
        connection.commit()
