# SPDX-License-Identifier: Apache-2.0
"""The resources of operations that ended long ago, one row for each operation; when the daily task ran last; a time of
creation for every row that is listed by it.

What is there already is left out: MySQL cannot roll back what an interrupted upgrade has made.
"""

import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '005'
down_revision = '004'

_MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')
_BYTES = sa.LargeBinary().with_variant(mysql.LONGBLOB(), 'mysql', 'mariadb')
_INDEX = 'ix_operation_logs_folded'


_LISTED = (
    *('plans', 'restores', 'verifications', 'operation_logs', 'checkpoint_records'),
    *('triggers', 'scheduled_operations'),
)


def upgrade() -> None:
    _add_column('operation_logs', sa.Column('folded', sa.Boolean, nullable=False, server_default='0'))
    _add_column('installation', sa.Column('tidied_at', _MOMENT))
    if _INDEX not in {found['name'] for found in sa.inspect(op.get_bind()).get_indexes('operation_logs')}:
        op.create_index(_INDEX, 'operation_logs', ['folded', 'ended_at'])
    op.create_table(
        'folded_resources',
        sa.Column(
            'operation_id', sa.String(36), sa.ForeignKey('operation_logs.id', ondelete='CASCADE'), primary_key=True
        ),
        sa.Column('number', sa.Integer, nullable=False),
        sa.Column('resources', _BYTES, nullable=False),
        mysql_engine='InnoDB',
        mysql_charset='utf8mb4',
        mysql_row_format='DYNAMIC',
        if_not_exists=True,
    )
    for table in map(_with_times, _LISTED):
        at = sa.func.coalesce(table.c.updated_at, sa.literal(datetime.datetime(1970, 1, 1), _MOMENT))
        op.execute(sa.update(table).where(table.c.created_at.is_(None)).values(created_at=at))


def _with_times(name: str) -> sa.TableClause:
    return sa.table(name, sa.column('created_at', _MOMENT), sa.column('updated_at', _MOMENT))


def _add_column(table: str, column: sa.Column) -> None:
    if column.name not in {found['name'] for found in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, column)
