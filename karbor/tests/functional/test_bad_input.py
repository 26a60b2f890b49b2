# SPDX-License-Identifier: Apache-2.0
"""Bad input for every field of every body: a 4xx in the form of a fault that names the field, and no row left."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from oslo_utils import timeutils, uuidutils

from karbor.api import schema, v1
from karbor.api.method import Method
from karbor.db import models, repository
from karbor.tests import fixtures
from karbor.tests.fixtures import OTHER, PROVIDER, SHARES, Service, token

ADMIN = token(fixtures.PROJECT, 'admin')
NOWHERE = '00000000-0000-4000-8000-000000000000'
LONG = 'x' * 256
GONE = object()

SHARE = {'id': 'share-1', 'type': 'OS::Manila::Share', 'name': 'a share'}
PLAN: dict[str, Any] = {
    'name': 'a plan',
    'description': 'of one share',
    'provider_id': SHARES,
    'resources': [SHARE],
    'parameters': {'OS::Manila::Share': {'force': True}},
}
NO_TEXT: list[Any] = [None, 5, True, 1.5, [], {}]
NO_NAME = [*NO_TEXT, '', '   ', LONG, 'a\nb', 'a\x00b', '\x7f']
NO_ID: list[Any] = [*NO_TEXT, '', 'x', '../../etc', LONG, 'a\x00b', NOWHERE]
NO_OBJECT: list[Any] = [5, True, 'x', [], [{}]]
NO_RESOURCE_ID = [*NO_TEXT, '', '.', '..', '../x', 'a/b', 'x' * 37, 'a b', 'a\n', 'ä', 'a\x00']
NO_PARAMETERS: list[Any] = [
    *NO_OBJECT,
    {'OS::Manila::Share': 'x'},
    {'OS::Manila::Share': []},
    {'OS::Manila::Share': {'force': 'perhaps'}},
    {'OS::Manila::Share': {'force': 2}},
    {'OS::Manila::Share': {'force': {}}},
    {'OS::Manila::Share': {'snapshot_name': True}},
    {'OS::Manila::Share': {'unknown': 'x'}},
    {'OS::Manila::Share': {'a\nb': 'x'}},
    {'OS::Manila::Share': {'': 'x'}},
    {'OS::Manila::Share': {'snapshot_name': 1.5}},
    {'OS::Manila::Share#../x': {}},
    {'OS::Manila::Share#': {}},
    {'OS::Nothing::Known': {'a': 'b'}},
    {'a' * 300: {}},
    {'a\x00': {}},
    {'': {}},
]


def _changed(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed: Any = copy.deepcopy(body)
    place = changed
    for step in path[:-1]:
        place = place[step]
    if value is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


def _cases(body: dict[str, Any], *fields: tuple[tuple[Any, ...], list[Any]]) -> Iterator[Any]:
    for path, values in fields:
        for value in values:
            name = '/'.join(map(str, path)) + '=' + ('missing' if value is GONE else repr(value)[:40])
            yield pytest.param(_changed(body, path, value), '/'.join(map(str, path)), id=name)


PLAN_CASES = list(
    _cases(
        {'plan': PLAN},
        (('plan',), [GONE, None, *NO_OBJECT, {}]),
        (('more',), [1]),
        (('plan', 'more'), [1]),
        (('plan', 'type'), ['x']),
        (('plan', 'id'), [NOWHERE]),
        (('plan', 'project_id'), [OTHER]),
        (('plan', 'name'), [GONE, *NO_NAME]),
        (('plan', 'description'), [5, True, [], {}, LONG, 'a\nb', 'a\x00b']),
        (('plan', 'provider_id'), [GONE, *NO_ID]),
        (('plan', 'resources'), [GONE, None, 5, 'x', {}, [], [SHARE, SHARE], [5], [None], ['x']]),
        (('plan', 'resources', 0, 'id'), [GONE, *NO_RESOURCE_ID]),
        (('plan', 'resources', 0, 'type'), [GONE, *NO_TEXT, '', ' ', 'x' * 65, 'a\nb', 'a\x00b']),
        (('plan', 'resources', 0, 'name'), [GONE, *NO_NAME]),
        (('plan', 'parameters'), [GONE, None, *NO_PARAMETERS]),
    )
)
UPDATE_CASES = list(
    _cases(
        {'plan': {'name': 'new', 'description': 'new', 'status': 'started', 'resources': [SHARE]}},
        (('plan',), [GONE, None, *NO_OBJECT, {}]),
        (('more',), [1]),
        (('plan', 'more'), [1]),
        (('plan', 'provider_id'), [PROVIDER]),
        (('plan', 'parameters'), [{}]),
        (('plan', 'name'), NO_NAME),
        (('plan', 'description'), [5, True, [], {}, LONG, 'a\nb']),
        (('plan', 'status'), [*NO_TEXT, '', 'running', 'STARTED']),
        (('plan', 'resources'), [None, 5, 'x', {}, [], [SHARE, SHARE], [5]]),
        (('plan', 'resources', 0, 'id'), [GONE, *NO_RESOURCE_ID]),
        (('plan', 'resources', 0, 'type'), [GONE, *NO_TEXT, '', 'x' * 65]),
        (('plan', 'resources', 0, 'name'), [GONE, *NO_NAME]),
    )
)
METADATA = [{'a': []}, {'a': {}}, {'a': 1.5}, {'a\nb': 'x'}, {'': 'x'}, {'k' * 256: 'x'}]
CHECKPOINT_CASES = list(
    _cases(
        {'checkpoint': {'plan_id': '$PLAN', 'extra-info': {'a': 'b'}, 'extra_info': {}}},
        (('checkpoint',), [GONE, None, *NO_OBJECT, {}]),
        (('more',), [1]),
        (('checkpoint', 'more'), [1]),
        (('checkpoint', 'plan_id'), [GONE, *NO_ID, '$FOREIGN_PLAN', '$SHARES_PLAN']),
        (('checkpoint', 'extra-info'), [*NO_OBJECT, *METADATA, {'scheduled_operation_id': 'x' * 37}]),
        (('checkpoint', 'extra_info'), [*NO_OBJECT, *METADATA, {'created_by': 5}]),
    )
)
RESET_CASES = list(
    _cases(
        {'os-resetState': {'state': 'error'}},
        (('os-resetState',), [GONE, None, *NO_OBJECT, {}]),
        (('more',), [1]),
        (('os-resetState', 'more'), [1]),
        (('os-resetState', 'state'), [*NO_TEXT, '', 'deleted', 'protecting', LONG]),
    )
)
RESTORE_CASES = list(
    _cases(
        {
            'restore': {
                'provider_id': SHARES,
                'checkpoint_id': '$CHECKPOINT',
                'parameters': {},
                'restore_target': None,
                'restore_auth': {'type': 'password', 'username': None, 'password': None},
            }
        },
        (('restore',), [GONE, None, *NO_OBJECT, {}]),
        (('more',), [1]),
        (('restore', 'more'), [1]),
        (('restore', 'provider_id'), [GONE, *NO_ID, PROVIDER]),
        (('restore', 'checkpoint_id'), [GONE, *NO_ID, '$FOREIGN_CHECKPOINT', '$FAILED_CHECKPOINT']),
        (('restore', 'parameters'), [GONE, None, *NO_PARAMETERS]),
        (('restore', 'restore_target'), [5, {}, 'http://other.example:5000/v3']),
        (('restore', 'restore_auth'), [*NO_OBJECT, {'username': 'me'}, {'password': 'secret'}, {'a': {}}]),
    )
)
NO_LIMIT = [
    True,
    1.5,
    [],
    {},
    '',
    ' ',
    'x',
    '1.5',
    '+1',
    ' 5',
    '-2',
    '٣',
    '1\n',
    -2,
    2**31,
    str(2**31),
    '9' * 400,
    2.0**70,
]
LIMIT_CASES = list(
    _cases(
        {'limits': {'plans': 5, 'checkpoints': -1}},
        (('limits',), [GONE, None, *NO_OBJECT]),
        (('more',), [1]),
        (('limits', 'plans'), NO_LIMIT),
        (('limits', 'checkpoints'), NO_LIMIT),
    )
)
SERVICE_CASES = list(
    _cases(
        {'status': 'disabled', 'disabled_reason': 'it is worked on'},
        (('status',), [GONE, *NO_TEXT, '', 'up', 'Enabled', LONG]),
        (('disabled_reason',), [5, True, [], {}, LONG, 'a\nb', 'a\x00b']),
        (('service',), [{'status': 'disabled'}]),
    )
)

PROPERTIES = {'format': 'crontab', 'pattern': '0 2 * * *', 'start_time': '2026-01-01 00:00:00', 'window': 900}
NO_PROPERTIES: list[Any] = [*NO_OBJECT, {'a': 1}]
NO_PATTERN: list[Any] = ['', 'x', '0 2 * *', '0 2 * * * *', '\x00', '* * * * *', '0 0 30 2 *', 'R R * * *', '9' * 20000]
NO_TIME: list[Any] = [
    5,
    True,
    {},
    '',
    'now',
    '2026-01-01T00:00:00',
    '2026-13-01 00:00:00',
    '0001-01-01 00:00:00',
    '\x00',
]
PROPERTY_CASES: list[Any] = [
    (('trigger_info', 'properties', 'format'), [GONE, None, 5, '', 'cron', 'CRONTAB', []]),
    (('trigger_info', 'properties', 'pattern'), [GONE, None, 5, [], {}, *NO_PATTERN]),
    (('trigger_info', 'properties', 'start_time'), NO_TIME),
    (('trigger_info', 'properties', 'end_time'), [*NO_TIME, '2026-01-01 00:00:00']),
    (('trigger_info', 'properties', 'timezone'), [5, [], 'CEST', 'Europe/berlin/', '../UTC', '\x00', LONG]),
    (('trigger_info', 'properties', 'window'), [899, 1801, -1, True, 900.5, 'x', '899', '9' * 50, [], {}]),
    (('trigger_info', 'properties', 'more'), [1]),
]
TRIGGER = {'trigger_info': {'name': 'nightly', 'type': 'time', 'properties': PROPERTIES}}
TRIGGER_CASES = list(
    _cases(
        TRIGGER,
        (('trigger_info',), [GONE, None, *NO_OBJECT, {}]),
        (('more',), [1]),
        (('trigger_info', 'more'), [1]),
        (('trigger_info', 'id'), [NOWHERE]),
        (('trigger_info', 'name'), [GONE, *NO_NAME]),
        (('trigger_info', 'type'), [GONE, *NO_TEXT, '', 'event', 'TIME']),
        (('trigger_info', 'properties'), [GONE, None, {}, *NO_PROPERTIES]),
        *PROPERTY_CASES,
    )
)
TRIGGER_UPDATE_CASES = list(
    _cases(
        TRIGGER,
        (('trigger_info',), [GONE, None, *NO_OBJECT]),
        (('trigger_info', 'more'), [1]),
        (('trigger_info', 'name'), NO_NAME),
        (('trigger_info', 'properties'), NO_PROPERTIES),
        *((path, [None, GONE, *values] if path[-1] == 'start_time' else values) for path, values in PROPERTY_CASES),
    )
)
OPERATION: dict[str, Any] = {
    'name': 'nightly',
    'description': None,
    'operation_type': 'retention_protect',
    'trigger_id': '$TRIGGER',
    'operation_definition': {'plan_id': '$PLAN', 'provider_id': PROVIDER, 'max_backups': 3},
}
DEFINITION = ('scheduled_operation', 'operation_definition')
OPERATION_CASES = list(
    _cases(
        {'scheduled_operation': OPERATION},
        (('scheduled_operation',), [GONE, None, *NO_OBJECT, {}]),
        (('more',), [1]),
        (('scheduled_operation', 'enabled'), [True]),
        (('scheduled_operation', 'name'), [GONE, *NO_NAME]),
        (('scheduled_operation', 'description'), [5, True, [], {}, LONG, 'a\nb']),
        (('scheduled_operation', 'operation_type'), [GONE, *NO_TEXT, '', 'delete', 'PROTECT']),
        (('scheduled_operation', 'trigger_id'), [GONE, *NO_ID, '$FOREIGN_TRIGGER', '$PLAN']),
        (DEFINITION, [GONE, None, *NO_OBJECT, {}]),
        ((*DEFINITION, 'plan_id'), [GONE, *NO_ID, '$FOREIGN_PLAN', '$TRIGGER']),
        ((*DEFINITION, 'provider_id'), [GONE, *NO_ID, SHARES]),
        ((*DEFINITION, 'max_backups'), ['', 'x', '1.5', 1.5, True, [], {}, 2**31, '9' * 30]),
        ((*DEFINITION, 'retention_duration'), ['', 'x', '1.5', 1.5, True, [], {}, -(2**31) - 1]),
    )
)
VERIFICATION_CASES = list(
    _cases(
        {'verification': {'provider_id': SHARES, 'checkpoint_id': '$CHECKPOINT', 'parameters': {}}},
        (('verification',), [GONE, None, *NO_OBJECT, {}]),
        (('more',), [1]),
        (('verification', 'restore_target'), [None, 'x']),
        (('verification', 'provider_id'), [GONE, *NO_ID, PROVIDER]),
        (('verification', 'checkpoint_id'), [GONE, *NO_ID, '$FOREIGN_CHECKPOINT', '$FAILED_CHECKPOINT']),
        (('verification', 'parameters'), NO_PARAMETERS),
    )
)
COPY_CASES = list(
    _cases(
        {'copy': {'plan_id': '$PLAN', 'parameters': {}}},
        (('copy',), [GONE, None, *NO_OBJECT, {}]),
        (('more',), [1]),
        (('copy', 'more'), [1]),
        (('copy', 'plan_id'), [GONE, *NO_ID, '$PLAN', '$FOREIGN_PLAN', '$SHARES_PLAN']),
        (('copy', 'parameters'), NO_PARAMETERS),
    )
)


class World:
    """A service with something of everything, made once: nothing here may change it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.ids = {
            '$PLAN': self._plan(PROVIDER),
            '$SHARES_PLAN': self._plan(SHARES),
            '$FOREIGN_PLAN': self._plan(PROVIDER, OTHER),
            '$TRIGGER': self._trigger(),
            '$FOREIGN_TRIGGER': self._trigger(OTHER),
            '$CHECKPOINT': self._checkpoint('available'),
            '$FAILED_CHECKPOINT': self._checkpoint('error'),
            '$FOREIGN_CHECKPOINT': self._checkpoint('available', OTHER),
            '$ENGINE': str(repository.create(models.Service(host='h', binary='karbor-operationengine')).id),
            '$LOG': self._log(),
        }

    def _plan(self, provider: str, project: str = fixtures.PROJECT) -> str:
        made = self.service.post(f'/v1/{project}/plans', {'plan': PLAN | {'provider_id': provider}}, **token(project))
        return made.json['plan']['id']

    def _trigger(self, project: str = fixtures.PROJECT) -> str:
        made = self.service.post(f'/v1/{project}/triggers', TRIGGER, **token(project))
        return made.json['trigger_info']['id']

    def _log(self) -> str:
        log = models.OperationLog(id=uuidutils.generate_uuid(), project_id=fixtures.PROJECT, operation_type='restore')
        log.status, log.ended_at = 'restored', timeutils.utcnow()
        return repository.create(log).id

    def _checkpoint(self, status: str, project: str = fixtures.PROJECT) -> str:
        return fixtures.record_checkpoint(SHARES, status, project)

    def filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self.filled(inner) for name, inner in value.items()}
        return self.ids.get(value, value) if isinstance(value, str) else value


