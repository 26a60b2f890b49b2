# SPDX-License-Identifier: Apache-2.0
"""How fast pages of 50 are in collections of 100,000 and of a million: over HTTP, one client, first and deep pages.

The rows are those of a plan with two resources and of its checkpoint, multiplied in the database; each has its own
time. Lists read neither graphs nor the resources of operations, and these are not multiplied.
"""

import datetime
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import bench_load
import sqlalchemy as sa
from bench_service import Site

from karbor.db import models

SIZES = (100_000, 1_000_000)
CHUNK = 50_000  # rows of one INSERT
FILLING_SECONDS = 900  # at most, for one size of all collections
SECONDS = 2.0  # of load for one figure
PAGE = 50
COLLECTIONS = ('plans', 'checkpoints', 'operation_logs')
ORDERS = [f'{key}:{direction}' for key in ('name', 'status', 'id', 'created_at') for direction in ('asc', 'desc')]
KINDS = ('first', 'deep', 'sorted')
NUMBERS = {
    'mysql': 'SELECT seq AS n FROM seq_{first}_to_{last}',
    'postgresql': 'SELECT n FROM generate_series({first}, {last}) AS n',
}
ENDING = {
    'mysql': "CONCAT('{}', LPAD(n, 12, '0'))",
    'postgresql': "'{}' || LPAD(CAST(n AS TEXT), 12, '0')",
}
AGED = {
    'mysql': ':began - INTERVAL n SECOND',
    'postgresql': "CAST(:began AS timestamp) - n * interval '1 second'",
}
Figures = Iterator[tuple[str, float, str]]


def names(size: int) -> list[str]:
    """The figures of collections of this size. The first is the slowest of the others."""
    parts = [f'list50_of_{size}_{collection}_{kind}_p95_ms' for collection in COLLECTIONS for kind in KINDS]
    return [f'list50_of_{size}_p95_ms', *parts]


def measure(site: Site, size: int, plan_id: str, checkpoint_id: str) -> Figures:
    """The collections of the project that is read grow to ``size`` from these two; then they are listed."""
    Filler(site.database_url, plan_id, checkpoint_id).fill(size)
    slowest = 0.0
    for collection in COLLECTIONS:
        for kind in KINDS:
            milliseconds = _p95(site, collection, kind, size)
            slowest = max(slowest, milliseconds)
            yield f'list50_of_{size}_{collection}_{kind}_p95_ms', milliseconds, 'ms'
    yield f'list50_of_{size}_p95_ms', slowest, 'ms'


def _p95(site: Site, collection: str, kind: str, size: int) -> float:
    place = f'/providers/{site.provider_id}/checkpoints' if collection == 'checkpoints' else f'/{collection}'
    requests = [
        {'method': 'GET', 'path': f'/v1/{site.reads.id}{place}?limit={PAGE}{query}', 'headers': site.reads.headers}
        for query in _queries(collection, kind, size)
    ]
    for request in requests:
        bench_load.measure(site.address, 1, 0.0, [request])  # each once, as the database sees it for the first time
    measured = bench_load.measure(site.address, 1, SECONDS, requests)
    if measured['statuses'].keys() != {'200'}:
        raise RuntimeError(f'{collection} {kind}: {measured["statuses"]}')
    taken = measured['latencies']
    return 1000 * taken[min(len(taken) - 1, int(0.95 * len(taken)))]


def _queries(collection: str, kind: str, size: int) -> Sequence[str]:
    """Deep pages begin behind rows in the middle and near the end."""
    markers = [f'&marker={_id(collection, size * tenths // 10)}' for tenths in (5, 9)]
    if kind == 'first':
        return ['']
    if kind == 'deep':
        return markers
    return [f'&sort={order}{place}' for order in ORDERS for place in ('', *markers[:1])]


def _id(collection: str, number: int) -> str:
    """The id of that row, as `_ended` makes it."""
    return f'{COLLECTIONS.index(collection) + 1:08d}-0000-4000-8000-{number:012d}'


class Filler:
    """Multiplies rows by INSERT … SELECT."""

    def __init__(self, database_url: str, plan_id: str, checkpoint_id: str) -> None:
        self.engine = sa.create_engine(database_url, poolclass=sa.pool.NullPool)
        self.kind = self.engine.dialect.name
        self.plan_id, self.checkpoint_id = plan_id, checkpoint_id
        self.began = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) - datetime.timedelta(days=1)

    def fill(self, size: int) -> None:
        """Raises RuntimeError when it takes too long."""
        end = time.monotonic() + FILLING_SECONDS
        with self.engine.connect() as connection:
            query = sa.text('SELECT count(*) FROM checkpoint_records WHERE plan_id = :plan')
            done = connection.scalar(query, {'plan': self.plan_id}) or 0
        for first in range(done, size, CHUNK):
            self._insert(first, min(first + CHUNK, size) - 1)
            if time.monotonic() > end:
                raise RuntimeError(f'after {FILLING_SECONDS} s there are {first + CHUNK} of {size}')
        print(f'{size} rows a collection after {FILLING_SECONDS - end + time.monotonic():.0f} s', file=sys.stderr)
        with self.engine.connect().execution_options(isolation_level='AUTOCOMMIT') as connection:
            for table in ('plans', 'resources', 'checkpoint_records', 'operation_logs'):
                connection.exec_driver_sql(f'ANALYZE {"TABLE " if self.kind == "mysql" else ""}{table}')

    def _insert(self, first: int, last: int) -> None:
        plan, checkpoint, log = (self._ended(_id(collection, 0)[:24]) for collection in COLLECTIONS)
        numbers = NUMBERS[self.kind].format(first=max(first, 1), last=last)
        with self.engine.begin() as connection:
            if self.kind == 'mysql':
                connection.exec_driver_sql('SET SESSION foreign_key_checks = 0, unique_checks = 0')
            aged = {'created_at': AGED[self.kind]}
            of_plan = {'id': plan, 'name': self._ended('bench '), **aged}
            self._copy(connection, models.Plan, 'id', self.plan_id, numbers, of_plan)
            self._copy(connection, models.Resource, 'plan_id', self.plan_id, numbers, {'plan_id': plan, 'id': None})
            of_checkpoint = {'id': checkpoint, 'checkpoint_id': checkpoint, 'operation_id': log, **aged}
            self._copy(connection, models.CheckpointRecord, 'id', self.checkpoint_id, numbers, of_checkpoint)
            of_log = {'id': log, 'checkpoint_id': checkpoint, **aged}
            self._copy(connection, models.OperationLog, 'checkpoint_id', self.checkpoint_id, numbers, of_log)

    def _copy(
        self, connection: Any, model: Any, key: str, id: str, numbers: str, changed: dict[str, str | None]
    ) -> None:
        """A row for each number like those whose ``key`` is ``id``; None leaves a column to the database."""
        columns = [column.name for column in model.__table__.c if changed.get(column.name, '') is not None]
        values = ', '.join(changed.get(column) or f'one.{column}' for column in columns)
        table = model.__tablename__
        query = f'SELECT {values} FROM {table} AS one, ({numbers}) AS ns WHERE one.{key} = :id'  # noqa: S608  names of ours
        statement = sa.text(f'INSERT INTO {table} ({", ".join(columns)}) {query}')
        connection.execute(statement, {'id': id, 'began': self.began})

    def _ended(self, text: str) -> str:
        """SQL for the text with the number behind it."""
        return ENDING[self.kind].format(text)
