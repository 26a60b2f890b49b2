# SPDX-License-Identifier: Apache-2.0
"""Quotas are counted under a lock: however many ask at once, no more than the limit get in."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from oslo_config import cfg

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


def test_no_limit_takes_no_lock(limit: int) -> None:
    CONF.set_override('quota_plans', -1)
    _insert(_new_plan())
    assert repository.count(models.QuotaUsage) == 0
