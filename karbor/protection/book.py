# SPDX-License-Identifier: Apache-2.0
"""The rows of an operation's resources, written in groups: one guarded transaction for what changed within 20 ms."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from karbor.db import engine, models, repository
from karbor.protection.run import Run

RESOURCE = repository.table_of(models.OperationResource)
GROUP_SECONDS = 0.02
GROUP_ROWS = 500


class Book:
    """What is to be written about resources, by position. Not thread-safe: only the wave's own thread enters."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._pending: dict[int, dict[str, Any]] = {}
        self._oldest: float | None = None

    def enter(self, position: int, **values: Any) -> None:
        """Remember ``values`` for the resource; what is entered later wins."""
        self._pending.setdefault(position, {}).update(values)
        if self._oldest is None:
            self._oldest = time.monotonic()

    def __bool__(self) -> bool:
        return bool(self._pending)

    def seconds_left(self) -> float | None:
        """How long entries may still wait for company; None when there are none."""
        if self._oldest is None:
            return None
        return 0.0 if len(self._pending) >= GROUP_ROWS else max(0.0, self._oldest + GROUP_SECONDS - time.monotonic())

    def write(self, **told: Any) -> None:
        """Write all entries, and ``told`` to the operation's row, in one transaction. Raises LostClaim."""
        if self._pending or told:
            self._write(self._pending, told)
        self._pending, self._oldest = {}, None

    @engine.repeated
    def _write(self, pending: Mapping[int, Mapping[str, Any]], told: Mapping[str, Any]) -> None:
        shapes: dict[tuple[str, ...], list[int]] = {}
        for position, values in pending.items():
            shapes.setdefault(tuple(values), []).append(position)
        with self.run.guarded(**told) as session:
            for columns, positions in shapes.items():
                for start in range(0, len(positions), GROUP_ROWS):
                    _update(session, self.run.id, columns, positions[start : start + GROUP_ROWS], pending)


def _update(
    session: orm.Session,
    operation_id: str,
    columns: Sequence[str],
    positions: Sequence[int],
    pending: Mapping[int, Mapping[str, Any]],
) -> None:
    """One statement for rows with the same columns: a constant where all agree, else a CASE by position."""
    values = {name: _value(name, {p: pending[p][name] for p in positions}) for name in columns}
    rows = sa.update(RESOURCE).where(RESOURCE.c.operation_id == operation_id, RESOURCE.c.position.in_(positions))
    session.execute(rows.values(**values))


def _value(name: str, wanted: Mapping[int, Any]) -> Any:
    first, *others = wanted.values()
    if all(other == first for other in others):
        return first
    column = RESOURCE.c[name]
    if isinstance(column.type, models.Json):
        texts = {p: column.type.process_bind_param(v, None) for p, v in wanted.items()}
        return sa.case({p: sa.literal(t, models.LongText) for p, t in texts.items()}, value=RESOURCE.c.position)
    return sa.case({p: sa.literal(v, column.type) for p, v in wanted.items()}, value=RESOURCE.c.position)
