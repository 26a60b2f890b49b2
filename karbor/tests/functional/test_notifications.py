# SPDX-License-Identifier: Apache-2.0
"""What notifications tell of requests: the events of Karbor 1.6 with their keys, no secrets, and no delay."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from oslo_config import cfg

from karbor import notifications
from karbor.api import v1
from karbor.db import engine
from karbor.tests import fixtures
from karbor.tests.notified import GROUP, Notified, notified
from karbor.tests.services.deployment import free_port

CONF = cfg.CONF
COMMON = {'tenant_id', 'client_ip', 'request_id'}
CHECKPOINTS = f'/providers/{fixtures.PROVIDER}/checkpoints'

# The events of Karbor 1.6, and two more -> what asks for them, and the keys besides those of every event.
EVENTS = {
    'plan_create': ('POST', 'plans', {'name'}),
    'plan_update': ('PUT', 'plans/{plan_id}', {'id'}),
    'plan_delete': ('DELETE', 'plans/{plan_id}', {'id'}),
    'trigger_create': ('POST', 'triggers', {'name'}),
    'trigger_update': ('PUT', 'triggers/{trigger_id}', {'id'}),
    'trigger_delete': ('DELETE', 'triggers/{trigger_id}', {'id'}),
    'restore_create': ('POST', 'restores', {'parameters'}),
    'checkpoint_create': ('POST', 'providers/{provider_id}/checkpoints', {'checkpoint_properties'}),
    'checkpoint_update': ('PUT', 'providers/{provider_id}/checkpoints/{checkpoint_id}', {'checkpoint_id'}),
    'checkpoint_delete': ('DELETE', 'providers/{provider_id}/checkpoints/{checkpoint_id}', {'checkpoint_id'}),
    'scheduled_operation_create': ('POST', 'scheduled_operations', {'operation_obj'}),
    'scheduled_operation_delete': ('DELETE', 'scheduled_operations/{scheduled_operation_id}', {'id'}),
    'verification_create': ('POST', 'verifications', {'parameters', 'checkpoint_id'}),
    'checkpoint_copy': ('POST', 'providers/{provider_id}/checkpoints/action', {'plan_id', 'parameters'}),
}


@pytest.fixture
def karbor() -> Iterator[fixtures.Service]:
    with fixtures.service() as service:
        yield service


@pytest.fixture
def told(karbor) -> Iterator[Notified]:
    with notified() as seen:
        yield seen


@pytest.mark.parametrize('name', EVENTS)
def test_a_method_declares_its_event(name):
    verb, path, keys = EVENTS[name]
    (method,) = (m for v, p, m in v1.ROUTES if (v, p) == (verb, f'/v1/{{project_id}}/{path}'))
    assert method.event is not None
    assert method.event.name == name
    assert set(method.event.keys) >= keys


def requests_of(karbor: fixtures.Service) -> dict[str, tuple[str, str, Any]]:
    """Event -> a request that succeeds, in an order that lets all of them."""
    plan = karbor.post('/plans', fixtures.plan_body()).json['plan']['id']
    checkpoint = karbor.post(CHECKPOINTS, {'checkpoint': {'plan_id': plan}}).json['checkpoint']['id']
    karbor.settle()
    one, restore = f'{CHECKPOINTS}/{checkpoint}', {'provider_id': fixtures.PROVIDER, 'checkpoint_id': checkpoint}
    pattern = {'format': 'crontab', 'pattern': '0 2 * * *', 'start_time': '2026-01-01 00:00:00'}
    trigger = {'trigger_info': {'name': 'nightly', 'type': 'time', 'properties': pattern}}
    ids = [karbor.post('/triggers', trigger).json['trigger_info']['id'] for _ in range(2)]
    definition = {'plan_id': plan, 'provider_id': fixtures.PROVIDER}
    wanted = {'name': 'told', 'operation_type': 'protect', 'trigger_id': ids[0], 'operation_definition': definition}
    scheduled = {'scheduled_operation': wanted}
    operation = karbor.post('/scheduled_operations', scheduled).json['scheduled_operation']['id']
    return {
        'trigger_create': ('POST', '/triggers', trigger),
        'trigger_update': ('PUT', f'/triggers/{ids[0]}', {'trigger_info': {'name': 'told'}}),
        'trigger_delete': ('DELETE', f'/triggers/{ids[1]}', None),
        'scheduled_operation_delete': ('DELETE', f'/scheduled_operations/{operation}', None),
        'plan_create': ('POST', '/plans', fixtures.plan_body(name='told')),
        'plan_update': ('PUT', f'/plans/{plan}', {'plan': {'name': 'told'}}),
        'checkpoint_create': ('POST', CHECKPOINTS, {'checkpoint': {'plan_id': plan, 'extra-info': {'a': 'b'}}}),
        'restore_create': ('POST', '/restores', {'restore': restore | {'parameters': {}}}),
        'verification_create': ('POST', '/verifications', {'verification': restore}),
        'checkpoint_update': ('PUT', one, {'os-resetState': {'state': 'error'}}),
        'checkpoint_delete': ('DELETE', one, None),
        'plan_delete': ('DELETE', f'/plans/{plan}', None),
    }


def test_each_event_is_told_with_its_keys_at_start_and_end(karbor, told):
    before = len(told.messages())
    asked = requests_of(karbor)
    declared = {m.event.name for _, _, m in v1.ROUTES if m.event is not None}
    assert declared == EVENTS.keys()
    # No plugin here copies; and a plan that something is scheduled for could not be deleted in the end.
    assert EVENTS.keys() - asked.keys() == {'checkpoint_copy', 'scheduled_operation_create'}
    for name, (verb, path, body) in asked.items():
        before = len(told.messages())
        reply = karbor.request(verb, path, body)
        assert reply.status_int == 200, reply.text
        karbor.settle()
        sent = [message for message in told.messages()[before:] if message['publisher_id'].startswith('karbor-api')]
        assert [message['event_type'] for message in sent] == [f'karbor.{name}.start', f'karbor.{name}.end']
        for message in sent:
            assert message['publisher_id'] == 'karbor-api.test-host'
            assert message['priority'] == 'INFO'
            assert set(message['payload']) >= COMMON | EVENTS[name][2]
            assert message['payload']['tenant_id'] == fixtures.PROJECT
            assert message['payload']['request_id'] == reply.headers['X-Openstack-Request-Id']
        if verb == 'POST':
            (made,) = reply.json.values()
            assert sent[1]['payload']['id'] == made['id']
    assert told.messages('karbor.plan_create.start')[-1]['payload']['name'] == 'told'
    properties = told.messages('karbor.checkpoint_create.start')[-1]['payload']['checkpoint_properties']
    assert properties['extra_info'] == {'a': 'b'}
    assert properties['provider_id'] == fixtures.PROVIDER


def test_a_refused_request_is_told_with_its_cause(karbor, told):
    missing = '00000000-0000-4000-8000-000000000000'
    assert karbor.request('DELETE', f'/plans/{missing}').status_int == 404
    assert told.events() == ['karbor.plan_delete.start', 'karbor.plan_delete.error']
    payload = told.payload('karbor.plan_delete.error')
    assert payload['message'] == f'Plan {missing} could not be found.'
    assert payload['exception'] == ['PlanNotFound']
    assert payload['id'] == missing


def test_an_unforeseen_fault_is_told_without_its_inside(karbor, told):
    def break_(connection: Any, cursor: Any, text: str, *rest: Any) -> None:
        if text.startswith('INSERT INTO plans'):
            raise ValueError('the inside at /srv/secret')

    sa.event.listen(engine.engine(), 'before_cursor_execute', break_)
    try:
        assert karbor.post('/plans', fixtures.plan_body()).status_int == 500
    finally:
        sa.event.remove(engine.engine(), 'before_cursor_execute', break_)
    assert told.payload('karbor.plan_create.error')['message'].startswith('The server met an unexpected condition')
    for inside in ('Traceback', '/srv/secret', 'INSERT', 'ValueError'):
        assert inside not in told.everything


def test_a_request_that_is_no_valid_one_or_is_answered_again_is_not_told(karbor, told):
    assert karbor.post('/plans', {'plan': {}}).status_int == 400
    assert karbor.get('/plans').status_int == 200
    assert told.events() == []
    for _ in range(2):
        karbor.post('/plans', fixtures.plan_body(), **{'Idempotency-Key': 'k'})
    assert told.events() == ['karbor.plan_create.start', 'karbor.plan_create.end']


def test_nothing_secret_is_told(karbor, told):
    extra = {'password': 'pa55', 'note': 'password=pa55', 'X-Auth-Token': 'pa55', 'kept': 'shown'}
    plan = karbor.post('/plans', fixtures.plan_body()).json['plan']['id']
    made = karbor.post(CHECKPOINTS, {'checkpoint': {'plan_id': plan, 'extra-info': extra}})
    assert made.status_int == 200
    karbor.settle()
    auth = {'type': 'password', 'username': 'me', 'password': 'pa55'}
    restore = {'provider_id': fixtures.PROVIDER, 'checkpoint_id': made.json['checkpoint']['id'], 'parameters': {}}
    assert karbor.post('/restores', {'restore': restore | {'restore_auth': auth}}).status_int == 400
    properties = told.payload('karbor.checkpoint_create.start')['checkpoint_properties']
    assert properties['extra_info']['kept'] == 'shown'
    assert properties['extra_info']['password'] == '***'
    assert told.payload('karbor.restore_create.error')['exception'] == ['BadRequest']
    assert 'pa55' not in told.everything
    assert 'a token' not in told.everything


def test_nothing_is_loaded_when_no_driver_is_configured(karbor):
    with notified('noop'):
        assert not notifications.is_on()
        assert karbor.post('/plans', fixtures.plan_body()).status_int == 200


def test_a_broker_that_is_away_delays_and_fails_nothing(karbor, caplog):
    CONF.set_override('transport_url', f'rabbit://guest:guest@127.0.0.1:{free_port()}/', GROUP)
    try:
        took = {'without': _time(karbor)}
        with notified('messagingv2', queue_size=6, stop_timeout=0.5):
            took['away'] = _time(karbor)
            ended = time.monotonic()
            checkpoint = _checkpoint(karbor)
            karbor.settle()
            took['operation'] = time.monotonic() - ended
            stopping = time.monotonic()
        took['end'] = time.monotonic() - stopping
    finally:
        CONF.clear_override('transport_url', GROUP)
    print(took)
    assert karbor.get(f'{CHECKPOINTS}/{checkpoint}').json['checkpoint']['status'] == 'available'
    assert took['away'] < took['without'] + 0.05
    assert took['operation'] < 5
    assert took['end'] < 2
    assert 'Notifications are dropped' in caplog.text
    assert 'could not be sent before the end' in caplog.text


def _checkpoint(karbor: fixtures.Service) -> str:
    plan = karbor.post('/plans', fixtures.plan_body()).json['plan']['id']
    return karbor.post(CHECKPOINTS, {'checkpoint': {'plan_id': plan}}).json['checkpoint']['id']


def _time(karbor: fixtures.Service) -> float:
    """The seconds that a plan takes, at best of some."""
    took = []
    for _ in range(10):
        began = time.monotonic()
        assert karbor.post('/plans', fixtures.plan_body()).status_int == 200
        took.append(time.monotonic() - began)
    assert max(took) < 1
    return min(took)
