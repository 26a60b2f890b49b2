# SPDX-License-Identifier: Apache-2.0
"""Lists of 100,000 rows: a page reads few of them, whatever its sort, its filter and its place, on each database.

The rows that the database reads for a page are counted: a sort that no index has, or a filter that none finds, reads
them all.
"""

import hashlib
import itertools
import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from karbor.api import v1
from karbor.api.listing import QUERY, TENANTS
from karbor.db import engine, models
from karbor.tests import databases, fixtures
from karbor.tests.fixtures import OTHER, PROJECT, PROVIDER, Service, token

pytestmark = pytest.mark.services

ROWS, LIMIT = 100_000, 20
MOST = 10 * LIMIT  # rows of a page: those of its items, their parts, and what a range reads beyond
FEW = '33333333-2222-4333-8444-555555555555'  # a project with every hundredth row
MIDDLE = ROWS // 2 + 3

# SQL of what stands in the columns of row `seq`, where MariaDB and PostgreSQL have the same; `#` is the id of a row.
_STATUS = "CASE WHEN MOD(seq, 1000) = 7 THEN '{0}' WHEN MOD(seq, 3) = 0 THEN '{1}' ELSE '{2}' END"
_NAME = "CONCAT('name ', MOD(seq * 7919, 5003))"
_COMMON = {
    'id': '#',
    'deleted': 'MOD(seq, 50) = 49',
    'project_id': f"CASE WHEN MOD(seq, 100) = 1 THEN '{FEW}' WHEN MOD(seq, 10) = 2 THEN '{OTHER}' ELSE '{PROJECT}' END",
}
_OF_CHECKPOINT = {'provider_id': f"'{PROVIDER}'", 'checkpoint_id': '#20'}

# table -> (path of its list, columns, a value for each exact filter)
LISTS: dict[str, tuple[str, dict[str, str], dict[str, list[str]]]] = {
    'plans': (
        '/plans',
        {'name': _NAME, 'description': _NAME, 'status': _STATUS.format('rare', 'started', 'suspended')},
        {'status': ['started', 'rare', 'none']},
    ),
    'restores': (
        '/restores',
        _OF_CHECKPOINT | {'status': _STATUS.format('in_progress', 'fail', 'success')},
        {'status': ['success', 'in_progress'], 'provider_id': [PROVIDER, 'none'], 'checkpoint_id': ['#20', 'none']},
    ),
    'verifications': (
        '/verifications',
        _OF_CHECKPOINT | {'status': _STATUS.format('in_progress', 'fail', 'success')},
        {'status': ['success', 'in_progress'], 'provider_id': [PROVIDER, 'none'], 'checkpoint_id': ['#20', 'none']},
    ),
    'operation_logs': (
        '/operation_logs',
        {
            **_OF_CHECKPOINT,
            'plan_id': '#20',
            'restore_id': '#',
            'verification_id': '#',
            'scheduled_operation_id': '#20',
            'operation_type': "CASE WHEN MOD(seq, 3) = 0 THEN 'restore' ELSE 'protect' END",
            'status': _STATUS.format('restoring', 'restored', 'available'),
        },
        {
            'status': ['available', 'success', 'in_progress', 'none'],
            'operation_type': ['restore', 'none'],
            'provider_id': [PROVIDER, 'none'],
            **dict.fromkeys(('plan_id', 'checkpoint_id', 'scheduled_operation_id'), ['#20', 'none']),
            **dict.fromkeys(('restore_id', 'verification_id'), ['#', 'none']),
        },
    ),
    'checkpoint_records': (
        f'/providers/{PROVIDER}/checkpoints',
        {
            **_OF_CHECKPOINT,
            'plan_id': '#20',
            'deleted': 'FALSE',
            'checkpoint_status': _STATUS.format('error', 'deleted', 'available'),
        },
        {'status': ['available', 'error', 'copying'], 'plan_id': ['#20', 'none']},
    ),
    'triggers': (
        '/triggers',
        {'name': _NAME, 'type': "'time'", 'properties': "'{}'"},
        {'type': ['time', 'none']},
    ),
    'scheduled_operations': (
        '/scheduled_operations',
        {
            'name': _NAME,
            'operation_type': "CASE WHEN MOD(seq, 3) = 0 THEN 'retention_protect' ELSE 'protect' END",
            'user_id': "'user'",
            'trigger_id': '#20',
            'operation_definition': "'{}'",
            'enabled': 'TRUE',
        },
        {'operation_type': ['protect', 'none'], 'trigger_id': ['#20', 'none']},
    ),
}
# Lists of the same tables, which need nothing more, and those that are in memory.
OTHERS = {'/providers/{provider_id}/operation_logs', '/operation_logs/{operation_log_id}/resources'}
IN_MEMORY = {'/providers', '/protectables/{type}/instances'}
ROUTES = {
    path.removeprefix('/v1/{project_id}'): method
    for verb, path, method in v1.ROUTES
    if verb == 'GET' and 'limit' in (method.query or {})
}
PRESENT = {table: entry for table, entry in LISTS.items() if entry[0].replace(PROVIDER, '{provider_id}') in ROUTES}


