# SPDX-License-Identifier: Apache-2.0
"""What the lists of the bench show: plans made over HTTP, and one checkpoint whose rows are multiplied."""

import datetime
import uuid
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from karbor.db import models

Json = dict[str, Any]
Row = dict[str, Any]


def volumes(number: int) -> list[Json]:
    """So many resources, as a plan names them."""
    return [{'id': str(uuid.uuid4()), 'type': 'OS::Cinder::Volume', 'name': f'volume {n}'} for n in range(number)]


def plan(provider_id: str, resources: int) -> Json:
    """The body of a POST of a plan."""
    told = {'name': 'bench', 'description': 'a plan of the bench', 'provider_id': provider_id, 'parameters': {}}
    return {'plan': told | {'resources': volumes(resources)}}


def multiply_plan(database_url: str, id: str, times: int) -> list[str]:
    """So many plans more, with the resources of the plan; their ids."""
    with _connection(database_url) as connection:
        row = _one(connection, models.Plan, models.Plan.id == id)
        ids = _insert(connection, models.Plan, row, times, lambda new: {'id': new})
        parts = models.Resource.__table__
        for part in connection.execute(sa.select(parts).where(parts.c.plan_id == id)).mappings().all():
            kept = {name: value for name, value in part.items() if name != 'id'}
            connection.execute(parts.insert(), [kept | {'plan_id': new} for new in ids])
        return ids


def multiply_checkpoint(database_url: str, id: str, times: int) -> None:
    """So many checkpoints more, each with its own graph and operation; without rows of resources."""
    with _connection(database_url) as connection:
        record = _one(connection, models.CheckpointRecord, models.CheckpointRecord.id == id)
        log = _one(connection, models.OperationLog, models.OperationLog.checkpoint_id == id)
        graph = _one(connection, models.CheckpointGraph, models.CheckpointGraph.checkpoint_id == id)
        operations: dict[str, str] = {}

        def of_checkpoint(new: str) -> Row:
            operations[new] = str(uuid.uuid4())
            return {'id': new, 'checkpoint_id': new, 'operation_id': operations[new]}

        ids = _insert(connection, models.CheckpointRecord, record, times, of_checkpoint)
        waiting = iter(ids)

        def of_log(_: str) -> Row:
            checkpoint = next(waiting)
            return {'id': operations[checkpoint], 'checkpoint_id': checkpoint}

        _insert(connection, models.OperationLog, log, times, of_log)
        connection.execute(models.CheckpointGraph.__table__.insert(), [graph | {'checkpoint_id': new} for new in ids])


def _connection(database_url: str) -> Any:
    return sa.create_engine(database_url, poolclass=sa.pool.NullPool).begin()


def _one(connection: sa.Connection, model: Any, condition: Any) -> Row:
    return dict(connection.execute(sa.select(model.__table__).where(condition)).mappings().one())


def _insert(connection: sa.Connection, model: Any, row: Row, times: int, changed: Callable[[str], Row]) -> list[str]:
    """Rows like ``row``, each a second older than the one before; the new ids."""
    ids = [str(uuid.uuid4()) for _ in range(times)]
    age = datetime.timedelta(seconds=1)
    rows = [row | changed(id) | {'created_at': row['created_at'] - age * n} for n, id in enumerate(ids, 1)]
    connection.execute(model.__table__.insert(), rows)
    return ids
