# SPDX-License-Identifier: Apache-2.0
"""The schema of Karbor 1.6, at its last migration, 3.

A database of Karbor 1.6 is stamped with this revision instead of running it, so nothing here may
ever change: names, lengths, missing indexes and the CHECKs of booleans are as 1.6 made them.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = '001'
down_revision = None


def upgrade() -> None:
    _plans()
    _operations()
    _triggers()
    _scheduled_operations()
    _quotas()


def _table(name: str, *items: Any, deleted_nullable: bool = True) -> None:
    kept = [sa.Column(column, sa.DateTime()) for column in ('created_at', 'updated_at', 'deleted_at')]
    kept.append(_boolean('deleted', nullable=deleted_nullable))
    op.create_table(name, *kept, *items, mysql_engine='InnoDB', mysql_charset='utf8')


def _boolean(name: str, nullable: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(create_constraint=True), nullable=nullable)


def _id() -> sa.Column[Any]:
    return sa.Column('id', sa.String(36), primary_key=True)


def _serial() -> sa.Column[Any]:
    return sa.Column('id', sa.Integer, primary_key=True)


def _strings(names: Sequence[str], length: int, nullable: bool = True) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.String(length), nullable=nullable) for name in names]


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text) for name in names]


def _times(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.DateTime) for name in names]


def _plans() -> None:
    _table(
        'services',
        _serial(),
        *_strings(['host', 'binary', 'topic'], 255),
        sa.Column('report_count', sa.Integer, nullable=False),
        _boolean('disabled'),
        sa.Column('disabled_reason', sa.String(255)),
        sa.Column('modified_at', sa.DateTime),
        *_strings(['rpc_current_version', 'rpc_available_version'], 36),
    )
    _table(
        'plans',
        _id(),
        *_strings(['name', 'description'], 255),
        *_strings(['provider_id'], 36),
        *_strings(['project_id'], 255),
        *_strings(['status'], 64),
        *_texts('parameters'),
    )
    _table(
        'resources',
        _serial(),
        sa.Column('plan_id', sa.String(36), sa.ForeignKey('plans.id'), nullable=False),
        *_strings(['resource_id'], 36),
        *_strings(['resource_type'], 64),
        *_strings(['resource_name'], 255),
        *_texts('resource_extra_info'),
    )


def _operations() -> None:
    _table(
        'restores',
        _id(),
        *_strings(['project_id'], 255),
        *_strings(['provider_id', 'checkpoint_id'], 36),
        *_strings(['restore_target'], 255),
        *_texts('parameters'),
        *_strings(['status'], 64),
        *_texts('resources_status', 'resources_reason'),
    )
    _table(
        'verifications',
        _id(),
        *_strings(['project_id'], 255, nullable=False),
        *_strings(['provider_id', 'checkpoint_id'], 36, nullable=False),
        *_strings(['status'], 64),
        *_texts('parameters', 'resources_status', 'resources_reason'),
    )
    _table(
        'operation_logs',
        _id(),
        *_strings(['project_id', 'operation_type'], 255, nullable=False),
        *_strings(['checkpoint_id', 'plan_id', 'provider_id', 'restore_id', 'scheduled_operation_id'], 36),
        *_strings(['status'], 64),
        *_times('started_at', 'ended_at'),
        *_texts('error_info', 'extra_info'),
        deleted_nullable=False,
    )
    _table(
        'checkpoint_records',
        _id(),
        *_strings(['project_id', 'checkpoint_id', 'checkpoint_status', 'provider_id', 'plan_id'], 36, nullable=False),
        *_strings(['operation_id', 'create_by'], 36),
        *_texts('extend_info'),
        deleted_nullable=False,
    )


def _triggers() -> None:
    _table(
        'triggers',
        _id(),
        *_strings(['name', 'project_id'], 255, nullable=False),
        *_strings(['type'], 64, nullable=False),
        sa.Column('properties', sa.Text, nullable=False),
        deleted_nullable=False,
    )
    _table(
        'trigger_executions',
        _id(),
        sa.Column('trigger_id', sa.String(36), nullable=False, unique=True, index=True),
        sa.Column('execution_time', sa.DateTime, nullable=False, index=True),
        deleted_nullable=False,
    )


def _scheduled_operations() -> None:
    _table(
        'scheduled_operations',
        _id(),
        *_strings(['name'], 255, nullable=False),
        *_strings(['description'], 255),
        *_strings(['operation_type', 'user_id'], 64, nullable=False),
        *_strings(['project_id'], 255, nullable=False),
        sa.Column('trigger_id', sa.String(36), sa.ForeignKey('triggers.id'), nullable=False, index=True),
        sa.Column('operation_definition', sa.Text, nullable=False),
        _boolean('enabled', nullable=False),
        deleted_nullable=False,
    )
    _table(
        'scheduled_operation_states',
        _serial(),
        _scheduled_operation(unique=True),
        sa.Column('service_id', sa.Integer, sa.ForeignKey('services.id'), nullable=False),
        *_strings(['trust_id'], 64, nullable=False),
        *_strings(['state'], 32, nullable=False),
        *_times('end_time_for_run'),
        deleted_nullable=False,
    )
    _table(
        'scheduled_operation_logs',
        _serial(),
        _scheduled_operation(unique=False),
        *_times('expect_start_time', 'triggered_time', 'actual_start_time', 'end_time'),
        *_strings(['state'], 32, nullable=False),
        *_texts('extend_info'),
        deleted_nullable=False,
    )


def _scheduled_operation(unique: bool) -> sa.Column[Any]:
    target = sa.ForeignKey('scheduled_operations.id', ondelete='CASCADE')
    return sa.Column('operation_id', sa.String(36), target, nullable=False, unique=unique, index=True)


def _quotas() -> None:
    _table(
        'quotas',
        _serial(),
        *_strings(['project_id', 'resource'], 255, nullable=False),
        sa.Column('hard_limit', sa.Integer),
    )
    _table(
        'quota_classes',
        _serial(),
        *_strings(['class_name', 'resource'], 255, nullable=False),
        sa.Column('hard_limit', sa.Integer),
    )
    _table(
        'quota_usages',
        _serial(),
        *_strings(['project_id', 'resource'], 255, nullable=False),
        *(sa.Column(name, sa.Integer) for name in ('in_use', 'reserved', 'until_refresh')),
    )
    _table(
        'reservations',
        _serial(),
        *_strings(['uuid'], 36, nullable=False),
        sa.Column('usage_id', sa.Integer, sa.ForeignKey('quota_usages.id'), nullable=False),
        sa.Column('project_id', sa.String(255), index=True),
        *_strings(['resource'], 255),
        sa.Column('delta', sa.Integer, nullable=False),
        *_times('expire'),
    )
