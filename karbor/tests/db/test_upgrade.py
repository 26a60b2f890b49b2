# SPDX-License-Identifier: Apache-2.0
"""A database of Karbor 1.6 with rows in every table, after the upgrade."""

import pytest
import sqlalchemy as sa

from karbor.db import engine, migration, models, repository
from karbor.objects import checkpoint, operation_log, plan, restore
from karbor.tests import databases
from karbor.tests.db import karbor_1_6 as old


@pytest.fixture(params=['sqlite', pytest.param('mariadb', marks=pytest.mark.services)])
def upgraded(request, make_database):
    url = make_database(request.param)
    old.load(url, rows=old.ROWS)
    with databases.connected(url):
        migration.sync()
        yield url


def test_every_table_of_1_6_has_rows_to_upgrade(make_database):
    url = make_database('sqlite')
    old.load(url)
    tables = set(sa.inspect(sa.create_engine(url)).get_table_names())
    assert set(old.ROWS) == tables - {'migrate_version'}


def test_rows_are_as_they_were_when_the_database_was_upgraded(upgraded):
    known = sa.MetaData()
    with engine.engine().connect() as connection:
        known.reflect(connection, only=sorted(old.ROWS))
        for table, rows in old.ROWS.items():
            found = {row.id: dict(row._mapping) for row in connection.execute(sa.select(known.tables[table]))}
            kept = {r['id']: _upgraded(table, r) for r in rows if r['id'] not in old.SUPERFLUOUS.get(table, set())}
            shown = {id: {c: row[c] for c in rows[0]} for id, row in found.items()}
            assert shown == kept, table


def _upgraded(table, row):
    """What the migrations document to change: NULL flags, empty JSON, references to rows that were one too many."""
    changed = row | {'deleted': bool(row['deleted'])}
    for column in ('resource_extra_info', 'extra_info'):
        if changed.get(column) == '':
            changed[column] = None
    if table == 'scheduled_operation_states':
        changed['service_id'] = 1
    if table == 'reservations':
        changed['usage_id'] = 2
    return changed


def test_models_read_every_row_when_the_database_was_upgraded(upgraded):
    for model in (mapper.class_ for mapper in models.Base.registry.mappers):
        name = model.__tablename__
        filters = {'deleted': repository.OneOf((True, False))} if 'deleted' in model.__table__.c else {}
        expected = len(old.ROWS.get(name, ())) - len(old.SUPERFLUOUS.get(name, ()))
        assert len(repository.find(model, filters=filters)) == (1 if model is models.Installation else expected), name


def test_objects_read_what_1_6_wrote_when_the_database_was_upgraded(upgraded):
    found = plan.Plan.get(old.PLAN)
    assert found.name == 'Täglich'
    assert found.parameters['OS::Manila::Share'] == {'snapshot_name': 'daily', 'force': 'True'}
    assert found.resources == [
        {
            'id': 'aaaa1111-0000-4000-8000-000000000001',
            'type': 'OS::Manila::Share',
            'name': 'share1',
            'extra_info': {'availability_zone': 'az1'},
        },
        {'id': 'i1', 'type': 'OS::Trove::Instance', 'name': 'db1'},
    ]
    assert restore.Restore.get(old.RESTORE).resources_status == {old.SHARE: 'available'}
    assert operation_log.OperationLog.get(old.RESTORE_LOG).owner is None
    assert checkpoint.Checkpoint.get(old.CHECKPOINT).checkpoint_status == 'available'


def test_triggers_are_due_when_1_6_would_have_fired_them(upgraded):
    found = repository.get(models.Trigger, old.TRIGGER)
    assert found is not None
    assert found.next_run_at == old.DUE


def test_new_rows_are_written_when_the_database_was_upgraded(upgraded):
    made = plan.Plan.new(
        name='🗄️' * 100,
        project_id='p' * 255,
        status='suspended',
        parameters={'x': 'ü' * 100_000},
        resources=[{'id': '1', 'type': 't', 'name': '🗄️', 'extra_info': {'a': 1}}],
    )
    made.create()
    assert plan.Plan.get(made.id).parameters == made.parameters
    assert plan.Plan.get(made.id).resources == made.resources
    resource = models.OperationResource(operation_id=old.PROTECT_LOG, position=0, resource_type='t', resource_id='1')
    repository.create(resource)
    assert repository.count(models.OperationResource, operation_id=old.PROTECT_LOG) == 1
