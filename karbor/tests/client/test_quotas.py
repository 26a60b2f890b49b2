# SPDX-License-Identifier: Apache-2.0
"""Quotas and quota classes by python-karborclient, which knows the key `plans` only and takes None for 50."""

import pytest
from karborclient.common.apiclient import exceptions

from karbor.tests.client.conftest import PLAN_QUOTA

DEFAULTS = {'plans': PLAN_QUOTA, 'checkpoints': -1}


@pytest.fixture
def project(karbor, nowhere):
    """A project with nothing, and without limits of its own."""
    return nowhere


@pytest.fixture
def gold(karbor, nowhere):
    """The name of a quota class that nobody has set."""
    return f'gold {nowhere}'.replace(' ', '-')


def test_library_gets_limits_and_defaults_of_a_project(karbor, project):
    quotas = karbor.client('admin').quotas
    assert quotas.get(project, detail=False).to_dict() == DEFAULTS | {'id': project}
    assert quotas.defaults(project).to_dict() == DEFAULTS | {'id': project}


def test_library_gets_what_the_project_has(karbor, protected):
    project = karbor.users['demo']['project_id']
    found = karbor.client().quotas.get(project, detail=True).to_dict()
    count = len(karbor.client().plans.list())
    assert found['plans'] == {'limit': PLAN_QUOTA, 'in_use': count, 'reserved': 0}
    assert found['checkpoints']['limit'] == -1
    assert found['checkpoints']['in_use'] >= 1
    assert found['id'] == project


def test_library_updates_limits(karbor, project):
    quotas = karbor.client('admin').quotas
    assert quotas.update(project, {'plans': 7, 'checkpoints': '70'}).to_dict() == {'plans': 7, 'checkpoints': 70}
    assert quotas.get(project, detail=False).to_dict() == {'plans': 7, 'checkpoints': 70, 'id': project}
    assert quotas.defaults(project).to_dict() == DEFAULTS | {'id': project}


def test_library_sets_fifty_plans_when_it_is_given_none(karbor, project):
    quotas = karbor.client('admin').quotas
    assert quotas.update(project, {'plans': None, 'tenant_id': project}).plans == 50


@pytest.mark.parametrize('limits', [{'plans': -2}, {'plans': 'x'}, {'checkpoints': ''}, {'checkpoints': 2**31}])
def test_library_says_bad_request_when_a_limit_is_none(karbor, project, limits):
    with pytest.raises(exceptions.BadRequest, match=next(iter(limits))):
        karbor.client('admin').quotas.update(project, limits)


def test_library_says_bad_request_when_the_project_is_no_uuid(karbor):
    with pytest.raises(exceptions.BadRequest, match='quota_project_id: must be a UUID'):
        karbor.client('admin').quotas.get('demo', detail=False)


def test_library_says_forbidden_when_a_member_asks_for_another_project_or_sets_limits(karbor, project):
    quotas, own = karbor.client().quotas, karbor.users['demo']['project_id']
    for detail in (False, True):
        with pytest.raises(exceptions.Forbidden, match='quota:get'):
            quotas.get(project, detail=detail)
    assert quotas.defaults(project).plans == PLAN_QUOTA
    with pytest.raises(exceptions.Forbidden, match='quota:update'):
        quotas.update(own, {'plans': 1})


def test_library_gets_and_updates_a_quota_class(karbor, gold):
    classes = karbor.client('admin').quota_classes
    assert classes.get(gold).to_dict() == DEFAULTS | {'id': gold}
    assert classes.update(gold, {'plans': 3, 'checkpoints': -1}).to_dict() == {'plans': 3, 'checkpoints': -1}
    assert classes.update(gold, {'plans': None}).plans == 50
    assert classes.get(gold).to_dict() == {'plans': 50, 'checkpoints': -1, 'id': gold}
    with pytest.raises(exceptions.Forbidden, match='quota_class:get'):
        karbor.client().quota_classes.get(gold)
    with pytest.raises(exceptions.Forbidden, match='quota_class:update'):
        karbor.client().quota_classes.update(gold, {'plans': 1})


def test_shell_shows_the_quota_of_its_own_project_when_it_is_given_none(karbor):
    project = karbor.users['demo']['project_id']
    shown = {'checkpoints': '-1', 'id': project, 'plans': str(PLAN_QUOTA)}
    assert karbor.shell('quota-show').shown == shown
    assert karbor.shell('quota-defaults').shown == shown
    detail = karbor.shell('quota-show', '--detail').shown
    assert detail['plans'].split('\n')[1:] == [f'limit = {PLAN_QUOTA}', 'reserved = 0']


def test_shell_updates_and_shows_the_quota_of_a_project(karbor, project):
    done = karbor.shell('quota-update', project, '--plans', '9', user='admin')
    assert (done.status, done.shown) == (0, {'checkpoints': '-1', 'plans': '9'})
    assert karbor.shell('quota-show', '--tenant', project, user='admin').shown['plans'] == '9'
    assert karbor.shell('quota-defaults', '--tenant', project, user='admin').shown['plans'] == str(PLAN_QUOTA)
    refused = karbor.shell('quota-update', project, '--plans', '9')
    assert (refused.status, 'HTTP 403' in refused.errors) == (1, True)


def test_shell_updates_and_shows_a_quota_class(karbor, gold):
    done = karbor.shell('quota-class-update', gold, '--plans', '8', user='admin')
    assert (done.status, done.shown) == (0, {'checkpoints': '-1', 'plans': '8'})
    assert karbor.shell('quota-class-show', gold, user='admin').shown == {'checkpoints': '-1', 'id': gold, 'plans': '8'}