def _id(number: int) -> str:
    return str(uuid.UUID(hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()))


_SQL = {
    'mysql': {
        'id': "INSERT(INSERT(INSERT(INSERT(MD5({0}), 9, 0, '-'), 14, 0, '-'), 19, 0, '-'), 24, 0, '-')",
        'time': "TIMESTAMP '2026-01-01 00:00:00' + INTERVAL FLOOR(seq / 4) SECOND",
        'rows': f'seq_1_to_{ROWS}',
        'whole': 'seq DIV {0}',
    },
    'postgresql': {
        'id': 'CAST(CAST(md5(CAST({0} AS text)) AS uuid) AS text)',
        'time': "TIMESTAMP '2026-01-01 00:00:00' + FLOOR(seq / 4) * INTERVAL '1 second'",
        'rows': f'generate_series(1, {ROWS}) AS seq',
        'whole': 'seq / {0}',
    },
}


def _fill(connection: sa.Connection, table: str, columns: dict[str, str]) -> None:
    words = _SQL[connection.dialect.name]

    def told(value: str) -> str:
        if value == '#':
            return words['id'].format('seq')
        return words['id'].format(words['whole'].format(value[1:])) if value.startswith('#') else value

    values = {name: told(value) for name, value in (_COMMON | columns).items()} | {'created_at': words['time']}
    sql = f'INSERT INTO {table} ({", ".join(values)}) SELECT {", ".join(values.values())} FROM {words["rows"]}'
    connection.exec_driver_sql(sql)


@pytest.fixture(scope='module', params=sorted(databases.SERVERS))
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp('database')
    with databases.temporary(request.param, folder) as url, fixtures.service(url) as made:
        with engine.engine().connect().execution_options(isolation_level='AUTOCOMMIT') as connection:
            if request.param == 'mariadb':
                # Ids refer to nothing here; and nothing of this is to outlive a crash.
                connection.exec_driver_sql('SET foreign_key_checks = 0, unique_checks = 0')
            else:
                connection.exec_driver_sql("SET session_replication_role = 'replica'")
                connection.exec_driver_sql('SET synchronous_commit = off')
            for table, (_, columns, _) in PRESENT.items():
                # An index is made in a moment from rows that are there. Foreign keys keep those of theirs.
                ways = [i for i in models.Base.metadata.tables[table].indexes if len(i.columns) > 1]
                for index in ways:
                    index.drop(connection)
                _fill(connection, table, columns)
                for index in ways:
                    index.create(connection)
                connection.exec_driver_sql(f'ANALYZE {"TABLE " if request.param == "mariadb" else ""}{table}')
        yield made


def test_every_list_of_the_api_is_tried_here() -> None:
    tried = {entry[0].replace(PROVIDER, '{provider_id}') for entry in PRESENT.values()}
    assert set(ROUTES) == tried | OTHERS | IN_MEMORY


