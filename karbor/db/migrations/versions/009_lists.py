# SPDX-License-Identifier: Apache-2.0
"""An index for every sort and every exact filter of a list, for the rows of a project and for all.

What is there already is left out: MySQL cannot roll back what an interrupted upgrade has made.
"""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = '009'
down_revision = '008'

# table -> the columns, besides id and time, that it is sorted by or that a filter fixes
_LISTED = {
    'plans': ('name', 'status'),
    'restores': ('status', 'provider_id'),
    'verifications': ('status', 'provider_id'),
    'operation_logs': ('operation_type', 'status', 'provider_id'),
    'triggers': ('name', 'type'),
    'scheduled_operations': ('name', 'operation_type'),
}
_MORE: dict[str, dict[str, tuple[str, ...]]] = {
    'restores': {'ix_restores_checkpoint': ('checkpoint_id', 'created_at', 'id')},
    'verifications': {'ix_verifications_checkpoint': ('checkpoint_id', 'created_at', 'id')},
    'operation_logs': {
        'ix_operation_logs_plan': ('plan_id', 'created_at', 'id'),
        'ix_operation_logs_schedule': ('scheduled_operation_id', 'created_at', 'id'),
    },
    'checkpoint_records': {
        'ix_checkpoint_records_project_ids': ('project_id', 'provider_id', 'id'),
        'ix_checkpoint_records_created': ('provider_id', 'created_at', 'id'),
        'ix_checkpoint_records_project_status': (
            *('project_id', 'provider_id', 'checkpoint_status', 'created_at', 'id'),
        ),
        'ix_checkpoint_records_status': ('provider_id', 'checkpoint_status', 'created_at', 'id'),
    },
}
# What nobody knows of a row of Karbor 1.6 that its API could not make.
_UNKNOWN = {
    'plans': {'name': '-', 'status': 'suspended'},
    'restores': {'status': 'fail'},
    'verifications': {'status': 'fail'},
    'operation_logs': {'status': 'error'},
}


def upgrade() -> None:
    for name, values in _UNKNOWN.items():
        for column, value in values.items():
            table = sa.table(name, sa.column(column))
            op.execute(sa.update(table).where(table.c[column].is_(None)).values({column: value}))
    for name in {**_LISTED, **_MORE}:
        present = {found['name'] for found in sa.inspect(op.get_bind()).get_indexes(name)}
        wanted = dict(_ways(name)) | _MORE.get(name, {})
        for index, columns in wanted.items():
            if index not in present:
                op.create_index(index, name, list(columns))


def _ways(table: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    if table not in _LISTED:
        return
    yield f'ix_{table}_project_ids', ('project_id', 'deleted', 'id')
    yield f'ix_{table}_created', ('deleted', 'created_at', 'id')
    for column in _LISTED[table]:
        yield f'ix_{table}_project_{column}', ('project_id', 'deleted', column, 'created_at', 'id')
        yield f'ix_{table}_{column}', ('deleted', column, 'created_at', 'id')
