# SPDX-License-Identifier: Apache-2.0
"""Operations with their resources, checkpoints in the database, providers, trusts, due times, an index for every list.

What is there already is left out: MySQL cannot roll back what an interrupted upgrade has made.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '004'
down_revision = '003'

_MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')
_LONG = sa.Text().with_variant(mysql.LONGTEXT(), 'mysql', 'mariadb')


def upgrade() -> None:
    _add_columns('operation_logs', *_operation_columns())
    _add_columns(
        'checkpoint_records', sa.Column('protection_plan', _LONG), sa.Column('status_details', sa.String(4096))
    )
    _add_columns('triggers', sa.Column('next_run_at', _MOMENT))
    _take_over_due_times()
    _make_tables()
    for table, indexes in _INDEXES.items():
        _make_indexes(table, indexes)
    _drop_replaced_indexes()


def _operation_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column('verification_id', sa.String(36)),
        sa.Column('status_details', sa.String(4096)),
        sa.Column('resumable', sa.Boolean),
        sa.Column('user_id', sa.String(255)),
        sa.Column('roles', _LONG),
        sa.Column('request_id', sa.String(255)),
        sa.Column('parameters', _LONG),
        sa.Column('owner', sa.String(255)),
        sa.Column('expires_at', sa.Double),
        *(sa.Column(name, sa.Integer, nullable=False, server_default='0') for name in ('epoch', 'beat', 'priority')),
        sa.Column('cancel_requested', sa.Boolean, nullable=False, server_default='0'),
    ]


def _add_columns(table: str, *columns: sa.Column[Any]) -> None:
    present = {found['name'] for found in sa.inspect(op.get_bind()).get_columns(table)}
    for column in columns:
        if column.name not in present:
            op.add_column(table, column)


def _take_over_due_times() -> None:
    """1.6 kept the due time of a trigger in a table of its own."""
    triggers = sa.table('triggers', sa.column('id'), sa.column('next_run_at'))
    due = sa.table('trigger_executions', sa.column('trigger_id'), sa.column('execution_time'))
    at = sa.select(due.c.execution_time).where(due.c.trigger_id == triggers.c.id).scalar_subquery()
    op.execute(sa.update(triggers).where(triggers.c.next_run_at.is_(None)).values(next_run_at=at))


def _make_tables() -> None:
    _table(
        'operation_resources',
        sa.Column(
            'operation_id', sa.String(36), sa.ForeignKey('operation_logs.id', ondelete='CASCADE'), primary_key=True
        ),
        sa.Column('position', sa.Integer, primary_key=True, autoincrement=False),
        sa.Column('level', sa.Integer, nullable=False),
        sa.Column('resource_type', sa.String(64), nullable=False),
        sa.Column('resource_id', sa.String(255), nullable=False),
        sa.Column('resource_name', sa.String(255)),
        sa.Column('new_id', sa.String(255)),
        sa.Column('status', sa.Enum('active', 'build', 'error', name='resource_status')),
        sa.Column('status_details', sa.String(4096)),
        sa.Column('progress', sa.Integer),
        sa.Column('hooks', sa.Integer, nullable=False),
        sa.Column('handle', _LONG),
        sa.Column('attempt', sa.Integer, nullable=False),
        sa.Column('extra', _LONG),
        sa.Column('started_at', _MOMENT),
        sa.Column('ended_at', _MOMENT),
    )
    _table(
        'checkpoint_graphs',
        sa.Column('checkpoint_id', sa.String(36), primary_key=True),
        sa.Column('graph', _LONG, nullable=False),
    )
    _table(
        'providers',
        sa.Column('id', sa.String(36), primary_key=True),
        sa.Column('host', sa.String(255), primary_key=True),
        sa.Column('name', sa.String(255), nullable=False),
        sa.Column('description', sa.String(255)),
        sa.Column('extended_info_schema', _LONG, nullable=False),
        sa.Column('resource_types', _LONG, nullable=False),
        sa.Column('unavailable', _LONG),
        sa.Column('options', _LONG),
        sa.Column('digest', sa.String(64), nullable=False),
        sa.Column('published_at', _MOMENT, nullable=False),
    )
    _table(
        'trusts',
        sa.Column('id', sa.String(64), primary_key=True),
        sa.Column('user_id', sa.String(255), nullable=False),
        sa.Column('project_id', sa.String(255), nullable=False),
        sa.Column('roles_digest', sa.String(64), nullable=False),
        sa.Column('created_at', _MOMENT, nullable=False),
        sa.Column('used_at', _MOMENT),
        sa.UniqueConstraint('user_id', 'project_id', 'roles_digest', name='uniq_trusts_who'),
    )
    _table(
        'installation',
        sa.Column('id', sa.String(36), primary_key=True),
        sa.Column('created_at', _MOMENT, nullable=False),
    )


def _table(name: str, *items: Any) -> None:
    op.create_table(
        name, *items, mysql_engine='InnoDB', mysql_charset='utf8mb4', mysql_row_format='DYNAMIC', if_not_exists=True
    )


_OF_PROJECT = ('project_id', 'deleted', 'created_at', 'id')

# table -> index -> columns
_INDEXES: dict[str, dict[str, tuple[str, ...]]] = {
    'plans': {'ix_plans_project_created': _OF_PROJECT},
    'resources': {'ix_resources_plan_id': ('plan_id',)},
    'restores': {'ix_restores_project_created': _OF_PROJECT},
    'verifications': {'ix_verifications_project_created': _OF_PROJECT},
    'operation_logs': {
        'ix_operation_logs_project_created': _OF_PROJECT,
        'ix_operation_logs_checkpoint': ('checkpoint_id', 'created_at', 'id'),
        'ix_operation_logs_restore': ('restore_id',),
        'ix_operation_logs_open': ('ended_at', 'owner', 'priority', 'created_at'),
    },
    'checkpoint_records': {
        'ix_checkpoint_records_provider': ('project_id', 'provider_id', 'created_at', 'id'),
        'ix_checkpoint_records_plan': ('plan_id', 'created_at', 'id'),
    },
    'triggers': {'ix_triggers_project_created': _OF_PROJECT, 'ix_triggers_next_run_at': ('next_run_at',)},
    'scheduled_operations': {'ix_scheduled_operations_project_created': _OF_PROJECT},
    'scheduled_operation_states': {'ix_scheduled_operation_states_service_id': ('service_id',)},
    'reservations': {'ix_reservations_usage_id': ('usage_id',)},
    'trusts': {'ix_trusts_used_at': ('used_at',)},
}

# On MySQL: the indexes that it made for foreign keys, named as it named them.
_REPLACED = {'resources': 'plan_id', 'scheduled_operation_states': 'service_id', 'reservations': 'usage_id'}


def _make_indexes(table: str, indexes: dict[str, tuple[str, ...]]) -> None:
    present = _indexes_of(table)
    for name, columns in indexes.items():
        if name not in present:
            op.create_index(name, table, list(columns))


def _drop_replaced_indexes() -> None:
    for table, name in _REPLACED.items():
        if name in _indexes_of(table):
            op.drop_index(name, table)


def _indexes_of(table: str) -> set[str | None]:
    return {found['name'] for found in sa.inspect(op.get_bind()).get_indexes(table)}