@pytest.fixture(scope='module')
def world() -> Iterator[World]:
    with fixtures.service() as service:
        yield World(service)


# What only the log may hold: code, paths, statements, regular expressions.
INSIDE = re.compile(
    r'karbor\.|Traceback|\.py\b|object at 0x|<class|\(\?|\bSELECT\b|\bWHERE\b|sqlalchemy|oslo|Error\b|Exception'
    r'|/(?:home|tmp|usr|var|etc)/|jsonschema|None\b|\[\''
)


def _check_message(message: str) -> None:
    assert len(message) < 300 and message.isprintable(), message
    assert not INSIDE.search(message), message


def _refused(world: World, verb: str, path: str, body: Any, field: str, **headers: str) -> None:
    before = world.service.rows()
    response = world.service.request(verb, path, world.filled(body), **headers)
    assert 400 <= response.status_int < 500, response.text
    ((name, fault),) = response.json.items()
    assert fault['code'] == response.status_int
    assert name in ('badRequest', 'itemNotFound', 'conflictingRequest'), response.text
    _check_message(fault['message'])
    if response.status_int == 400:
        named = [part for part in field.split('/') if not part.isdigit()]
        assert any(part in fault['message'] for part in named), fault['message']
    assert world.service.rows() == before


@pytest.mark.parametrize(('body', 'field'), PLAN_CASES)
def test_a_plan_is_refused_when_a_field_is_bad(world: World, body: Any, field: str) -> None:
    _refused(world, 'POST', '/plans', body, field)


