# SPDX-License-Identifier: Apache-2.0
"""Whether old rows slow Karbor down: claim and list times with few and with millions of ended resources, as JSON lines.

It makes a database of its own on MariaDB or PostgreSQL, and drops it. The old operations are all of the project that is
listed, ten resources each. ``--explain`` prints how the database finds the rows of each statement to standard error.
"""

import argparse
import contextlib
import datetime
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bench
import sqlalchemy as sa
from oslo_config import cfg

import karbor.native_threads  # noqa: F401 isort: skip
from karbor.api.v1 import checkpoints, operation_logs, restores
from karbor.db import engine, folding, models, repository
from karbor.objects import operation_resource
from karbor.protection import board
from karbor.tests import databases

CONF = cfg.CONF
PROJECT, PROVIDER = 'p' * 32, str(uuid.UUID(int=1))
RESOURCES = 10  # of an old operation
CHUNK = 50_000  # operations of one INSERT
FEW = 2000  # old resources at first, so that every list has a whole page
OPEN = 20
TIMES = 30
NEWEST = [('created_at', 'desc'), ('id', 'desc')]
NUMBERS = {
    'mysql': 'SELECT seq AS n FROM seq_{first}_to_{last}',
    'postgresql': 'SELECT n FROM generate_series({first}, {last}) AS n',
}
HANDLE = '{"snapshot_id": "01234567-89ab-cdef-0123-456789abcdef", "request_id": "req-0123456789abcdef"}'


def fill(done: int, number: int, seconds: float) -> int:
    """Insert old resources with their operations, restores and checkpoints behind those that are ``done``, until there
    are ``number``, or the time is over; how many there are then.
    """
    end = time.monotonic() + seconds
    while done < number and time.monotonic() < end:
        first, count = done // RESOURCES + 1, min(CHUNK, (number - done) // RESOURCES)
        if not count:
            break
        _insert(first, first + count - 1)
        done += count * RESOURCES
        _say(f'{done} resources')
    with engine.engine().connect().execution_options(isolation_level='AUTOCOMMIT') as connection:
        tables = ('operation_logs', 'operation_resources', 'checkpoint_records', 'restores')
        for table in tables:
            is_mysql = engine.engine().dialect.name == 'mysql'
            connection.exec_driver_sql(f'ANALYZE TABLE {table}' if is_mysql else f'ANALYZE {table}')
    return done


def _insert(first: int, last: int) -> None:
    numbers = NUMBERS[engine.engine().dialect.name].format(first=first, last=last)
    is_mysql = engine.engine().dialect.name == 'mysql'
    aged = '"2024-01-01" + INTERVAL n SECOND' if is_mysql else "timestamp '2024-01-01' + n * interval '1 second'"
    aged = aged.replace('"', "'")
    id, no = "CONCAT('{}-', LPAD({}, 31, '0'))", 'CAST(n AS CHAR)' if is_mysql else 'CAST(n AS TEXT)'
    operation, checkpoint, restore = (id.format(kind, no) for kind in ('oper', 'chec', 'rest'))
    kind = "CASE WHEN n % 4 = 0 THEN 'restore' ELSE 'protect' END"
    with engine.engine().begin() as connection:
        if is_mysql:
            connection.exec_driver_sql('SET SESSION foreign_key_checks = 0, unique_checks = 0')
        for statement in (
            'INSERT INTO checkpoint_records (id, checkpoint_id, project_id, checkpoint_status, provider_id, plan_id,'
            f' operation_id, created_at, deleted) SELECT {checkpoint}, {checkpoint}, :project, :available, :provider,'
            f" 'plan', {operation}, {aged}, :no FROM ({numbers}) AS numbers WHERE n % 4 <> 0",
            'INSERT INTO restores (id, checkpoint_id, project_id, provider_id, status, created_at, deleted)'
            f' SELECT {restore}, {checkpoint}, :project, :provider, :success, {aged}, :no FROM ({numbers}) AS numbers'
            ' WHERE n % 4 = 0',
            'INSERT INTO operation_logs (id, operation_type, project_id, provider_id, checkpoint_id, restore_id,'
            ' status, owner, created_at, started_at, ended_at, deleted)'
            f' SELECT {operation}, {kind}, :project, :provider, {checkpoint},'
            f' CASE WHEN n % 4 = 0 THEN {restore} END, :available, :owner, {aged}, {aged}, {aged}, :no'
            f' FROM ({numbers}) AS numbers',
            'INSERT INTO operation_resources (operation_id, position, level, resource_type, resource_id, status, hooks,'
            f' handle, attempt, started_at, ended_at) SELECT {operation}, place, 0, :type, {checkpoint}, :active, 4,'
            f' :handle, 1, {aged}, {aged} FROM ({numbers}) AS numbers,'
            f' ({" UNION ALL ".join(f"SELECT {n} AS place" for n in range(RESOURCES))}) AS places',
        ):
            told = {'project': PROJECT, 'provider': PROVIDER, 'available': 'available', 'success': 'success'}
            told |= {
                'owner': 'host:1:abc',
                'active': 'active',
                'type': 'OS::Manila::Share',
                'handle': HANDLE,
                'no': False,
            }
            connection.execute(sa.text(statement), told)


