# SPDX-License-Identifier: Apache-2.0
"""Who may do what: one table of all rules, with the checks of Karbor 1.6 as deprecated rules.

A site with roles of its own sets `[oslo_policy] enforce_new_defaults = false`; then whoever has
any role in the project may do what they could before.
"""

import threading
import time
from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_policy import opts, policy

from karbor import exception
from karbor.context import RequestContext

CONF = cfg.CONF

_ADMIN = 'rule:admin_api'
# Keystone puts what a role implies into the token: a manager is a member is a reader. A site that has taken the
# implications away gives one role alone, and that is as good.
READER = f'{_ADMIN} or ((role:reader or role:member or role:manager) and project_id:%(project_id)s)'
MEMBER = f'{_ADMIN} or ((role:member or role:manager) and project_id:%(project_id)s)'
_OLD = 'rule:admin_or_owner'
_SINCE = '2.0'
_REASON = 'The rules distinguish readers and members of a project.'

_BASE = [
    policy.RuleDefault('context_is_admin', 'role:admin', 'Who is an administrator.'),
    policy.RuleDefault(
        'admin_or_owner',
        'is_admin:True or (role:admin and is_admin_project:True) or project_id:%(project_id)s',
        'Administrators, and everybody in the project.',
    ),
    policy.RuleDefault('admin_api', 'is_admin:True or (role:admin and is_admin_project:True)', 'Administrators.'),
    policy.RuleDefault('default', 'rule:admin_or_owner', 'What holds for a rule that is not defined.'),
]

_PLANS, _PROVIDERS, _PROTECTABLES = '/plans', '/providers', '/protectables'
_TRIGGERS, _SCHEDULED = '/triggers', '/scheduled_operations'
_ACTION = '/operation_logs/{operation_log_id}/action'
_CHECKPOINTS, _RESTORES, _LOGS = '/providers/{provider_id}/checkpoints', '/restores', '/operation_logs'
_QUOTA, _QUOTA_CLASS = '/quotas/{quota_project_id}', '/quota_classes/{class_name}'
_VERIFICATIONS = '/verifications'

# rule, check, what it allows, verb and path behind the project
_TABLE = [
    ('plan:create', MEMBER, 'Create a plan.', 'POST', _PLANS),
    ('plan:update', MEMBER, 'Update a plan.', 'PUT', f'{_PLANS}/{{plan_id}}'),
    ('plan:delete', MEMBER, 'Delete a plan.', 'DELETE', f'{_PLANS}/{{plan_id}}'),
    ('plan:get', READER, 'Show a plan.', 'GET', f'{_PLANS}/{{plan_id}}'),
    ('plan:get_all', READER, 'List plans.', 'GET', _PLANS),
    ('provider:get', READER, 'Show a provider.', 'GET', f'{_PROVIDERS}/{{provider_id}}'),
    ('provider:get_all', READER, 'List providers.', 'GET', _PROVIDERS),
    ('provider:checkpoint_get', READER, 'Show a checkpoint.', 'GET', f'{_CHECKPOINTS}/{{checkpoint_id}}'),
    ('provider:checkpoint_get_all', READER, 'List checkpoints.', 'GET', _CHECKPOINTS),
    ('provider:checkpoint_create', MEMBER, 'Protect the resources of a plan.', 'POST', _CHECKPOINTS),
    ('provider:checkpoint_delete', MEMBER, 'Delete a checkpoint.', 'DELETE', f'{_CHECKPOINTS}/{{checkpoint_id}}'),
    ('provider:checkpoint_update', MEMBER, "Reset a checkpoint's state.", 'PUT', f'{_CHECKPOINTS}/{{checkpoint_id}}'),
    ('copy:create', MEMBER, 'Copy the checkpoints of a plan.', 'POST', f'{_CHECKPOINTS}/action'),
    ('restore:create', MEMBER, 'Restore a checkpoint.', 'POST', _RESTORES),
    ('restore:update', MEMBER, 'Update a restore; no path leads here.', 'PUT', f'{_RESTORES}/{{restore_id}}'),
    ('restore:get', READER, 'Show a restore.', 'GET', f'{_RESTORES}/{{restore_id}}'),
    ('restore:get_all', READER, 'List restores.', 'GET', _RESTORES),
    ('verification:create', MEMBER, 'Verify a checkpoint.', 'POST', _VERIFICATIONS),
    ('verification:get', READER, 'Show a verification.', 'GET', f'{_VERIFICATIONS}/{{verification_id}}'),
    ('verification:get_all', READER, 'List verifications.', 'GET', _VERIFICATIONS),
    ('protectable:get', READER, 'Show a protectable type.', 'GET', f'{_PROTECTABLES}/{{type}}'),
    ('protectable:get_all', READER, 'List protectable types.', 'GET', _PROTECTABLES),
    ('protectable:instance_get', READER, 'Show an instance.', 'GET', f'{_PROTECTABLES}/{{type}}/instances/{{id}}'),
    ('protectable:instance_get_all', READER, 'List instances.', 'GET', f'{_PROTECTABLES}/{{type}}/instances'),
    ('trigger:create', MEMBER, 'Create a trigger.', 'POST', _TRIGGERS),
    ('trigger:update', MEMBER, 'Update a trigger.', 'PUT', f'{_TRIGGERS}/{{trigger_id}}'),
    ('trigger:delete', MEMBER, 'Delete a trigger.', 'DELETE', f'{_TRIGGERS}/{{trigger_id}}'),
    ('trigger:get', READER, 'Show a trigger.', 'GET', f'{_TRIGGERS}/{{trigger_id}}'),
    ('trigger:list', READER, 'List triggers.', 'GET', _TRIGGERS),
    ('scheduled_operation:create', MEMBER, 'Create a scheduled operation.', 'POST', _SCHEDULED),
    (
        'scheduled_operation:delete',
        MEMBER,
        'Delete a scheduled operation.',
        'DELETE',
        f'{_SCHEDULED}/{{scheduled_operation_id}}',
    ),
    (
        'scheduled_operation:get',
        READER,
        'Show a scheduled operation.',
        'GET',
        f'{_SCHEDULED}/{{scheduled_operation_id}}',
    ),
    ('scheduled_operation:list', READER, 'List scheduled operations.', 'GET', _SCHEDULED),
    ('operation_log:get', READER, 'Show an operation log.', 'GET', f'{_LOGS}/{{operation_log_id}}'),
    ('operation_log:list', READER, 'List operation logs.', 'GET', _LOGS),
    ('operation_log:cancel', MEMBER, 'Cancel an operation.', 'POST', _ACTION),
    ('operation_log:retry', MEMBER, 'Take up what failed of an operation again.', 'POST', _ACTION),
    ('service:get_all', _ADMIN, 'List the services of all nodes.', 'GET', '/os-services'),
    ('service:update', _ADMIN, 'Enable or disable an operation engine.', 'PUT', '/os-services/{id}'),
    ('quota:get', READER, 'Show what a project may have, and has.', 'GET', _QUOTA),
    ('quota:get_default', READER, 'Show what any project may have.', 'GET', f'{_QUOTA}/defaults'),
    ('quota:update', _ADMIN, 'Set the limits of a project.', 'PUT', _QUOTA),
    ('quota:delete', _ADMIN, 'Remove the limits of a project.', 'DELETE', _QUOTA),
    ('quota_class:get', _ADMIN, 'Show a quota class.', 'GET', _QUOTA_CLASS),
    ('quota_class:update', _ADMIN, 'Set the limits of a quota class.', 'PUT', _QUOTA_CLASS),
]