@pytest.mark.parametrize(('body', 'field'), UPDATE_CASES)
def test_an_update_of_a_plan_is_refused_when_a_field_is_bad(world: World, body: Any, field: str) -> None:
    path = f'/plans/{world.ids["$SHARES_PLAN"]}'
    before = world.service.get(path).json
    _refused(world, 'PUT', path, body, field)
    assert world.service.get(path).json == before


@pytest.mark.parametrize(('body', 'field'), CHECKPOINT_CASES)
def test_a_checkpoint_is_refused_when_a_field_is_bad(world: World, body: Any, field: str) -> None:
    _refused(world, 'POST', f'/providers/{PROVIDER}/checkpoints', body, field)


@pytest.mark.parametrize(('body', 'field'), RESET_CASES)
def test_a_reset_is_refused_when_a_field_is_bad(world: World, body: Any, field: str) -> None:
    _refused(world, 'PUT', f'/providers/{SHARES}/checkpoints/{world.ids["$CHECKPOINT"]}', body, field)


@pytest.mark.parametrize(('body', 'field'), RESTORE_CASES)
def test_a_restore_is_refused_when_a_field_is_bad(world: World, body: Any, field: str) -> None:
    _refused(world, 'POST', '/restores', body, field)


@pytest.mark.parametrize(('body', 'field'), LIMIT_CASES)
@pytest.mark.parametrize(('path', 'key'), [(f'/quotas/{OTHER}', 'quota'), ('/quota_classes/default', 'quota_class')])
def test_limits_are_refused_when_a_field_is_bad(world: World, path: str, key: str, body: Any, field: str) -> None:
    given = {key if name == 'limits' else name: value for name, value in body.items()}
    _refused(world, 'PUT', path, given, field.replace('limits', key), **ADMIN)


