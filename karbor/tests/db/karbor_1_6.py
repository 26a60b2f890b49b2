# SPDX-License-Identifier: Apache-2.0
"""Databases as Karbor 1.6 left them: its schema, and rows in every table."""

import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

FOLDER = Path(__file__).parent / 'schema_1_6'

PROJECT = 'd1f6b7c0a8e94c5f9b3e2a4c6d8e0f11'
PLAN, DELETED_PLAN = '11111111-1111-4111-8111-111111111111', '11111111-1111-4111-8111-222222222222'
PROVIDER = 'cf56bd3e-97a7-4078-b6d5-f36246333fd9'
CHECKPOINT = '22222222-2222-4222-8222-222222222222'
RESTORE = '33333333-3333-4333-8333-333333333333'
VERIFICATION = '44444444-4444-4444-8444-444444444444'
PROTECT_LOG, RESTORE_LOG = '55555555-5555-4555-8555-111111111111', '55555555-5555-4555-8555-222222222222'
TRIGGER = '66666666-6666-4666-8666-666666666666'
OPERATION = '77777777-7777-4777-8777-777777777777'
SHARE = 'OS::Manila::Share#aaaa1111-0000-4000-8000-000000000001'

CREATED = datetime.datetime(2021, 3, 4, 5, 6, 7)
UPDATED = datetime.datetime(2021, 3, 5, 5, 6, 7)
DUE = datetime.datetime(2030, 1, 1, 2, 0, 0)

_LIVE = {'created_at': CREATED, 'updated_at': None, 'deleted_at': None, 'deleted': False}
_CHANGED = _LIVE | {'updated_at': UPDATED}
_NO_FLAG = _LIVE | {'deleted': None}
_GONE = {'created_at': CREATED, 'updated_at': None, 'deleted_at': UPDATED, 'deleted': True}