def list_rules() -> list[policy.RuleDefault]:
    """Every rule, for `oslopolicy-sample-generator` and the enforcer."""
    return _BASE + [_documented(*row) for row in _TABLE]


def _documented(name: str, check: str, description: str, verb: str, path: str) -> policy.RuleDefault:
    operations: Any = [{'method': verb, 'path': f'/v1/{{project_id}}{path}'}]
    # What only administrators may do, only they could before: there is nothing to fall back to.
    before = (
        None
        if check == _ADMIN
        else policy.DeprecatedRule(name, _OLD, deprecated_reason=_REASON, deprecated_since=_SINCE)
    )
    return policy.DocumentedRuleDefault(
        name, check, description, operations, deprecated_rule=before, scope_types=['project']
    )


class _Policies:
    """An enforcer with the answers of the last second: reading the rules' files anew at each question costs more
    than the question.
    """

    FRESH_SECONDS = 1.0

    def __init__(self) -> None:
        opts.set_defaults(CONF, 'policy.yaml')
        self.enforcer = policy.Enforcer(CONF)
        # What each rule was before is told in the sample file; at each start it would drown the log.
        self.enforcer.suppress_default_change_warnings = True
        self.enforcer.suppress_deprecation_warnings = True
        self.enforcer.register_defaults(list_rules())
        self._answers: dict[Any, bool] = {}
        self._since = 0.0
        self._lock = threading.Lock()

    def allows(self, rule: str, credentials: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
        key = (rule, *(tuple(v) if isinstance(v, list) else v for v in credentials.values()), *target.values())
        now = time.monotonic()
        if now - self._since > self.FRESH_SECONDS:
            self._answers, self._since = {}, now
        answer = self._answers.get(key)
        if answer is None:
            with self._lock:
                answer = bool(self.enforcer.enforce(rule, target, dict(credentials)))
            self._answers[key] = answer
        return answer


_policies: _Policies | None = None


def get_enforcer() -> policy.Enforcer:
    """The enforcer of this process, for oslo.policy's command line tools, too."""
    return _current().enforcer


def reset() -> None:
    """Forget the rules; the next question reads them anew."""
    global _policies
    _policies = None


def _current() -> _Policies:
    global _policies
    if _policies is None:
        _policies = _Policies()
    return _policies


def is_admin(context: RequestContext) -> bool:
    """Whether the rule `context_is_admin` calls the caller an administrator."""
    return _current().allows('context_is_admin', _credentials(context), {})


def allows(rule: str, context: RequestContext, project_id: str | None = None, user_id: str | None = None) -> bool:
    """Whether the caller may do ``rule`` to something of ``project_id``; without one, to something of their own."""
    target = {
        'project_id': context.project_id if project_id is None else project_id,
        'user_id': context.user_id if user_id is None else user_id,
    }
    return _current().allows(rule, _credentials(context), target)


def enforce(rule: str, context: RequestContext) -> None:
    """Raises Forbidden unless the caller may do ``rule`` to something of their own."""
    if not allows(rule, context):
        raise exception.Forbidden(action=rule)


def _credentials(context: RequestContext) -> dict[str, Any]:
    return {
        'user_id': context.user_id,
        'user_domain_id': context.user_domain_id,
        'project_id': context.project_id,
        'project_domain_id': context.project_domain_id,
        'domain_id': context.domain_id,
        'system_scope': context.system_scope,
        'roles': context.roles,
        'is_admin': context.is_admin,
        'is_admin_project': context.is_admin_project,
        'service_user_id': context.service_user_id,
        'service_roles': context.service_roles,
    }