@pytest.mark.parametrize(('body', 'field'), SERVICE_CASES)
def test_an_update_of_a_service_is_refused_when_a_field_is_bad(world: World, body: Any, field: str) -> None:
    before = world.service.get('/os-services', **ADMIN).json
    _refused(world, 'PUT', f'/os-services/{world.ids["$ENGINE"]}', body, field, **ADMIN)
    after = world.service.get('/os-services', **ADMIN).json
    told = [[(s['id'], s['status'], s['disabled_reason']) for s in seen['services']] for seen in (before, after)]
    assert told[0] == told[1]


@pytest.mark.parametrize(('body', 'field'), TRIGGER_CASES)
def test_a_trigger_is_refused_when_a_field_is_bad(world: World, body: Any, field: str) -> None:
    _refused(world, 'POST', '/triggers', body, field)


@pytest.mark.parametrize(('body', 'field'), TRIGGER_UPDATE_CASES)
def test_an_update_of_a_trigger_is_refused_when_a_field_is_bad(world: World, body: Any, field: str) -> None:
    path = f'/triggers/{world.ids["$TRIGGER"]}'
    before = world.service.get(path).json
    _refused(world, 'PUT', path, body, field)
    assert world.service.get(path).json == before


@pytest.mark.parametrize(('body', 'field'), OPERATION_CASES)
def test_a_scheduled_operation_is_refused_when_a_field_is_bad(world: World, body: Any, field: str) -> None:
    _refused(world, 'POST', '/scheduled_operations', body, field)