ROWS: dict[str, list[dict[str, Any]]] = {
    'services': [
        _CHANGED
        | dict(
            id=1, host='node1', binary='karbor-protection', topic='karbor-protection', report_count=77, disabled=False
        ),
        _NO_FLAG
        | dict(
            id=2,
            host='node1',
            binary='karbor-operationengine',
            topic='karbor-operationengine',
            report_count=0,
            disabled=None,
        ),
        # The same service once more, as a race at its first start left it; the first one is the one that reported last.
        _LIVE
        | dict(
            id=3, host='node1', binary='karbor-protection', topic='karbor-protection', report_count=1, disabled=False
        ),
        _GONE
        | dict(
            id=4, host='node1', binary='karbor-protection', topic='karbor-protection', report_count=1, disabled=True
        ),
    ],
    'plans': [
        _CHANGED
        | dict(
            id=PLAN,
            name='Täglich',
            description=None,
            provider_id=PROVIDER,
            project_id=PROJECT,
            status='suspended',
            parameters='{"OS::Manila::Share": {"snapshot_name": "daily", "force": "True"}}',
        ),
        _NO_FLAG
        | dict(
            id='11111111-1111-4111-8111-333333333333',
            name='b',
            description='',
            provider_id=PROVIDER,
            project_id=PROJECT,
            status='started',
            parameters='{}',
        ),
        _GONE
        | dict(
            id=DELETED_PLAN,
            name='old',
            description=None,
            provider_id=PROVIDER,
            project_id=PROJECT,
            status='suspended',
            parameters=None,
        ),
    ],
    'resources': [
        _LIVE
        | dict(
            id=1,
            plan_id=PLAN,
            resource_id='aaaa1111-0000-4000-8000-000000000001',
            resource_type='OS::Manila::Share',
            resource_name='share1',
            resource_extra_info='{"availability_zone": "az1"}',
        ),
        _NO_FLAG
        | dict(
            id=2,
            plan_id=PLAN,
            resource_id='i1',
            resource_type='OS::Trove::Instance',
            resource_name='db1',
            resource_extra_info='',
        ),
        _GONE
        | dict(
            id=3,
            plan_id=DELETED_PLAN,
            resource_id='i2',
            resource_type='OS::Trove::Instance',
            resource_name='db2',
            resource_extra_info=None,
        ),
    ],
    'restores': [
        _CHANGED
        | dict(
            id=RESTORE,
            project_id=PROJECT,
            provider_id=PROVIDER,
            checkpoint_id=CHECKPOINT,
            restore_target='http://192.0.2.7/v3',
            parameters='{"OS::Manila::Share": {"restore_name": "back", "size": "1"}}',
            status='success',
            resources_status=f'{{"{SHARE}": "available"}}',
            resources_reason='{}',
        ),
        _NO_FLAG
        | dict(
            id='33333333-3333-4333-8333-444444444444',
            project_id=PROJECT,
            provider_id=PROVIDER,
            checkpoint_id=CHECKPOINT,
            restore_target=None,
            parameters='{}',
            status='fail',
            resources_status=f'{{"{SHARE}": "error"}}',
            resources_reason=f'{{"{SHARE}": "quota"}}',
        ),
    ],
    'verifications': [
        _LIVE
        | dict(
            id=VERIFICATION,
            project_id=PROJECT,
            provider_id=PROVIDER,
            checkpoint_id=CHECKPOINT,
            status='success',
            parameters='{}',
            resources_status=f'{{"{SHARE}": "available"}}',
            resources_reason='{}',
        ),
    ],
    'operation_logs': [
        _CHANGED
        | dict(
            id=PROTECT_LOG,
            project_id=PROJECT,
            operation_type='protect',
            checkpoint_id=CHECKPOINT,
            plan_id=PLAN,
            provider_id=PROVIDER,
            restore_id=None,
            scheduled_operation_id=None,
            status='available',
            started_at=CREATED,
            ended_at=UPDATED,
            error_info=None,
            extra_info=None,
        ),
        _LIVE
        | dict(
            id=RESTORE_LOG,
            project_id=PROJECT,
            operation_type='restore',
            checkpoint_id=CHECKPOINT,
            plan_id=None,
            provider_id=PROVIDER,
            restore_id=RESTORE,
            scheduled_operation_id=None,
            status='in_progress',
            started_at=CREATED,
            ended_at=None,
            error_info=None,
            extra_info='',
        ),
    ],
    'checkpoint_records': [
        _LIVE
        | dict(
            id=CHECKPOINT,
            project_id=PROJECT,
            checkpoint_id=CHECKPOINT,
            checkpoint_status='available',
            provider_id=PROVIDER,
            plan_id=PLAN,
            operation_id=None,
            create_by='user',
            extend_info='[{"id": "i1"}]',
        ),
    ],
    'triggers': [
        _LIVE
        | dict(
            id=TRIGGER,
            name='nightly',
            project_id=PROJECT,
            type='time',
            properties='{"format": "crontab", "pattern": "0 2 * * *", "window": "900"}',
        ),
        _GONE
        | dict(id='66666666-6666-4666-8666-777777777777', name='old', project_id=PROJECT, type='time', properties='{}'),
    ],
    'trigger_executions': [
        _LIVE | dict(id='88888888-8888-4888-8888-888888888888', trigger_id=TRIGGER, execution_time=DUE)
    ],
    'scheduled_operations': [
        _LIVE
        | dict(
            id=OPERATION,
            name='nightly protect',
            description=None,
            operation_type='protect',
            user_id='u' * 32,
            project_id=PROJECT,
            trigger_id=TRIGGER,
            operation_definition=f'{{"plan_id": "{PLAN}", "provider_id": "{PROVIDER}"}}',
            enabled=True,
        ),
    ],
    'scheduled_operation_states': [
        # Refers to a row of services that is one too many.
        _LIVE
        | dict(
            id=1, operation_id=OPERATION, service_id=3, trust_id='t' * 32, state='registered', end_time_for_run=None
        ),
    ],
    'scheduled_operation_logs': [
        _LIVE
        | dict(
            id=1,
            operation_id=OPERATION,
            expect_start_time=CREATED,
            triggered_time=CREATED,
            actual_start_time=CREATED,
            end_time=UPDATED,
            state='success',
            extend_info='not JSON',
        ),
    ],
    'quotas': [
        _LIVE | dict(id=1, project_id=PROJECT, resource='plans', hard_limit=10),
        _CHANGED | dict(id=2, project_id=PROJECT, resource='plans', hard_limit=20),
        _GONE | dict(id=3, project_id=PROJECT, resource='plans', hard_limit=30),
        _LIVE | dict(id=4, project_id=PROJECT, resource='checkpoints', hard_limit=-1),
    ],
    'quota_classes': [
        _NO_FLAG | dict(id=1, class_name='default', resource='plans', hard_limit=50),
        _NO_FLAG | dict(id=2, class_name='default', resource='plans', hard_limit=60),
    ],
    'quota_usages': [
        _LIVE | dict(id=1, project_id=PROJECT, resource='plans', in_use=2, reserved=0, until_refresh=None),
        _CHANGED | dict(id=2, project_id=PROJECT, resource='plans', in_use=3, reserved=1, until_refresh=None),
    ],
    'reservations': [
        _GONE | dict(id=1, uuid='9' * 36, usage_id=1, project_id=PROJECT, resource='plans', delta=1, expire=UPDATED),
    ],
}

# Rows that the upgrade removes: table -> ids.
SUPERFLUOUS = {'services': {3, 4}, 'quotas': {1, 3}, 'quota_classes': {1}, 'quota_usages': {1}}


def load(url: str, migrated_to: int = 3, rows: dict[str, list[dict[str, Any]]] | None = None) -> None:
    """Make the database ``url`` one of Karbor 1.6 (SQLite or MariaDB), with ``rows``."""
    made = sa.create_engine(url, poolclass=sa.pool.NullPool)
    script = FOLDER / ('sqlite.sql' if made.dialect.name == 'sqlite' else 'mariadb.sql')
    with made.begin() as connection:
        for statement in script.read_text().split(';\n'):
            if statement.strip():
                connection.exec_driver_sql(statement.strip().rstrip(';').replace('%', '%%'))
        migrated = sa.table('migrate_version', sa.column('version'))
        connection.execute(sa.update(migrated).values(version=migrated_to))
        known = sa.MetaData()
        known.reflect(connection)
        # MySQL shows a boolean as a small integer, which True, False and None are for it, too.
        for table, values in (rows or {}).items():
            for row in values:
                connection.execute(sa.insert(known.tables[table]).values(**row))
