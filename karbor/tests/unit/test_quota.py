# SPDX-License-Identifier: Apache-2.0
"""Quotas are counted under a lock: however many ask at once, no more than the limit get in."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from oslo_config import cfg
from oslo_utils import timeutils, uuidutils

from karbor import exception, quota
from karbor.db import engine, models, repository
from karbor.objects.plan import Plan
from karbor.tests import fixtures
from karbor.tests.databases import database, database_url, make_database  # noqa: F401

CONF = cfg.CONF
PROJECT = fixtures.PROJECT


@pytest.fixture
def limit(database: str) -> Iterator[int]:  # noqa: F811
    CONF.set_override('quota_plans', 5)
    yield 5
    CONF.clear_override('quota_plans')


def _new_plan(project_id: str = PROJECT) -> Plan:
    return Plan.new(name='a plan', project_id=project_id, resources=[], parameters={}, status='suspended')


@engine.repeated
def _insert(plan: Plan) -> None:
    with engine.writing():
        # As accepting does: what was read before the lock must not be what is counted.
        repository.get(models.Plan, plan.id)
        quota.reserve('plans', plan.project_id)
        plan.create()


def _try(_: int) -> bool:
    try:
        _insert(_new_plan())
    except exception.OverQuota:
        return False
    return True


def test_no_more_than_the_limit_get_in_when_many_ask_at_once(limit: int) -> None:
    with ThreadPoolExecutor(8) as pool:
        got_in = list(pool.map(_try, range(24)))
    assert sum(got_in) == quota.in_use('plans', PROJECT) == limit
    assert repository.count(models.QuotaUsage, project_id=PROJECT) == 1


def test_a_refusal_tells_limit_and_use(limit: int) -> None:
    for _ in range(limit):
        _insert(_new_plan())
    with pytest.raises(exception.OverQuota, match='5 of 5 plans'):
        _insert(_new_plan())


def test_what_is_deleted_does_not_count(limit: int) -> None:
    plans = [_new_plan() for _ in range(limit)]
    for plan in plans:
        _insert(plan)
    plans[0].destroy()
    _insert(_new_plan())
    assert quota.in_use('plans', PROJECT) == limit


def test_projects_have_quotas_of_their_own(limit: int) -> None:
    for project in (PROJECT, fixtures.OTHER):
        for _ in range(limit):
            _insert(_new_plan(project))
    assert quota.in_use('plans', fixtures.OTHER) == limit


def test_a_deleted_checkpoint_does_not_count(limit: int) -> None:
    for status in ('available', 'deleted', 'error', 'deleting'):
        fixtures.record_checkpoint(fixtures.PROVIDER, status)
    assert quota.in_use('checkpoints', PROJECT) == 3


def test_a_create_that_fails_takes_nothing(limit: int) -> None:
    quota.set_limits(PROJECT, {'plans': 1})
    for _ in range(3):
        with pytest.raises(RuntimeError), engine.writing():
            quota.reserve('plans', PROJECT)
            _new_plan().create()
            raise RuntimeError
    assert quota.in_use('plans', PROJECT) == 0
    _insert(_new_plan())


def test_the_limit_is_the_projects_then_that_of_the_class_then_the_option(limit: int) -> None:
    assert quota.limits(PROJECT) == quota.class_limits('default') == {'plans': 5, 'checkpoints': -1}
    quota.set_class_limits('default', {'plans': 6, 'checkpoints': 60})
    quota.set_class_limits('other', {'plans': 9})
    assert quota.limits(PROJECT) == quota.class_limits('default') == {'plans': 6, 'checkpoints': 60}
    quota.set_limits(PROJECT, {'plans': 0})
    assert quota.limits(PROJECT) == {'plans': 0, 'checkpoints': 60}
    assert quota.limits(fixtures.OTHER) == quota.class_limits('default') == {'plans': 6, 'checkpoints': 60}
    assert quota.class_limits('other') == {'plans': 9, 'checkpoints': -1}
    quota.remove_limits(PROJECT)
    assert quota.limits(PROJECT) == {'plans': 6, 'checkpoints': 60}
    quota.set_limits(PROJECT, {'plans': 7})
    assert quota.limits(PROJECT)['plans'] == 7
    assert repository.count(models.Quota) == 1


def test_rows_of_karbor_1_6_that_say_nothing_do_not_count(limit: int) -> None:
    common = {'project_id': PROJECT, 'deleted': False}
    repository.create_many(models.Quota, [common | {'resource': 'plans', 'hard_limit': None}])
    repository.create_many(models.Quota, [common | {'resource': 'volumes', 'hard_limit': 3}])
    assert quota.limits(PROJECT) == {'plans': 5, 'checkpoints': -1}
    quota.set_limits(PROJECT, {'plans': 8})
    assert quota.limits(PROJECT)['plans'] == 8


# Of several indexes that begin with the project each database takes the one that it likes best.
INDEXES = {'plans': 'ix_plans_project_', 'checkpoints': 'ix_checkpoint_records_'}


@pytest.mark.parametrize('resource', quota.RESOURCES)
def test_counting_finds_the_rows_in_an_index(database: str, resource: str) -> None:  # noqa: F811
    _fill(resource, 4000)
    CONF.set_override(f'quota_{resource}', 5)
    seen: list[Any] = []
    sa.event.listen(engine.engine(), 'before_cursor_execute', lambda *told: seen.append(told[2:4]))
    with pytest.raises(exception.OverQuota, match='10 of 5'), engine.writing():
        quota.reserve(resource, '7')
    CONF.clear_override(f'quota_{resource}')
    table = quota._COUNTED[resource][0].__tablename__
    counts = [told for told in seen if f'FROM {table}' in told[0]]
    assert len(counts) == 2  # whether there are five, and how many there are
    name = engine.engine().dialect.name
    with engine.engine().connect() as connection:
        for statement, parameters in counts:
            plan = connection.exec_driver_sql(_explained(statement), parameters).all()
            told = str([row.key for row in plan] if name == 'mysql' else plan)
            assert INDEXES[resource] in told, plan
            assert 'COVERING' in told or name != 'sqlite', plan


def _explained(statement: str) -> str:
    return ('EXPLAIN QUERY PLAN ' if engine.engine().dialect.name == 'sqlite' else 'EXPLAIN ') + statement


def _fill(resource: str, number: int) -> None:
    """Ten rows for each of many projects, and what the database knows of them."""
    common = {'deleted': False, 'created_at': timeutils.utcnow(), 'provider_id': fixtures.PROVIDER}
    if resource == 'checkpoints':
        common |= {'checkpoint_id': '-', 'plan_id': '-', 'checkpoint_status': 'available'}
    rows = [common | {'id': uuidutils.generate_uuid(), 'project_id': f'{n % (number // 10)}'} for n in range(number)]
    model = quota._COUNTED[resource][0]
    repository.create_many(model, rows)
    analyze = {'mysql': 'ANALYZE TABLE', 'mariadb': 'ANALYZE TABLE'}.get(engine.engine().dialect.name, 'ANALYZE')
    with engine.engine().connect().execution_options(isolation_level='AUTOCOMMIT') as connection:
        connection.exec_driver_sql(f'{analyze} {model.__tablename__}')


def test_no_limit_takes_no_lock(limit: int) -> None:
    CONF.set_override('quota_plans', -1)
    _insert(_new_plan())
    assert repository.count(models.QuotaUsage) == 0
