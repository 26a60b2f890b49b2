# SPDX-License-Identifier: Apache-2.0
"""Types of the columns of 1.6: full Unicode, microseconds, long texts, no NULL in `deleted`, room for long project ids.

Only MySQL and MariaDB need most of it. Each statement may be repeated, since there no DDL can be rolled back.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '002'
down_revision = '001'

_KEPT_TIMES = ('created_at', 'updated_at', 'deleted_at')

# table -> its own times
_TIMES: dict[str, tuple[str, ...]] = {
    'services': ('modified_at',),
    'plans': (),
    'resources': (),
    'restores': (),
    'verifications': (),
    'operation_logs': ('started_at', 'ended_at'),
    'checkpoint_records': (),
    'triggers': (),
    'trigger_executions': ('execution_time',),
    'scheduled_operations': (),
    'scheduled_operation_states': ('end_time_for_run',),
    'scheduled_operation_logs': ('expect_start_time', 'triggered_time', 'actual_start_time', 'end_time'),
    'quotas': (),
    'quota_classes': (),
    'quota_usages': (),
    'reservations': ('expire',),
}
# table -> its texts
_TEXTS: dict[str, tuple[str, ...]] = {
    'plans': ('parameters',),
    'resources': ('resource_extra_info',),
    'restores': ('parameters', 'resources_status', 'resources_reason'),
    'verifications': ('parameters', 'resources_status', 'resources_reason'),
    'operation_logs': ('error_info', 'extra_info'),
    'checkpoint_records': ('extend_info',),
    'triggers': ('properties',),
    'scheduled_operations': ('operation_definition',),
    'scheduled_operation_logs': ('extend_info',),
}
# name -> table, column, table it refers to, what deleting there does; the names are those that MySQL made
_FOREIGN_KEYS: dict[str, tuple[str, str, str, str | None]] = {
    'resources_ibfk_1': ('resources', 'plan_id', 'plans', None),
    'scheduled_operations_ibfk_1': ('scheduled_operations', 'trigger_id', 'triggers', None),
    'scheduled_operation_states_ibfk_1': (
        'scheduled_operation_states',
        'operation_id',
        'scheduled_operations',
        'CASCADE',
    ),
    'scheduled_operation_states_ibfk_2': ('scheduled_operation_states', 'service_id', 'services', None),
    'scheduled_operation_logs_ibfk_1': ('scheduled_operation_logs', 'operation_id', 'scheduled_operations', 'CASCADE'),
    'reservations_ibfk_1': ('reservations', 'usage_id', 'quota_usages', None),
}
_DELETED_NULLABLE = (
    *('services', 'plans', 'resources', 'restores', 'verifications'),
    *('quotas', 'quota_classes', 'quota_usages', 'reservations'),
)
_NOT_NULL = {'execution_time', 'properties', 'operation_definition'}
# Not JSON: text that is kept as it is.
_PLAIN = {
    ('operation_logs', 'error_info'),
    ('scheduled_operation_logs', 'extend_info'),
    ('checkpoint_records', 'extend_info'),
}


def upgrade() -> None:
    if op.get_bind().dialect.name in ('mysql', 'mariadb'):
        _modernise_mysql()
    _fill_deleted()
    _empty_json_to_null()
    with op.batch_alter_table('checkpoint_records') as batch:
        batch.alter_column('project_id', type_=sa.String(255), existing_type=sa.String(36), existing_nullable=False)


def _modernise_mysql() -> None:
    """The 1.6 tables are of three-byte characters, of the oldest row format, and cut times and texts."""
    _drop_foreign_keys()
    for table, times in _TIMES.items():
        op.execute(f'ALTER TABLE {table} ROW_FORMAT=DYNAMIC, CONVERT TO CHARACTER SET utf8mb4')
        for column in (*_KEPT_TIMES, *times):
            _retype(table, column, sa.DateTime(), mysql.DATETIME(fsp=6))
        for column in _TEXTS.get(table, ()):
            _retype(table, column, sa.Text(), mysql.LONGTEXT())
    for name, (child, column, parent, ondelete) in _FOREIGN_KEYS.items():
        op.create_foreign_key(name, child, parent, [column], ['id'], ondelete=ondelete)


def _drop_foreign_keys() -> None:
    """The character set of a column that one of them is on cannot be changed."""
    inspector = sa.inspect(op.get_bind())
    for table in _TIMES:
        for found in inspector.get_foreign_keys(table):
            op.drop_constraint(str(found['name']), table, type_='foreignkey')


def _retype(table: str, column: str, old: sa.types.TypeEngine[Any], new: sa.types.TypeEngine[Any]) -> None:
    op.alter_column(table, column, type_=new, existing_type=old, existing_nullable=column not in _NOT_NULL)


def _fill_deleted() -> None:
    """1.6 took a NULL for "not deleted"."""
    for name in _DELETED_NULLABLE:
        table = sa.table(name, sa.column('deleted', sa.Boolean))
        op.execute(sa.update(table).where(table.c.deleted.is_(None)).values(deleted=False))
        with op.batch_alter_table(name) as batch:
            batch.alter_column('deleted', existing_type=sa.Boolean(), nullable=False)


def _empty_json_to_null() -> None:
    """An empty text is no JSON: 1.6 read it as nothing."""
    for name, columns in _TEXTS.items():
        for column in columns:
            if (name, column) not in _PLAIN and column not in _NOT_NULL:
                table = sa.table(name, sa.column(column, sa.Text))
                op.execute(sa.update(table).where(table.c[column] == '').values({column: None}))
