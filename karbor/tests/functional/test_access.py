# SPDX-License-Identifier: Apache-2.0
"""Who may do what: every route with every kind of caller, to their own project's objects and to another's.

`MATRIX` has a line for each route of Karbor 1.6 and for ours. A route without a line fails, and so does a line whose
route is missing.
"""

import datetime
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import webob
from oslo_utils import timeutils, uuidutils

from karbor import policies
from karbor.api import v1
from karbor.api.method import Method
from karbor.db import models, repository
from karbor.tests import fixtures
from karbor.tests.fixtures import OTHER, PROJECT, PROVIDER, Service, token

# --- callers

# The roles of a token that is scoped to a project.
PERSONAS = {
    'reader': ('reader',),
    'member': ('member', 'reader'),
    'member alone': ('member',),
    'manager': ('manager', 'member', 'reader'),
    'manager alone': ('manager',),
    'admin': ('admin', 'manager', 'member', 'reader'),
    'admin alone': ('admin',),
    'service': ('service',),
    'a role of our own': ('backup-operator',),
    'no role': (),
    'reader through a service': ('reader',),
    'member through a service': ('member', 'reader'),
}
ADMIN = frozenset(['admin', 'admin alone'])
MEMBER = ADMIN | {'member', 'member alone', 'manager', 'manager alone', 'member through a service'}
READER = MEMBER | {'reader', 'reader through a service'}
ANYBODY = frozenset(PERSONAS)

# Tokens that are scoped to no project, each with every role that there is.
UNSCOPED = {
    'nothing': {},
    'the system': {'OpenStack-System-Scope': 'all'},
    'a domain': {'X-Domain-Id': 'default', 'X-Domain-Name': 'Default'},
}


def _headers(persona: str, project: str) -> dict[str, str]:
    made = token(project) | {'X-Roles': ','.join(PERSONAS[persona])}
    if persona.endswith('through a service'):
        made |= {'X-Service-Roles': 'service,admin', 'X-Service-User-Id': 'nova', 'X-Service-Project-Id': OTHER}
    return made


# --- routes


class Row(NamedTuple):
    """What may be asked, with which body, by whom. A name in braces, or after a `$` in the body, is a kind of object:
    one is made for the question. ``foreign`` answers who asks for another project's; ``is_own`` tells that not even
    administrators may use that.
    """

    route: str
    rule: str
    who: frozenset[str]
    body: Any = None
    foreign: int = 404
    is_own: bool = False


_PLAN = fixtures.plan_body()
_COPY = {'copy': {'plan_id': '$copied'}}
_CHECKPOINT = '/providers/{provider}/checkpoints/{checkpoint}'
_PROTECT = {'checkpoint': {'plan_id': '$plan'}}
_RESET = {'os-resetState': {'state': 'error'}}
_RESTORE = {'restore': {'provider_id': PROVIDER, 'checkpoint_id': '$checkpoint', 'parameters': {}}}
_VERIFY = {'verification': {'provider_id': PROVIDER, 'checkpoint_id': '$checkpoint', 'parameters': {}}}
_PATTERN = {'format': 'crontab', 'pattern': '0 3 * * *', 'start_time': '2026-01-01 00:00:00'}
_TRIGGER = {'trigger_info': {'name': 'daily', 'type': 'time', 'properties': _PATTERN}}
_RENAMED_TRIGGER = {'trigger_info': {'name': 'nightly'}}
_DEFINITION = {'provider_id': PROVIDER, 'plan_id': '$plan'}
_SCHEDULE = {'name': 's', 'operation_type': 'protect', 'trigger_id': '$trigger', 'operation_definition': _DEFINITION}
_ENGINE = {'status': 'enabled'}
_QUOTA = {'quota': {'plans': 100}}
_QUOTA_CLASS = {'quota_class': {'plans': 100}}

