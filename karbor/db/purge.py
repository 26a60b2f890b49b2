# SPDX-License-Identifier: Apache-2.0
"""Removing for good what was marked as deleted, and what is left of checkpoints that are gone."""

import datetime
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from oslo_utils import timeutils
from sqlalchemy import orm

from karbor.db import engine, folding, models
from karbor.statuses import CheckpointStatus

OPERATION, CHECKPOINT, KEY = models.OperationLog, models.CheckpointRecord, models.IdempotencyKey
KEPT = datetime.timedelta(hours=24)  # an answer, for whoever asks again with the same Idempotency-Key
BATCH = 500  # rows of one transaction, so that others get their turn

# Rows that have no life without the one they belong to, whether or not they are marked themselves.
_PARTS: dict[type[models.Base], list[tuple[type[models.Base], str]]] = {
    models.Plan: [(models.Resource, 'plan_id')],
    models.CheckpointRecord: [(models.CheckpointGraph, 'checkpoint_id')],
    models.OperationLog: [(models.OperationResource, 'operation_id'), (models.FoldedResources, 'operation_id')],
}


def purge(before: datetime.datetime) -> dict[str, int]:
    """Table -> how many of its rows are gone: those marked as deleted at a time earlier than ``before`` (naive UTC),
    and the operations that had ended before it, with their restores and verifications, of checkpoints that are deleted
    or unknown; and the answers that `forget_keys` takes away.

    A deleted checkpoint goes with the last of its operations. Everything of a checkpoint that is still there stays. A
    row that another one still refers to stays. Children go before their parents, in transactions of `BATCH` rows.
    """
    removed: Counter[str] = Counter()
    for model in _children_first():
        while batch := _remove_batch(model, before):
            removed.update(batch)
    for ids in _ended(before):
        for some in folding.few(ids):
            removed.update(_remove_ended(some, before))
    removed[KEY.__tablename__] = forget_keys()
    return {table: count for table, count in removed.items() if count}


def forget_keys() -> int:
    """The number of answers to requests with an `Idempotency-Key` that are gone: those kept for `KEPT`."""
    removed = 0
    while batch := _remove_keys(timeutils.utcnow() - KEPT):
        removed += batch
    return removed


@engine.repeated
def _remove_keys(before: datetime.datetime) -> int:
    table: Any = KEY.__table__
    with engine.writing() as session:
        ids = session.scalars(sa.select(KEY.id).where(KEY.created_at < before).limit(BATCH)).all()
        return _delete(session, table, table.c.id.in_(ids)) if ids else 0


def _children_first() -> list[type[models.Base]]:
    """Every model whose rows can be marked, `plans` and `scheduled_operations` as late as their parents allow."""
    models_of: dict[sa.Table, Any] = {m.local_table: m.class_ for m in models.Base.registry.mappers}  # type: ignore[misc]
    late = {models.Plan: 1, models.ScheduledOperation: 1, models.Trigger: 2, models.Service: 2}
    found = [models_of[t] for t in reversed(models.Base.metadata.sorted_tables) if 'deleted' in t.c]
    return sorted(found, key=lambda model: late.get(model, 0))


@engine.repeated
def _remove_batch(model: type[models.Base], before: datetime.datetime) -> dict[str, int]:
    table: Any = model.__table__
    with engine.writing() as session:
        due = sa.select(table.c.id).where(
            table.c.deleted == sa.true(), table.c.deleted_at < before, *_unreferred(model)
        )
        ids = session.scalars(due.order_by(table.c.id).limit(BATCH)).all()
        if not ids:
            return {}
        return _remove(session, model, ids)


def _remove(session: orm.Session, model: type[models.Base], ids: Sequence[Any]) -> dict[str, int]:
    """The rows of these ids and their parts; how many of each table."""
    removed = {}
    for part, column in _PARTS.get(model, ()):
        parts: Any = part.__table__
        removed[parts.name] = _delete(session, parts, parts.c[column].in_(ids))
    table: Any = model.__table__
    return removed | {table.name: _delete(session, table, table.c.id.in_(ids))}


def _unreferred(model: type[models.Base]) -> list[Any]:
    """Conditions: no row of another table refers to it that would not go with it."""
    table: Any = model.__table__
    parts = [part.__table__ for part, _ in _PARTS.get(model, ())]
    keys = [key for other in models.Base.metadata.sorted_tables for key in other.foreign_keys]
    return [
        ~sa.exists().where(key.parent == table.c.id)
        for key in keys
        if key.column.table is table and key.ondelete != 'CASCADE' and key.parent.table not in parts
    ]


def _delete(session: Any, table: Any, condition: Any) -> int:
    return session.execute(sa.delete(table).where(condition)).rowcount


# --- what is left of checkpoints that are gone ---------------------------------------------------------


def _ended(before: datetime.datetime) -> Iterator[Sequence[str]]:
    """The ids of the operations that may go, in portions. What stays is passed once, not once for each portion."""
    last: Any = None
    while True:
        query = sa.select(OPERATION.id, OPERATION.ended_at).where(*_may_go(before))
        if last is not None:
            later = sa.and_(OPERATION.ended_at == last.ended_at, OPERATION.id > last.id)
            query = query.where(OPERATION.ended_at >= last.ended_at, sa.or_(OPERATION.ended_at > last.ended_at, later))
        with engine.reading() as session:
            rows = session.execute(query.order_by(OPERATION.ended_at, OPERATION.id).limit(BATCH)).all()
        if not rows:
            return
        last = rows[-1]
        yield [row.id for row in rows]


def _may_go(before: datetime.datetime) -> tuple[Any, ...]:
    """Conditions: it has ended, and nothing that is there needs it, as the delete of a checkpoint needs its protect."""
    there = sa.exists().where(
        CHECKPOINT.id == OPERATION.checkpoint_id,
        CHECKPOINT.checkpoint_status != CheckpointStatus.DELETED,
        CHECKPOINT.deleted == sa.false(),
    )
    return OPERATION.ended_at < before, ~there


@engine.repeated
def _remove_ended(ids: Sequence[str], before: datetime.datetime) -> dict[str, int]:
    with engine.writing() as session:
        columns = (OPERATION.id, OPERATION.checkpoint_id, OPERATION.restore_id, OPERATION.verification_id)
        query = sa.select(*columns).where(OPERATION.id.in_(ids), *_may_go(before)).with_for_update()
        rows = session.execute(query).all()
        removed = _remove(session, OPERATION, [row.id for row in rows])
        for model, column in ((models.Restore, 'restore_id'), (models.Verification, 'verification_id')):
            wanted = [id for row in rows if (id := getattr(row, column))]
            removed |= _remove(session, model, wanted)
        gone = sa.select(CHECKPOINT.id).where(
            CHECKPOINT.id.in_({row.checkpoint_id for row in rows}),
            CHECKPOINT.checkpoint_status == CheckpointStatus.DELETED,
            ~sa.exists().where(OPERATION.checkpoint_id == CHECKPOINT.id),
        )
        return removed | _remove(session, CHECKPOINT, session.scalars(gone).all())
