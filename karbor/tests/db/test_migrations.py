# SPDX-License-Identifier: Apache-2.0
import multiprocessing
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import autogenerate
from alembic.runtime import migration as runtime

from karbor.db import engine, migration, models, repository
from karbor.tests import databases
from karbor.tests.db import karbor_1_6

_BOOKKEEPING = {'migrate_version', 'alembic_version'}
KINDS_OF_1_6 = ['sqlite', pytest.param('mariadb', marks=pytest.mark.services)]


def _described(url: str) -> dict[str, Any]:
    """All that the database knows of its tables, but for the order of indexes."""
    made = sa.create_engine(url, poolclass=sa.pool.NullPool)
    inspector = sa.inspect(made)
    return {t: _table(inspector, t) for t in inspector.get_table_names() if t not in _BOOKKEEPING}


def _table(inspector: sa.Inspector, name: str) -> dict[str, Any]:
    options = {k: v for k, v in inspector.get_table_options(name).items() if 'auto_increment' not in k}
    return {
        'columns': [(c['name'], str(c['type']), c['nullable'], c['default']) for c in inspector.get_columns(name)],
        'key': inspector.get_pk_constraint(name)['constrained_columns'],
        'foreign keys': sorted(str(sorted(f.items(), key=str)) for f in inspector.get_foreign_keys(name)),
        'indexes': sorted((i['name'], i['column_names'], i['unique']) for i in inspector.get_indexes(name)),
        'unique': sorted(u['name'] or '' for u in inspector.get_unique_constraints(name)),
        'checks': sorted(c['sqltext'] for c in inspector.get_check_constraints(name)),
        'options': options,
    }


@pytest.mark.parametrize('kind', KINDS_OF_1_6)
def test_first_revision_is_the_schema_of_1_6_when_the_database_is_empty(make_database, kind):
    ours, theirs = make_database(kind), make_database(kind)
    karbor_1_6.load(theirs)
    with databases.connected(ours):
        migration.sync(migration.FIRST)
    described = _described(theirs)
    assert len(described) == 16
    assert _described(ours) == described


def test_models_and_migrations_agree_when_the_database_is_at_head(database):
    with engine.engine().connect() as connection:
        options = {'compare_type': True, 'compare_server_default': True}
        context = runtime.MigrationContext.configure(connection, opts=options)
        assert autogenerate.compare_metadata(context, models.Base.metadata) == []
    assert migration.version() == migration.head()


@pytest.mark.parametrize('kind', KINDS_OF_1_6)
def test_models_and_migrations_agree_when_a_database_of_1_6_was_upgraded(make_database, kind):
    fresh, old = make_database(kind), make_database(kind)
    karbor_1_6.load(old, rows=karbor_1_6.ROWS)
    for url in (fresh, old):
        with databases.connected(url):
            migration.sync()
    assert _described(old) == _described(fresh)


def test_sync_stops_at_a_revision_and_goes_on_later_when_one_is_named(database_url):
    assert migration.version() is None
    migration.sync('002')
    assert migration.version() == '002'
    migration.sync()
    assert migration.version() == migration.head()


def test_installation_keeps_its_id_when_sync_is_repeated(database):
    first = repository.find(models.Installation)
    migration.sync()
    assert [row.id for row in repository.find(models.Installation)] == [row.id for row in first]
    assert len(first) == 1


@pytest.mark.parametrize('migrated_to', [1, 2])
def test_sync_says_what_to_do_when_the_database_is_older_than_1_6(make_database, migrated_to):
    url = make_database('sqlite')
    karbor_1_6.load(url, migrated_to)
    with databases.connected(url):
        with pytest.raises(migration.SchemaError, match=f'migration {migrated_to} .* of the last Karbor 1.x first'):
            migration.sync()
        assert migration.version() is None
        assert migration.version_of_1_6() == migrated_to


def test_sync_refuses_when_the_tables_are_of_something_else(make_database):
    url = make_database('sqlite')
    karbor_1_6.load(url)
    with databases.connected(url):
        with engine.engine().begin() as connection:
            connection.execute(sa.text('DROP TABLE migrate_version'))
        with pytest.raises(migration.SchemaError, match='not one of Karbor'):
            migration.sync()


def test_sync_refuses_when_the_database_is_newer(sqlite_database):
    with engine.engine().begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '999'"))
    with pytest.raises(migration.SchemaError, match='newer'):
        migration.sync()


@pytest.mark.parametrize('revision', ['001', '012', ''])
def test_sync_refuses_when_the_revision_is_unknown_or_earlier(sqlite_database, revision):
    with pytest.raises(migration.SchemaError):
        migration.sync(revision)


def test_nothing_is_changed_when_a_sync_fails_on_sqlite(make_database):
    url = make_database('sqlite')
    orphan = karbor_1_6.ROWS['resources'][0] | {'plan_id': 'nowhere'}
    karbor_1_6.load(url, rows={'resources': [orphan]})
    before = _described(url)
    with databases.connected(url):
        with pytest.raises(migration.SchemaError, match='resources .* plans'):
            migration.sync()
        assert migration.version() is None
    assert _described(url) == before


@pytest.mark.parametrize('noted', ['001', '002', '003'])
@pytest.mark.parametrize('kind', KINDS_OF_1_6)
def test_sync_finishes_when_an_earlier_one_broke_off(make_database, kind, noted):
    """What MySQL has after a crash in the middle: tables and columns of a revision that is not noted yet."""
    url = make_database(kind)
    with databases.connected(url):
        migration.sync()
        expected = _described(url)
        with engine.engine().begin() as connection:
            connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{noted}'"))
        migration.sync()
        assert migration.version() == migration.head()
    assert _described(url) == expected


def _sync(url: str, gate: Any, results: Any) -> None:
    with databases.connected(url):
        gate.wait()
        migration.sync()
        results.put([row.id for row in repository.find(models.Installation)])


def test_processes_do_no_harm_when_they_sync_at_once(database_url):
    engine.dispose()
    fork = multiprocessing.get_context('fork')
    gate, results = fork.Barrier(3), fork.Queue()
    processes = [fork.Process(target=_sync, args=(database_url, gate, results)) for _ in range(3)]
    for process in processes:
        process.start()
    seen = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(30)
    assert [p.exitcode for p in processes] == [0, 0, 0]
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]) == 1


def test_rows_get_a_time_of_creation_when_they_have_none(database_url):
    migration.sync('004')
    plans = sa.table('plans', *map(sa.column, ('id', 'project_id', 'updated_at', 'deleted')))
    with engine.writing() as session:
        for id, updated in (('a', None), ('b', '2020-02-02 00:00:00')):
            session.execute(plans.insert().values(id=id, project_id='p', updated_at=updated, deleted=False))
    migration.sync()
    found = {row.id: str(row.created_at) for row in repository.find(models.Plan)}
    assert found == {'a': '1970-01-01 00:00:00', 'b': '2020-02-02 00:00:00'}