MATRIX = [
    Row('GET /plans', 'plan:get_all', READER),
    Row('POST /plans', 'plan:create', MEMBER, _PLAN),
    Row('GET /plans/{plan}', 'plan:get', READER),
    Row('PUT /plans/{plan}', 'plan:update', MEMBER, {'plan': {'name': 'new'}}),
    Row('DELETE /plans/{plan}', 'plan:delete', MEMBER),
    Row('GET /providers', 'provider:get_all', READER),
    Row('GET /providers/{provider}', 'provider:get', READER),
    Row('GET /providers/{provider}/checkpoints', 'provider:checkpoint_get_all', READER),
    Row('POST /providers/{provider}/checkpoints', 'provider:checkpoint_create', MEMBER, _PROTECT),
    Row(f'GET {_CHECKPOINT}', 'provider:checkpoint_get', READER),
    Row(f'DELETE {_CHECKPOINT}', 'provider:checkpoint_delete', MEMBER),
    Row(f'PUT {_CHECKPOINT}', 'provider:checkpoint_update', MEMBER, _RESET),
    Row('POST /providers/{provider}/checkpoints/action', 'copy:create', MEMBER, _COPY),
    Row('GET /restores', 'restore:get_all', READER),
    Row('POST /restores', 'restore:create', MEMBER, _RESTORE),
    Row('GET /restores/{restore}', 'restore:get', READER),
    Row('GET /verifications', 'verification:get_all', READER),
    Row('POST /verifications', 'verification:create', MEMBER, _VERIFY),
    Row('GET /verifications/{verification}', 'verification:get', READER),
    Row('GET /protectables', 'protectable:get_all', READER),
    Row('GET /protectables/{type}', 'protectable:get', READER),
    Row('GET /protectables/{type}/instances', 'protectable:instance_get_all', READER),
    Row('GET /protectables/{type}/instances/{instance}', 'protectable:instance_get', READER),
    Row('GET /triggers', 'trigger:list', READER),
    Row('POST /triggers', 'trigger:create', MEMBER, _TRIGGER),
    Row('GET /triggers/{trigger}', 'trigger:get', READER),
    Row('PUT /triggers/{trigger}', 'trigger:update', MEMBER, _RENAMED_TRIGGER),
    Row('DELETE /triggers/{trigger}', 'trigger:delete', MEMBER),
    Row('GET /scheduled_operations', 'scheduled_operation:list', READER),
    Row(
        'POST /scheduled_operations',
        'scheduled_operation:create',
        MEMBER,
        {'scheduled_operation': _SCHEDULE},
        is_own=True,
    ),
    Row('GET /scheduled_operations/{scheduled_operation}', 'scheduled_operation:get', READER),
    Row('DELETE /scheduled_operations/{scheduled_operation}', 'scheduled_operation:delete', MEMBER),
    Row('GET /operation_logs', 'operation_log:list', READER),
    Row('GET /operation_logs/{log}', 'operation_log:get', READER),
    Row('GET /os-services', 'service:get_all', ADMIN),
    Row('PUT /os-services/{engine}', 'service:update', ADMIN, _ENGINE),
    Row('GET /quotas/{project}', 'quota:get', READER, foreign=403),
    Row('GET /quotas/{project}/detail', 'quota:get', READER, foreign=403),
    Row('GET /quotas/{project}/defaults', 'quota:get_default', READER, foreign=200),
    Row('PUT /quotas/{project}', 'quota:update', ADMIN, _QUOTA),
    Row('DELETE /quotas/{project}', 'quota:delete', ADMIN),
    Row('GET /quota_classes/{class}', 'quota_class:get', ADMIN),
    Row('PUT /quota_classes/{class}', 'quota_class:update', ADMIN, _QUOTA_CLASS),
    Row('GET /providers/{provider}/operation_logs', 'operation_log:list', READER),
    Row('GET /providers/{provider}/operation_logs/{log}', 'operation_log:get', READER),
    # -- ours
    Row('GET /operation_logs/{log}/resources', 'operation_log:get', READER),
    Row('POST /operation_logs/{running}/action', 'operation_log:cancel', MEMBER, {'cancel': {}}),
    Row('POST /operation_logs/{failed}/action', 'operation_log:retry', MEMBER, {'retry': {}}),
]
PUBLIC = {'GET /', 'GET /v1', 'GET /v1/openapi.json'}


def _plain(route: str) -> str:
    """The route without the names of its variables."""
    return re.sub(r'{\w+}', '{}', route.replace('/v1/{project_id}', ''))


METHODS: dict[str, Method] = {_plain(f'{verb} {path}'): method for verb, path, method in v1.ROUTES}


def _name(row: Row) -> str:
    return f'{row.route} {row.rule}'


each_row = pytest.mark.parametrize('row', MATRIX, ids=_name)


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    told = {_plain(row.route) for row in MATRIX}
    assert set(METHODS) - told == PUBLIC
    assert told - set(METHODS) == set()


def test_every_row_names_the_rule_of_its_route() -> None:
    assert [row for row in MATRIX if METHODS[_plain(row.route)].policy != row.rule and not _is_action(row)] == []


def test_every_rule_is_tried() -> None:
    unreachable = {'restore:update'}  # a rule of Karbor 1.6 that no path leads to
    known = {rule.name for rule in policies.list_rules()} - {'context_is_admin', 'admin_or_owner', 'admin_api'}
    assert known - {'default'} - unreachable == {row.rule for row in MATRIX}


# --- objects


