# SPDX-License-Identifier: Apache-2.0
"""The answers to requests that came with `Idempotency-Key`.

What is there already is left out: MySQL cannot roll back what an interrupted upgrade has made.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '008'
down_revision = '007'

_MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')
_INDEX = 'ix_idempotency_keys_created'
_LONG = sa.Text().with_variant(mysql.LONGTEXT(), 'mysql', 'mariadb')


def upgrade() -> None:
    op.create_table(
        'idempotency_keys',
        sa.Column('id', sa.String(64), primary_key=True),
        sa.Column('request', sa.String(64), nullable=False),
        sa.Column('source', sa.String(36), nullable=False),
        sa.Column('attempt', sa.Integer, nullable=False),
        sa.Column('claimed_until', _MOMENT, nullable=False),
        sa.Column('status', sa.Integer),
        sa.Column('headers', _LONG),
        sa.Column('body', _LONG),
        sa.Column('created_at', _MOMENT, nullable=False),
        mysql_engine='InnoDB',
        mysql_charset='utf8mb4',
        mysql_row_format='DYNAMIC',
        if_not_exists=True,
    )
    if _INDEX not in {found['name'] for found in sa.inspect(op.get_bind()).get_indexes('idempotency_keys')}:
        op.create_index(_INDEX, 'idempotency_keys', ['created_at'])