def post(number: int) -> list[str]:
    """Open operations that anybody may claim."""
    ids = [str(uuid.uuid4()) for _ in range(number)]
    row = {'project_id': PROJECT, 'operation_type': 'protect', 'provider_id': PROVIDER, 'status': 'protecting'}
    row |= board.posted(resumable=True) | {'checkpoint_id': str(uuid.uuid4()), 'deleted': False}
    moment = {'created_at': datetime.datetime.now(datetime.UTC).replace(tzinfo=None)}
    repository.create_many(models.OperationLog, [row | moment | {'id': id} for id in ids])
    for id in ids[:1]:
        resources = {'operation_id': id, 'level': 0, 'resource_type': 'OS::Manila::Share', 'hooks': 0, 'attempt': 1}
        repository.create_many(
            models.OperationResource, [resources | {'position': n, 'resource_id': f'{n}'} for n in range(1000)]
        )
    return ids


def statements(ids: list[str]) -> dict[str, Callable[[], Any]]:
    """Figure -> what is timed: the functions that the API and the board call."""
    jobs = board.SqlJobBoard('karbor', {}, providers=lambda: [PROVIDER])
    jobs.worker = 'nobody'
    mine = {'project_id': PROJECT}
    living = mine | {'provider_id': PROVIDER, 'checkpoint_status': repository.Not('deleted')}

    def list_restores() -> None:
        found = repository.find(models.Restore, restores.RESTORES.columns, mine, NEWEST, 50)
        operation_resource.of_operations([row.operation_id for row in found if row.operation_id])

    def claim() -> None:
        job = next(iter(jobs.iterjobs()))
        jobs.claim(job, 'worker')
        jobs.leases.drop(job.uuid)
        repository.update(models.OperationLog, job.uuid, {'owner': '', 'expires_at': 0.0})

    return {
        'fetch_jobs': lambda: list(jobs.iterjobs()),
        'claim': claim,
        'renew': lambda: jobs._renew(ids),
        'list50_operation_logs': lambda: repository.find(models.OperationLog, operation_logs.COLUMNS, mine, NEWEST, 50),
        'list50_checkpoints': lambda: repository.find(models.CheckpointRecord, checkpoints.COLUMNS, living, NEWEST, 50),
        'list50_restores': list_restores,
        'show_1000_resources': lambda: operation_resource.of_operation(ids[0]),
        'idle_fold': lambda: folding.fold(datetime.datetime(2020, 1, 1)),
    }


def times(wanted: dict[str, Callable[[], Any]]) -> Iterator[tuple[str, float]]:
    """(name, milliseconds), the median of `TIMES` runs."""
    for name, run in wanted.items():
        run()
        taken = []
        for _ in range(TIMES):
            begun = time.perf_counter()
            run()
            taken.append(1000 * (time.perf_counter() - begun))
        yield name, statistics.median(taken)


def explain(wanted: dict[str, Callable[[], Any]]) -> None:
    """Print the plan of each statement that the figures are made of."""
    for name, run in wanted.items():
        seen: list[tuple[str, Any]] = []

        def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any, seen: Any = seen) -> None:
            seen.append((statement, parameters))

        sa.event.listen(engine.engine(), 'before_cursor_execute', note)
        run()
        sa.event.remove(engine.engine(), 'before_cursor_execute', note)
        for statement, parameters in seen:
            if statement.startswith(('SELECT', 'UPDATE', 'DELETE')):
                _say(f'\n-- {name}: {" ".join(statement.split())[:400]}')
                with engine.engine().begin() as connection:
                    for row in connection.exec_driver_sql(f'EXPLAIN {statement}', parameters):
                        _say('   ' + ' | '.join(map(str, row)))


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('number', type=int, nargs='?', default=10_000_000, help='old resources; default: ten million')
    parser.add_argument('--database', choices=list(databases.SERVERS), default='mariadb')
    parser.add_argument('--seconds', type=float, default=360.0, help='that filling may take; default: 360')
    parser.add_argument('--explain', action='store_true', help='print the plans, too')
    told = parser.parse_args()
    machine = bench._machine()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix='karbor-bench-'))
        url = stack.enter_context(databases.temporary(told.database, Path(folder)))
        stack.enter_context(databases.connected(url))
        databases.migration.sync()
        wanted = statements(post(OPEN))
        rows = 0
        for number in (FEW, told.number):
            begun = time.monotonic()
            rows = fill(rows, number, told.seconds)
            _say(f'{rows} resources after {time.monotonic() - begun:.0f} s')
            for name, value in times(wanted):
                figure = {'name': f'{name}_at_{rows}_rows_ms', 'value': float(f'{value:.4g}'), 'unit': 'ms'}
                when = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
                figure |= {'database': told.database, 'transport': 'none', 'when': when, 'machine': machine}
                print(json.dumps(figure), flush=True)
        if told.explain:
            explain(wanted)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
    main()