def _log(project: str, **values: Any) -> str:
    log: dict[str, Any] = {'operation_type': 'restore', 'status': 'restored', 'ended_at': datetime.datetime(2026, 1, 1)}
    made = log | {'id': uuidutils.generate_uuid(), 'project_id': project, 'provider_id': PROVIDER} | values
    return repository.create(models.OperationLog(**made)).id


def _failed(project: str) -> str:
    checkpoint = fixtures.record_checkpoint(PROVIDER, 'available', project)
    restore = _row(models.Restore, status='fail')(project)
    id = _log(project, status='error-restoring', restore_id=restore, checkpoint_id=checkpoint)
    resource = {'resource_type': 'OS::Cinder::Volume', 'resource_id': 'volume.1', 'status': 'error'}
    repository.create(models.OperationResource(operation_id=id, position=0, **resource))
    return id


def _row(model: Any, **values: Any) -> Callable[[str], str]:
    def make(project: str) -> str:
        filled = {name: made(project) if callable(made) else made for name, made in values.items()}
        return repository.create(model(id=uuidutils.generate_uuid(), project_id=project, **filled)).id

    return make


def _engine(project: str) -> str:
    host = uuidutils.generate_uuid()
    return str(repository.create(models.Service(host=host, binary='karbor-operationengine')).id)


def _copied(project: str) -> str:
    """A plan whose one checkpoint has a copy already: there is nothing to do."""
    plan, checkpoint = _plan(project), fixtures.record_checkpoint(PROVIDER, 'available', project)
    copied = {'plan_id': plan, 'extend_info': '{"copy_status": "finished"}'}
    repository.update(models.CheckpointRecord, checkpoint, copied)
    return plan


_plan = _row(models.Plan, name='a plan', provider_id=PROVIDER, status='suspended', parameters={})
_trigger = _row(models.Trigger, name='daily', type='time', properties=_PATTERN)
_checked = {'provider_id': PROVIDER, 'checkpoint_id': uuidutils.generate_uuid(), 'parameters': {}}

# A kind of object -> what makes one of a project and tells its id.
MAKERS: dict[str, Callable[[str], str]] = {
    'plan': _plan,
    'copied': _copied,
    'checkpoint': lambda project: fixtures.record_checkpoint(PROVIDER, 'available', project),
    'restore': _row(models.Restore, status='success', **_checked),
    'verification': _row(models.Verification, status='success', **_checked),
    'log': _log,
    # Somebody has claimed it and is at work for a long time.
    'running': lambda project: _log(
        project, status='restoring', ended_at=None, owner='host/1', expires_at=4_000_000_000
    ),
    'failed': _failed,
    'trigger': _trigger,
    'scheduled_operation': _row(
        models.ScheduledOperation,
        name='a schedule',
        operation_type='protect',
        user_id='user',
        trigger_id=_trigger,
        operation_definition={'provider_id': PROVIDER, 'plan_id': uuidutils.generate_uuid()},
    ),
    'project': lambda project: project,
    'engine': _engine,
}
# What belongs to no project.
CONSTANTS = {'provider': PROVIDER, 'type': 'OS::Cinder::Volume', 'instance': 'volume.1', 'class': 'default'}
OWNED = set(MAKERS) - {'engine'}


def _kinds(row: Row) -> set[str]:
    return set(re.findall(r'[{$](\w+)', f'{row.route} {row.body}')) & set(MAKERS)


class World:
    """A service that is asked in the name of anybody; ``is_strict`` tells whether the new defaults hold."""

    def __init__(self, service: Service, is_strict: bool) -> None:
        self.service, self.is_strict = service, is_strict

    def who(self, row: Row) -> frozenset[str]:
        """Who may do it: by the defaults of Karbor 1.6 anybody, unless it is for administrators."""
        return row.who if self.is_strict or row.who == ADMIN else ANYBODY

    def objects(self, row: Row, project: str) -> dict[str, str]:
        """The objects of ``project`` that the row needs, new ones."""
        return CONSTANTS | {kind: MAKERS[kind](project) for kind in _kinds(row)}

    def ask(self, row: Row, objects: dict[str, str], project: str, headers: dict[str, str]) -> webob.Response:
        verb, path = row.route.format(**objects).split(' ')
        return self.service.request(verb, f'/v1/{project}{path}', _filled(row.body, objects), **headers)


def _filled(value: Any, objects: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(inner, objects) for name, inner in value.items()}
    return objects[value[1:]] if isinstance(value, str) and value.startswith('$') else value


@pytest.fixture(scope='module', params=[True, False], ids=['new defaults', 'old defaults'])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with fixtures.service(quota_plans=-1) as service:
        service.config.config(enforce_new_defaults=request.param, group='oslo_policy')
        policies.reset()
        service.headers.clear()  # every question has its own
        yield World(service, request.param)
        repository.update_all(models.OperationLog, {'ended_at': timeutils.utcnow()}, owner='host/1')
        service.settle()