def test_every_exact_filter_is_tried_here() -> None:
    parts = {'name', 'description', 'properties', 'operation_definition'}  # found by what they contain
    days = {'start_date', 'end_date'}
    for path, _, filters in PRESENT.values():
        query = ROUTES[path.replace(PROVIDER, '{provider_id}')].query or {}
        assert set(query) - set(QUERY) - set(TENANTS) - parts - days == set(filters), path


def _queries(filters: dict[str, list[str]]) -> Iterator[str]:
    """Every sort in both directions, every filter, each for one project and for all, at the beginning and within."""
    sorts = [f'sort={key}:{way}' for key in ('id', 'name', 'status', 'created_at') for way in ('asc', 'desc')]
    found = [f'{name}={_value(value)}' for name, values in filters.items() for value in values]
    places = [f'limit={LIMIT}', f'limit={LIMIT}&marker={_id(MIDDLE)}']
    for query, place, whose in itertools.product([*sorts, *found], places, ['', '&all_tenants=1']):
        yield f'{query}&{place}{whose}'


def _value(value: str) -> str:
    if value == '#':
        return _id(MIDDLE)
    return _id(MIDDLE // int(value[1:])) if value.startswith('#') else value


@pytest.mark.parametrize('table', PRESENT)
def test_a_page_reads_few_rows_whatever_its_sort_its_filter_and_its_place(service: Service, table: str) -> None:
    path, _, filters = PRESENT[table]
    wrong = []
    for query in _queries(filters):
        for statement, count in _read(service, f'{path}?{query}', PROJECT, 'admin'):
            if count > MOST:
                wrong.append((query, count, statement[-400:]))
    assert not wrong, '\n'.join(map(str, wrong))


def test_a_part_of_a_name_is_looked_for_among_the_rows_of_the_project_only(service: Service) -> None:
    for query in ('name=zzz', 'description=zzz', 'name=zzz&sort=name', f'name=zzz&marker={_id(FEW_AT)}'):
        for statement, count in _read(service, f'/plans?{query}', FEW, 'member'):
            assert count <= 1.5 * ROWS / 100, statement


FEW_AT = 50_001  # a row of the small project


def _read(service: Service, path: str, project: str, role: str) -> Iterator[tuple[str, int]]:
    """The statements of a request, each with the number of rows that the database reads for it."""
    seen: list[tuple[str, Any]] = []
    mine = threading.get_ident()

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if threading.get_ident() == mine and statement.startswith('SELECT'):
            seen.append((statement, parameters))

    sa.event.listen(sa.Engine, 'before_cursor_execute', note)
    try:
        response = service.get(f'/v1/{project}{path}', **token(project, role))
    finally:
        sa.event.remove(sa.Engine, 'before_cursor_execute', note)
    assert response.status_int == 200, response.text
    for statement, parameters in seen:
        yield statement, _COUNTS[engine.engine().dialect.name](statement, parameters)


def _count_of_mariadb(statement: str, parameters: Any) -> int:
    with engine.engine().connect() as connection:
        connection.exec_driver_sql('FLUSH STATUS')
        connection.exec_driver_sql(statement, parameters).all()
        return sum(int(row[1]) for row in connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'"))


def _count_of_postgresql(statement: str, parameters: Any) -> int:
    with engine.engine().connect() as connection:
        told = connection.exec_driver_sql(f'EXPLAIN (ANALYZE, FORMAT JSON) {statement}', parameters).scalar()
    assert told is not None
    (plan,) = json.loads(told) if isinstance(told, str) else told
    return sum(
        (node['Actual Rows'] + node.get('Rows Removed by Filter', 0)) * node['Actual Loops']
        for node in _nodes(plan['Plan'])
        if 'Scan' in node['Node Type'] and node['Node Type'] != 'Bitmap Index Scan'  # its rows are those of the heap
    )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get('Plans', ()):
        yield from _nodes(inner)


_COUNTS = {'mysql': _count_of_mariadb, 'postgresql': _count_of_postgresql}