@pytest.mark.parametrize(('body', 'field'), VERIFICATION_CASES)
def test_a_verification_is_refused_when_a_field_is_bad(world: World, body: Any, field: str) -> None:
    _refused(world, 'POST', '/verifications', body, field)


@pytest.mark.parametrize(('body', 'field'), COPY_CASES)
def test_a_copy_is_refused_when_a_field_is_bad(world: World, body: Any, field: str) -> None:
    _refused(world, 'POST', f'/providers/{PROVIDER}/checkpoints/action', body, field)


BODIES: list[Any] = [b'', b'null', b'[]', b'5', b'"x"', b'{', b'\xff\xfe', b'{"plan": NaN}', b'{"plan": "\\ud800"}']
WRITES = [
    ('POST', '/plans'),
    ('PUT', '/plans/$SHARES_PLAN'),
    ('POST', f'/providers/{PROVIDER}/checkpoints'),
    ('PUT', f'/providers/{SHARES}/checkpoints/$CHECKPOINT'),
    ('POST', '/restores'),
    ('PUT', f'/quotas/{OTHER}'),
    ('PUT', '/quota_classes/default'),
    ('PUT', '/os-services/$ENGINE'),
    ('POST', '/triggers'),
    ('PUT', '/triggers/$TRIGGER'),
    ('POST', '/scheduled_operations'),
    ('POST', '/verifications'),
    ('POST', f'/providers/{PROVIDER}/checkpoints/action'),
]


