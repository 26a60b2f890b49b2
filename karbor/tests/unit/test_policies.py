# SPDX-License-Identifier: Apache-2.0
"""Who may do what, for each rule and role."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from karbor import exception, policies
from karbor.context import RequestContext
from karbor.tests import fixtures
from karbor.tests.fixtures import OTHER, PROJECT

RULES = [row[0] for row in policies._TABLE]
ADMINS = {'service:get_all', 'service:update', 'quota:update', 'quota:delete', 'quota_class:get', 'quota_class:update'}
TENANTS = [rule for rule in RULES if rule not in ADMINS]
WRITES = {
    'create',
    'update',
    'delete',
    'cancel',
    'retry',
    'checkpoint_create',
    'checkpoint_update',
    'checkpoint_delete',
}


@pytest.fixture(autouse=True)
def folder() -> Iterator[Path]:
    with fixtures.configured() as (_, folder):
        yield folder


def context(*roles: str, project_id: str = PROJECT) -> RequestContext:
    made = RequestContext(user_id='user', project_id=project_id, roles=list(roles), overwrite=False)
    made.is_admin = policies.is_admin(made)
    return made


GROUPS = {
    **{'plan': 5, 'restore': 4, 'provider': 7, 'trigger': 5, 'scheduled_operation': 4},
    **{'service': 2, 'quota': 4, 'quota_class': 2, 'verification': 3, 'copy': 1},
}


def _writes(rule: str) -> bool:
    return rule.partition(':')[2] in WRITES


def test_the_table_has_every_rule_of_the_resources_that_exist() -> None:
    count = {group: sum(rule.startswith(f'{group}:') for rule in RULES) for group in GROUPS}
    assert count == GROUPS
    assert len(RULES) == len(set(RULES)) == 45
    names = {rule.name for rule in policies.list_rules()}
    assert names == {*RULES, 'context_is_admin', 'admin_or_owner', 'admin_api', 'default'}


@pytest.mark.parametrize('rule', TENANTS)
def test_a_reader_reads_and_a_member_writes_when_the_defaults_hold(rule: str) -> None:
    assert policies.allows(rule, context('reader')) is not _writes(rule)
    assert policies.allows(rule, context('member', 'reader'))
    assert policies.allows(rule, context('admin'))
    assert not policies.allows(rule, context('other'))


@pytest.mark.parametrize('rule', RULES)
def test_another_projects_object_is_for_administrators_only(rule: str) -> None:
    assert not policies.allows(rule, context('member', 'reader'), OTHER)
    assert policies.allows(rule, context('admin'), OTHER)


@pytest.mark.parametrize('rule', sorted(ADMINS))
@pytest.mark.parametrize('new', [True, False])
def test_what_is_the_administrators_stays_theirs(rule: str, new: bool) -> None:
    with fixtures.configured() as (config, _):
        config.config(enforce_new_defaults=new, group='oslo_policy')
        assert policies.allows(rule, context('admin'), OTHER)
        for roles in (('member', 'reader'), ('of our own',), ('service',)):
            assert not policies.allows(rule, context(*roles))


@pytest.mark.parametrize('rule', TENANTS)
def test_any_role_of_the_project_does_when_the_new_defaults_are_off(rule: str) -> None:
    with fixtures.configured() as (config, _):
        config.config(enforce_new_defaults=False, group='oslo_policy')
        assert policies.allows(rule, context('of our own'))
        assert not policies.allows(rule, context('of our own'), OTHER)


@pytest.mark.parametrize('rule', RULES)
def test_no_default_is_looser_than_the_one_of_karbor_1_6(rule: str) -> None:
    for who in (context('member', 'reader'), context('reader'), context('admin'), context()):
        for project in (PROJECT, OTHER):
            if policies.allows(rule, who, project):
                assert policies.allows('admin_or_owner', who, project)


def test_a_refusal_names_the_rule() -> None:
    with pytest.raises(exception.Forbidden, match=r'The policy does not allow plan:create\.'):
        policies.enforce('plan:create', context('reader'))


def test_a_changed_policy_file_holds_within_a_moment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies._Policies, 'FRESH_SECONDS', 0.0)
    assert not policies.allows('plan:create', context('reader'))
    (folder / 'policy.yaml').write_text('"plan:create": "role:reader"\n')
    assert policies.allows('plan:create', context('reader'))


def test_answers_of_one_caller_are_not_given_to_another() -> None:
    assert policies.allows('plan:create', context('member'))
    assert not policies.allows('plan:create', context('reader'))
    assert not policies.allows('plan:create', context('member', project_id=OTHER), PROJECT)
