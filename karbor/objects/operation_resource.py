# SPDX-License-Identifier: Apache-2.0
"""The resources of operations: the rows that every per-resource view is made of."""

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from karbor import statuses
from karbor.db import engine, folding, models

OPERATION, RESOURCE, FOLDED = models.OperationLog, models.OperationResource, models.FoldedResources

SEED_MAPS = ('resource_status', 'resource_reason')
SHIPPED_MAPS = ('resources_status', 'resources_reason')
_SHOWN = ('resource_type', 'resource_id', 'resource_name', 'new_id', 'status', 'status_details', 'progress')


def record_for_restore(
    restore_id: str, type: str, id: str, status: statuses.ResourceStatus | None, details: str | None
) -> None:
    """Write what is known of one resource of a restore's operation; ``id`` may be the original's or the new one."""
    operation = sa.select(OPERATION.id).where(OPERATION.restore_id == restore_id).scalar_subquery()
    query = sa.update(RESOURCE).where(
        RESOURCE.operation_id == operation,
        RESOURCE.resource_type == type,
        sa.or_(RESOURCE.resource_id == id, RESOURCE.new_id == id),
    )
    with engine.writing() as session:
        session.execute(query.values(status=status, status_details=details))


def of_operation(operation_id: str, limit: int = 1000) -> Sequence[Any]:
    """The first ``limit`` resources of an operation, failed ones first, then in the graph's order."""
    failed_first = sa.case((RESOURCE.status == 'error', 0), else_=1)
    query = (
        sa.select(RESOURCE)
        .where(RESOURCE.operation_id == operation_id)
        .order_by(failed_first, RESOURCE.position)
        .limit(limit)
    )
    with engine.reading() as session:
        found = session.scalars(query).all()
    if found:
        return found
    folded = folding.of_operation(operation_id)
    return sorted(folded, key=lambda row: (row.status != 'error', row.position))[:limit]


def handles(operation_id: str) -> dict[tuple[str, str], Any]:
    """What the back ends gave for the operation's work, by type and id of the resource."""
    query = sa.select(RESOURCE.resource_type, RESOURCE.resource_id, RESOURCE.handle)
    with engine.reading() as session:
        rows: Sequence[Any] = session.execute(query.where(RESOURCE.operation_id == operation_id)).all()
    return {(row.resource_type, row.resource_id): row.handle for row in rows or folding.of_operation(operation_id)}


def of_operations(operation_ids: Sequence[str]) -> Sequence[Any]:
    """What maps of these operations show, in one statement: operation_id and the columns of `maps`."""
    if not operation_ids:
        return ()
    columns = [getattr(RESOURCE, name) for name in _SHOWN]
    query = (
        sa.select(OPERATION.id.label('operation_id'), FOLDED.resources, *columns)
        .outerjoin(RESOURCE, RESOURCE.operation_id == OPERATION.id)
        .outerjoin(FOLDED, FOLDED.operation_id == OPERATION.id)
        .where(OPERATION.id.in_(operation_ids))
        .order_by(OPERATION.id, RESOURCE.position)
    )
    with engine.reading() as session:
        rows = session.execute(query).all()
    return [shown for row in rows for shown in ([row] if row.resources is None else _folded(row))]


def _folded(row: Any) -> Iterable[Any]:
    """As rows of `of_operations`: the resources of an operation that is folded."""
    for values in folding.unpacked(row.resources):
        yield SimpleNamespace(operation_id=row.operation_id, **{name: values.get(name) for name in _SHOWN})


def maps(rows: Iterable[Any], operation_type: str) -> dict[str, dict[str, str]]:
    """The four maps of a restore: the seed's keyed by the original's id, the shipped ones by the new id once known.
    A verification, which makes nothing, has only the shipped ones, keyed by the original's id.

    A reason is there for a resource that has one; a resource whose plugin does not report has no status.
    """
    words = statuses.RESOURCE_WORDS[operation_type]
    is_restore = operation_type == statuses.OperationType.RESTORE
    shown: dict[str, dict[str, str]] = {name: {} for name in (*SEED_MAPS, *SHIPPED_MAPS)}
    for row in rows:
        if row.resource_type is None:  # an operation without resources
            continue
        original = f'{row.resource_type}#{row.resource_id}'
        current = f'{row.resource_type}#{row.new_id or row.resource_id}' if is_restore else original
        if row.status is not None:
            shown['resource_status'][original] = shown['resources_status'][current] = words[row.status]
        if row.status_details:
            shown['resource_reason'][original] = shown['resources_reason'][current] = row.status_details
    return shown if is_restore else {name: shown[name] for name in SHIPPED_MAPS}