@pytest.mark.parametrize('body', [*BODIES, b'[' * 5000, b'{"plan":' * 500 + b'1' + b'}' * 500])
@pytest.mark.parametrize(('verb', 'path'), WRITES)
def test_a_body_is_refused_when_it_is_no_object(world: World, verb: str, path: str, body: bytes) -> None:
    named = 'body/plan/restore/verification/copy/checkpoint/os/quota/status/trigger/scheduled'
    _refused(world, verb, '/'.join(world.filled(part) for part in path.split('/')), body, named, **ADMIN)


@pytest.mark.parametrize(
    'kind', ['', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']
)
@pytest.mark.parametrize(('verb', 'path'), WRITES)
def test_a_body_is_refused_when_its_type_is_not_json(world: World, verb: str, path: str, kind: str) -> None:
    headers = {'Content-Type': kind} | ADMIN
    _refused(world, verb, '/'.join(world.filled(p) for p in path.split('/')), {'plan': PLAN}, 'Content-Type', **headers)


def test_a_plan_is_refused_when_its_extra_info_is_nested_too_deeply(world: World) -> None:
    deep: Any = 1
    for _ in range(200):
        deep = {'a': deep}
    _refused(world, 'POST', '/plans', {'plan': PLAN | {'resources': [SHARE | {'extra_info': deep}]}}, 'body')


QUERIES = [
    *[f'limit={value}' for value in ('0', '-1', 'x', '', '1.5', '99999999999999999999', '%00')],
    *[f'offset={value}' for value in ('-1', 'x', '2147483648', '%20')],
    *[f'sort={value}' for value in ('x', 'id:up', 'id:asc:desc', ',', 'id,,', 'project_id', 'deleted', '%00')],
    *['sort_key=x', 'sort_dir=up', 'sort=id&sort_key=id', 'sort=id&sort_dir=asc'],
    *[f'marker={value}' for value in (NOWHERE, 'x', '%00', LONG, '%27', '1 OR 1=1')],
]


def _path(path: str, **variables: str) -> str:
    """A path of the routing table with values for its variables that nothing is wrong with."""
    known = {'provider_id': SHARES, 'type': 'OS::Cinder::Volume', 'operation_log_id': '$LOG'}
    known |= {'project_id': '', 'id': '1'}
    names = re.findall(r'{(\w+)}', path)
    filled = path.format_map(dict.fromkeys(names, NOWHERE) | known | variables)
    return filled.removeprefix('/v1/')


LISTS = [_path(path) for verb, path, method in v1.ROUTES if verb == 'GET' and 'limit' in (method.query or {})]


@pytest.mark.parametrize('query', QUERIES)
@pytest.mark.parametrize('path', LISTS)
def test_a_list_is_refused_when_its_query_is_bad(world: World, path: str, query: str) -> None:
    name = query.partition('=')[0]
    path = '/'.join(world.filled(part) for part in path.split('/'))
    _refused(world, 'GET', f'{path}?{query}', None, f'{name}/{name.partition("_")[0]}')


@pytest.mark.parametrize(
    'query', ['start_date=x', 'start_date=2020-13-01', 'end_date=2020-1-1', 'end_date=20200101', 'start_date=']
)
def test_checkpoints_are_refused_when_a_date_is_bad(world: World, query: str) -> None:
    _refused(world, 'GET', f'/providers/{SHARES}/checkpoints?{query}', None, query.partition('=')[0])


@pytest.mark.parametrize(
    'value', ['x', '5', '[]', '{1,2}', '{', '%7B%27a%27:%20b%27x%27%7D', '(' * 4000, '{[]:1}', 'a' * 5000]
)
def test_instances_are_refused_when_parameters_are_no_object(world: World, value: str) -> None:
    for path in ('instances', 'instances/volume.1'):
        _refused(world, 'GET', f'/protectables/OS::Cinder::Volume/{path}?parameters={value}', None, 'parameters')


IDS = ['x', '..', 'a b', '%00', '%27', 'x' * 300]
# Every route with every id of its path; the body of a write is looked at later.
ITEMS = [
    (verb, _path(path, **{name: '{}'}), name)
    for verb, path, method in v1.ROUTES
    for name in re.findall(r'{(\w+_id)}', path)
    if name != 'project_id'
]


@pytest.mark.parametrize('id', IDS)
@pytest.mark.parametrize(('verb', 'path', 'name'), ITEMS)
def test_an_item_is_refused_when_its_id_is_bad(world: World, verb: str, path: str, name: str, id: str) -> None:
    path = '/'.join(world.filled(part) for part in path.split('/')).format(id)
    _refused(world, verb, path, None, name, **ADMIN)


# --- what the schemas say


ANYTHING: list[Any] = [
    *[None, True, -1, 5, 1.5, 2**70, [], [None], [[]], {}, {'a': 1}, {'': {}}],
    *['', ' ', 'x', 'a\nb', 'a\x00b', 'ä' * 5000, 'x' * 256, '../../etc/passwd', "' OR 1=1 --", '%s%n{0}'],
]
NAMED = re.compile(r'must|missing|allowed|supported')


def _sample(wanted: dict[str, Any]) -> Any:
    """A value that the schema takes, with everything that it knows of."""
    if 'enum' in wanted:
        return wanted['enum'][0]
    kinds = wanted.get('type', 'object')
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == 'object':
        names = [*wanted.get('properties', {})][: wanted.get('maxProperties')]
        return {name: _sample(wanted['properties'][name]) for name in names}
    if kind == 'array':
        return [_sample(wanted['items'])] * wanted.get('minItems', 0)
    if kind == 'string':
        return {'uuid': NOWHERE, 'date': '2026-01-01'}.get(wanted.get('format', ''), 'x')
    return {'integer': wanted.get('minimum', 1), 'boolean': True, 'null': None}[kind]


def _places(wanted: dict[str, Any], path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Every place of a value and its schema."""
    yield path, wanted
    for name in [*wanted.get('properties', {})][: wanted.get('maxProperties')]:
        yield from _places(wanted['properties'][name], (*path, name))
    if wanted.get('minItems'):
        yield from _places(wanted['items'], (*path, 0))


def _bad_bodies(wanted: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """Bodies with one thing wrong, each with the name of what is wrong."""
    whole = _sample(wanted)
    for path, part in _places(wanted):
        name = next((str(step) for step in reversed(path) if isinstance(step, str)), 'body')
        refuses = schema.validator(part)
        for value in ANYTHING:
            if not refuses.is_valid(value):
                yield (_changed(whole, path, value) if path else value), name
        for missing in part.get('required', ()):
            yield _changed(whole, (*path, missing), GONE), missing
        if part.get('additionalProperties') is False:
            yield _changed(whole, (*path, 'surprise'), 1), 'surprise'


TAKING = [(verb, _path(path), method) for verb, path, method in v1.ROUTES if method.body is not None]


@pytest.mark.parametrize(('verb', 'path', 'method'), TAKING, ids=[f'{verb} {path}' for verb, path, _ in TAKING])
def test_a_body_is_refused_with_the_name_of_what_its_schema_does_not_take(
    world: World, verb: str, path: str, method: Method
) -> None:
    before = world.service.rows()
    path = '/'.join(world.filled(part) for part in path.split('/'))
    count = 0
    for body, name in _bad_bodies(method.body or {}):
        response = world.service.request(verb, path, json.dumps(body).encode(), **ADMIN)
        message = next(iter(response.json.values()))['message']
        assert response.status_int == 400, (name, body, message)
        _check_message(message)
        assert NAMED.search(message) and (name in message or message.startswith('body')), (name, body, message)
        count += 1
    assert count > 10
    assert world.service.rows() == before


ASKING = [
    (verb, _path(path), key, wanted)
    for verb, path, method in v1.ROUTES
    for key, wanted in (method.query or {}).items()
    if key != 'parameters'  # any text may be one: see above
]
NO_VALUES = {
    'integer': ['x', '', '1.5', '-1', '9' * 25, '%20', '0x1', '%00'],
    'boolean': ['maybe', '', '2', '%00'],
    'string': ['%00', 'a%0ab', '%1b[31m'],
    'array': ['%00', 'a%0ab', '%1b[31m'],
}


@pytest.mark.parametrize(('verb', 'path', 'key', 'wanted'), ASKING, ids=[f'{a[1]}?{a[2]}' for a in ASKING])
def test_a_query_is_refused_with_the_name_of_the_key_when_its_value_is_bad(
    world: World, verb: str, path: str, key: str, wanted: dict[str, Any]
) -> None:
    path = '/'.join(world.filled(part) for part in path.split('/'))
    for value in NO_VALUES[wanted['type']]:
        response = world.service.request(verb, f'{path}?{key}={value}', **ADMIN)
        message = next(iter(response.json.values()))['message']
        assert response.status_int == 400, (value, message)
        _check_message(message)
        assert key in message and NAMED.search(message), (value, message)


@pytest.mark.parametrize('languages', ['de', 'de-CH, fr;q=0.8, *;q=0.1', '', ';;q=,', 'x' * 4000, 'ä', '%s'])
def test_a_message_is_the_same_whatever_language_is_asked_for(world: World, languages: str) -> None:
    told = world.service.get('/plans?limit=x', **{'Accept-Language': languages.encode().decode('latin-1')})
    assert told.json == world.service.get('/plans?limit=x').json
    assert told.status_int == 400


@pytest.mark.parametrize('path', ['/plans/$PLAN', f'/providers/{SHARES}/checkpoints/$CHECKPOINT'])
@pytest.mark.parametrize('verb', ['GET', 'PUT', 'DELETE'])
def test_another_projects_object_is_as_good_as_missing(world: World, verb: str, path: str) -> None:
    body = {'plan': {'name': 'mine'}} if 'plans' in path else {'os-resetState': {'state': 'error'}}
    told = []
    for id in (world.ids[path.rpartition('/')[2]], NOWHERE):
        foreign = f'/v1/{OTHER}{path.rpartition("/")[0]}/{id}'
        response = world.service.request(verb, foreign, body, **token(OTHER))
        assert response.status_int == 404
        told.append(response.json['itemNotFound']['message'].replace(id, 'ID'))
    assert told[0] == told[1]


def test_nothing_was_logged_as_unexpected_when_all_input_was_bad(world: World) -> None:
    assert 'A request failed unexpectedly' not in (world.service.folder / 'karbor.log').read_text()
