# SPDX-License-Identifier: Apache-2.0
"""What stands in front of the API, and how a WSGI server loads it."""

import subprocess
import sys

import sqlalchemy as sa
import webob
from oslo_config import cfg

from karbor.api import app
from karbor.db import engine, models, repository
from karbor.tests import fixtures

CONF = cfg.CONF
ORIGIN = {'Origin': 'https://dashboard.example'}


def test_a_browser_may_ask_without_a_token_when_its_origin_is_allowed() -> None:
    with fixtures.configured() as (config, _):
        app.load_app(CONF)
        config.config(allowed_origin=['https://dashboard.example'], group='cors')
        loaded = app.load_app(CONF)
        asks = ORIGIN | {'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'X-Auth-Token'}
        asked = webob.Request.blank('/v1/x/plans', method='OPTIONS', headers=asks).get_response(loaded)
        refused = webob.Request.blank('/v1/x/plans', headers=ORIGIN).get_response(loaded)
    assert asked.status_int == 200
    assert 'POST' in asked.headers['Access-Control-Allow-Methods']
    assert refused.status_int == 401
    assert refused.headers['Access-Control-Allow-Origin'] == 'https://dashboard.example'


def test_links_follow_the_proxy_when_its_headers_are_parsed() -> None:
    with fixtures.configured() as (config, _):
        app.load_app(CONF)
        config.config(enable_proxy_headers_parsing=True, group='oslo_middleware')
        headers = {
            'X-Forwarded-Proto': 'https',
            'X-Forwarded-Host': 'api.example',
            'X-Forwarded-Prefix': '/data-protect',
        }
        reply = webob.Request.blank('/', headers=headers).get_response(app.load_app(CONF))
    assert reply.json['versions'][0]['links'][0]['href'] == 'https://api.example/data-protect/v1/'


def test_a_wsgi_server_finds_the_application() -> None:
    with fixtures.configured() as (_, folder):
        ask = 'print(webob.Request.blank("/v1").get_response(api.application))'
        code = f'import webob; from karbor.wsgi import api; {ask}'
        environment = {'OS_KARBOR_CONFIG_FILES': f'{folder}/karbor.conf', 'PATH': ''}
        done = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith('200 OK'), done.stderr


def test_a_restore_of_karbor_1_6_shows_the_maps_that_were_stored() -> None:
    with fixtures.service() as service:
        restore = models.Restore(id=fixtures.SHARES, project_id=fixtures.PROJECT, status='success', parameters={})
        restore.resources_status, restore.resources_reason = {'T#new': 'available'}, {'T#new': ''}
        repository.create(restore)
        for shown in (
            service.get(f'/restores/{restore.id}').json['restore'],
            service.get('/restores').json['restores'][0],
        ):
            assert shown['resources_status'] == {'T#new': 'available'}
            assert shown['resources_reason'] == {'T#new': ''}
            assert shown['resource_status'] == shown['resource_reason'] == {}
            assert shown['status_details'] is None


def test_a_checkpoint_of_karbor_1_6_shows_what_is_known() -> None:
    with fixtures.service() as service:
        id = fixtures.record_checkpoint(fixtures.PROVIDER, protection_plan=None, extend_info='{"a":"b"}')
        shown = service.get(f'/providers/{fixtures.PROVIDER}/checkpoints/{id}').json['checkpoint']
    assert shown['protection_plan'].keys() == {'id', 'name', 'provider_id', 'resources'}
    assert shown['resource_graph'] == '[{}, []]'
    assert shown['extra_info'] == '{"a":"b"}'
    assert shown['resources'] == []


def test_a_plan_that_a_scheduled_operation_uses_stays() -> None:
    with fixtures.service() as service:
        plan = service.post('/plans', fixtures.plan_body()).json['plan']['id']
        with engine.writing():
            mine = {'project_id': fixtures.PROJECT, 'name': 'x'}
            repository.create(models.Trigger(id='trigger', type='time', properties={}, **mine))
            definition = {'provider_id': fixtures.PROVIDER, 'plan_id': plan}
            repository.create(
                models.ScheduledOperation(
                    id='user of the plan',
                    operation_type='protect',
                    user_id='user',
                    trigger_id='trigger',
                    operation_definition=definition,
                    **mine,
                )
            )
        refused = service.request('DELETE', f'/plans/{plan}')
        assert refused.status_int == 409
        assert 'user of the plan' in refused.json['conflictingRequest']['message']
        assert service.get(f'/plans/{plan}').status_int == 200


def test_an_unexpected_fault_is_logged_under_the_request_id_and_told_without_detail() -> None:
    with fixtures.service() as service:
        with engine.writing() as session:
            session.execute(sa.text('ALTER TABLE plans RENAME TO elsewhere'))
        reply = service.get('/plans')
        log = (service.folder / 'karbor.log').read_text()
    assert reply.status_int == 500
    assert reply.json['computeFault']['code'] == 500
    assert 'plans' not in reply.text and 'SQL' not in reply.text
    logged = [line for line in log.splitlines() if 'A request failed unexpectedly' in line]
    assert logged and reply.headers['X-Openstack-Request-Id'] in logged[0]
    assert 'no such table' in log
