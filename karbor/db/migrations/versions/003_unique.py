# SPDX-License-Identifier: Apache-2.0
"""One row a service, quota, quota class and quota usage: 1.6 could make several, and had no constraint against it.

Of rows with one key that stays which is not deleted, of those the one written last (updated_at,
else created_at), of those the one with the highest id: what the running 1.6 worked with. What
referred to another one (reservations, states of scheduled operations) refers to it then.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = '003'
down_revision = '002'

# table -> (constraint, its columns, (table, column) that refers to it)
_UNIQUE: dict[str, tuple[str, tuple[str, str], tuple[str, str] | None]] = {
    'services': ('uniq_services_host_binary', ('host', 'binary'), ('scheduled_operation_states', 'service_id')),
    'quotas': ('uniq_quotas_project_resource', ('project_id', 'resource'), None),
    'quota_classes': ('uniq_quota_classes_name_resource', ('class_name', 'resource'), None),
    'quota_usages': ('uniq_quota_usages_project_resource', ('project_id', 'resource'), ('reservations', 'usage_id')),
}


def upgrade() -> None:
    inspector = sa.inspect(op.get_bind())
    for table, (constraint, columns, referrer) in _UNIQUE.items():
        if constraint in {found['name'] for found in inspector.get_unique_constraints(table)}:
            continue
        _remove_duplicates(table, columns, referrer)
        with op.batch_alter_table(table) as batch:
            batch.create_unique_constraint(constraint, list(columns))


def _remove_duplicates(name: str, columns: tuple[str, str], referrer: tuple[str, str] | None) -> None:
    """The database finds them, since it is its collation that decides which texts are equal."""
    table = sa.table(name, *(sa.column(c) for c in ('id', 'deleted', 'created_at', 'updated_at', *columns)))
    kept, other = table.alias('kept'), table.alias('other')
    same = sa.and_(*(kept.c[c] == other.c[c] for c in columns), kept.c.id != other.c.id)
    pairs = (
        op.get_bind().execute(sa.select(other.c.id, kept.c.id).join(kept, same).where(_is_better(kept, other))).all()
    )
    losers = {loser for loser, _ in pairs}
    for loser, winner in pairs:
        if winner not in losers:
            _replace(table, loser, winner, referrer)


def _is_better(kept: Any, other: Any) -> Any:
    written_kept, written_other = (
        sa.func.coalesce(t.c.updated_at, t.c.created_at, '1970-01-01') for t in (kept, other)
    )
    dead_kept, dead_other = (sa.case((t.c.deleted == sa.true(), 1), else_=0) for t in (kept, other))
    later = sa.or_(written_kept > written_other, sa.and_(written_kept == written_other, kept.c.id > other.c.id))
    return sa.or_(dead_kept < dead_other, sa.and_(dead_kept == dead_other, later))


def _replace(table: Any, loser: int, winner: int, referrer: tuple[str, str] | None) -> None:
    if referrer is not None:
        name, column = referrer
        other = sa.table(name, sa.column(column, sa.Integer))
        op.execute(sa.update(other).where(other.c[column] == loser).values({column: winner}))
    op.execute(sa.delete(table).where(table.c.id == loser))