# --- the cells


def _told(response: webob.Response) -> str:
    """The status, with the message of a fault."""
    faults = response.json.values() if response.status_int >= 400 else ()
    return ' '.join([str(response.status_int), *(fault['message'] for fault in faults)])


def _is_action(row: Row) -> bool:
    """Whether the body says which rule it takes, besides that of the route."""
    return row.rule in ('operation_log:cancel', 'operation_log:retry')


def _refusals(row: Row) -> set[str]:
    rules = {row.rule, METHODS[_plain(row.route)].policy}
    return {f'403 The policy does not allow {rule}.' for rule in rules}


def _wrong(world: World, row: Row, asking: str) -> dict[str, str]:
    """What the personas of the project ``asking`` are answered that they should not be, about things of PROJECT."""
    done = str(METHODS[_plain(row.route)].status)
    wrong = {}
    for persona in PERSONAS:
        objects = world.objects(row, PROJECT)
        told = _told(world.ask(row, objects, asking, _headers(persona, asking)))
        if told in _refusals(row):
            right = persona not in world.who(row) or row.foreign == 403 and asking == OTHER and persona not in ADMIN
        elif persona not in world.who(row):
            # The rule of an action is looked at after the operation: a reader is told as much as anybody.
            right = asking == OTHER and _is_action(row) and told == _missing(world, row, objects, asking)
        elif asking == PROJECT or persona in ADMIN and not row.is_own or row.foreign == 200:
            right = told == done
        else:
            right = row.foreign == 404 and told == _missing(world, row, objects, asking)
        if not right:
            wrong[persona] = told
    return wrong


def _missing(world: World, row: Row, objects: dict[str, str], asking: str) -> str:
    """What is told of an object that there is not, with the ids of ``objects``."""
    nowhere = {kind: uuidutils.generate_uuid() for kind in objects.keys() - CONSTANTS.keys()}
    told = _told(world.ask(row, CONSTANTS | nowhere, asking, _headers('member', asking)))
    for kind, id in nowhere.items():
        told = told.replace(id, objects[kind])
    assert told.startswith('404'), told
    return told


@each_row
def test_an_own_object_is_for_those_whom_the_matrix_names(world: World, row: Row) -> None:
    assert _wrong(world, row, PROJECT) == {}


@pytest.mark.parametrize('row', [row for row in MATRIX if _kinds(row) & OWNED], ids=_name)
def test_another_projects_object_is_as_good_as_missing_but_for_administrators(world: World, row: Row) -> None:
    assert _wrong(world, row, OTHER) == {}


LISTS = [row for row in MATRIX if 'all_tenants' in (METHODS[_plain(row.route)].query or {})]


@pytest.mark.parametrize('row', LISTS, ids=lambda row: row.route)
def test_a_list_shows_other_projects_to_administrators_only(world: World, row: Row) -> None:
    (item,) = [one for one in MATRIX if re.fullmatch(rf'{re.escape(row.route)}/{{\w+}}', one.route)]
    (kind,) = _kinds(item)
    mine, theirs = (MAKERS[kind](project) for project in (OTHER, PROJECT))
    asked = row._replace(route=f'{row.route}?all_tenants=1&project_id={PROJECT}')
    seen = {}
    for persona in world.who(row):
        shown = next(iter(world.ask(asked, CONSTANTS, OTHER, _headers(persona, OTHER)).json.values()))
        seen[persona] = {item['id'] for item in shown} & {mine, theirs}
    assert seen == {persona: {theirs} if persona in ADMIN else {mine} for persona in world.who(row)}


@each_row
def test_the_url_of_another_project_is_refused_whoever_asks(world: World, row: Row) -> None:
    for persona in PERSONAS:
        told = _told(world.ask(row, world.objects(row, PROJECT), PROJECT, _headers(persona, OTHER)))
        assert told == '400 The project of the URL is not the project of the token.', persona


@each_row
@pytest.mark.parametrize('scope', UNSCOPED)
def test_a_token_without_a_project_is_refused_whatever_its_roles(world: World, row: Row, scope: str) -> None:
    headers = _headers('admin', PROJECT) | UNSCOPED[scope]
    del headers['X-Project-Id']
    told = _told(world.ask(row, world.objects(row, PROJECT), PROJECT, headers))
    assert told == '401 Authentication with a token scoped to a project is required.'


@pytest.mark.parametrize('route', sorted(PUBLIC))
def test_what_is_public_needs_no_token(world: World, route: str) -> None:
    asked = webob.Request.blank(route.partition(' ')[2])
    assert asked.get_response(world.service.app).status_int == METHODS[route].status
