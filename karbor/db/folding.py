# SPDX-License-Identifier: Apache-2.0
"""The resources of operations that ended long ago: one compact row an operation in place of one row a resource.

Nothing is lost by it: `of_operation` reads them as they were, `unfold` makes rows of them again.
"""

import datetime
import itertools
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import orm

from karbor.db import engine, models, repository

OPERATION, RESOURCE, FOLDED = models.OperationLog, models.OperationResource, models.FoldedResources
CANDIDATES = 200  # operations that are looked at in one go
ROWS = 5000  # resources of one transaction, unless one operation has more

_NAMES = tuple(column.name for column in RESOURCE.__table__.c if column.name != 'operation_id')
_MOMENTS = ('started_at', 'ended_at')


def fold(before: datetime.datetime) -> int:
    """The number of operations that had ended earlier than ``before`` (naive UTC) and are folded now."""
    folded = 0
    while ids := _due(before):
        for some in few(ids):
            folded += _fold(some, before)
    return folded


def unfold(operation_id: str) -> None:
    """Make rows of the operation's resources again, in the caller's transaction: it is about to be run once more."""
    with engine.writing() as session:
        if not repository.update(OPERATION, operation_id, {'folded': False}, folded=True):
            return
        row = repository.get(FOLDED, operation_id)
        if row is not None:
            values = [{'operation_id': operation_id, **resource} for resource in unpacked(row.resources)]
            repository.create_many(RESOURCE, values)
            session.delete(row)


def of_operation(operation_id: str) -> list[models.OperationResource]:
    """The operation's folded resources, in the graph's order; none if it is not folded."""
    row = repository.get(FOLDED, operation_id)
    return [RESOURCE(operation_id=operation_id, **values) for values in unpacked(row.resources)] if row else []


def few(operation_ids: Sequence[str]) -> Iterable[list[str]]:
    """``operation_ids`` in portions that have at most `ROWS` resource rows each; or one operation that has more."""
    wanted = RESOURCE.operation_id.in_(operation_ids)
    numbers = sa.select(RESOURCE.operation_id, sa.func.count()).where(wanted).group_by(RESOURCE.operation_id)
    with engine.reading() as session:
        found = {id: number for id, number in session.execute(numbers)}
    portion: list[str] = []
    rows = 0
    for id in operation_ids:
        rows += found.get(id, 0)
        if portion and rows > ROWS:
            yield portion
            portion, rows = [], found.get(id, 0)
        portion.append(id)
    yield portion


def unpacked(packed: bytes) -> list[dict[str, Any]]:
    """The values by column of what `FoldedResources.resources` holds, in the graph's order.

    A column that was added since is left to its default, one that was dropped is left out.
    """
    told: Mapping[str, Any] = orjson.loads(zlib.decompress(packed))
    resources = [dict(zip(told['columns'], row, strict=True)) for row in told['rows']]
    for resource in resources:
        for name in set(resource) - set(_NAMES):
            del resource[name]
        for name in _MOMENTS:
            if resource.get(name):
                resource[name] = datetime.datetime.fromisoformat(resource[name])
    return resources


def _due(before: datetime.datetime) -> Sequence[str]:
    query = sa.select(OPERATION.id).where(OPERATION.folded == sa.false(), OPERATION.ended_at < before)
    with engine.reading() as session:
        return session.scalars(query.order_by(OPERATION.ended_at).limit(CANDIDATES)).all()


@engine.repeated
def _fold(operation_ids: Sequence[str], before: datetime.datetime) -> int:
    operations, resources = map(repository.table_of, (OPERATION, RESOURCE))
    among = operations.c.id.in_(operation_ids)
    due = (operations.c.folded == sa.false(), operations.c.ended_at < before)
    with engine.writing() as session:
        # First: whoever begins one of them again waits for this, and finds it folded.
        marked = repository.matched(session, sa.update(operations).where(among, *due).values(folded=True))
        ids = session.scalars(sa.select(operations.c.id).where(among, operations.c.folded == sa.true())).all()
        packed = _read(session, ids)
        if packed:
            session.execute(repository.table_of(FOLDED).insert(), packed)
            repository.matched(session, sa.delete(resources).where(resources.c.operation_id.in_(ids)))
        return marked


def _read(session: orm.Session, ids: Sequence[str]) -> list[dict[str, Any]]:
    columns = [RESOURCE.operation_id, *(getattr(RESOURCE, name) for name in _NAMES)]
    query = sa.select(*columns).where(RESOURCE.operation_id.in_(ids))
    rows = session.execute(query.order_by(RESOURCE.operation_id, RESOURCE.position))
    packed = []
    for id, group in itertools.groupby(rows, key=lambda row: row.operation_id):
        resources = [tuple(row)[1:] for row in group]
        packed.append({'operation_id': id, 'number': len(resources), 'resources': _packed(resources)})
    return packed


def _packed(resources: Sequence[Sequence[Any]]) -> bytes:
    return zlib.compress(orjson.dumps({'columns': _NAMES, 'rows': resources}, option=orjson.OPT_NON_STR_KEYS))
