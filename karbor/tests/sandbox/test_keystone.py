# SPDX-License-Identifier: Apache-2.0
"""Logins, tokens and trusts, by keystoneauth, keystoneclient and keystonemiddleware."""

import datetime
import time
from typing import Any

import pytest
import requests
import webob
from keystoneauth1 import discover, exceptions, session
from keystoneauth1.identity import v3
from keystoneclient.v3 import client as keystoneclient
from keystonemiddleware import auth_token
from oslo_config import cfg

from karbor.sandbox.cloud import Sandbox
from karbor.tests.sandbox.conftest import Cloud


def keystone(sess: session.Session) -> Any:
    return keystoneclient.Client(session=sess, interface='public')


def protected(cloud: Cloud) -> Any:
    """A WSGI application behind keystonemiddleware that shows what it was told."""
    service = cloud.users['karbor']
    conf = {
        'auth_type': 'password',
        'auth_url': cloud.sandbox.auth_url,
        'www_authenticate_uri': cloud.sandbox.auth_url,
        'username': 'karbor',
        'password': service['password'],
        'user_domain_id': 'default',
        'project_name': 'service',
        'project_domain_id': 'default',
        'service_token_roles': 'service',
        'service_token_roles_required': True,
        'token_cache_time': -1,
        'oslo_config_config': cfg.ConfigOpts(),
    }

    @webob.dec.wsgify
    def show(request: webob.Request) -> webob.Response:
        return webob.Response(json={k: v for k, v in request.headers.items() if k.startswith('X-')})

    return auth_token.AuthProtocol(show, conf)


def call(app: Any, token: str | None, service_token: str | None = None) -> webob.Response:
    headers = {'X-Auth-Token': token, 'X-Service-Token': service_token}
    request = webob.Request.blank('/', headers={k: v for k, v in headers.items() if v})
    return request.get_response(app)


def make_trust(cloud: Cloud, **more: Any) -> Any:
    demo = cloud.login('demo')
    given = {'role_names': ['member'], 'impersonation': True, **more}
    return keystone(demo).trusts.create(
        trustee_user=cloud.users['karbor']['id'],
        trustor_user=demo.get_user_id(),
        project=demo.get_project_id(),
        **given,
    )


def test_version_is_discovered_from_the_root_and_from_v3(cloud):
    for url in (f'{cloud.sandbox.url}/identity', cloud.sandbox.auth_url):
        found = discover.Discover(session.Session(), url)
        assert found.url_for('v3') == cloud.sandbox.auth_url + '/'


def test_token_has_user_project_implied_roles_and_catalog(cloud):
    sess = cloud.login('demo')
    access = sess.auth.get_access(sess)
    demo = cloud.users['demo']
    assert (access.username, access.project_name, access.project_id) == ('demo', 'demo', demo['project_id'])
    assert sorted(access.role_names) == ['member', 'reader'] == demo['roles']
    urls = access.service_catalog.get_urls(region_name='RegionOne', interface='internal')
    assert len(urls) == 5
    url = access.service_catalog.url_for('data-protect', interface='public', region_name='RegionOne')
    assert url == f'http://127.0.0.1:8799/v1/{demo["project_id"]}'


def test_catalog_follows_when_karbor_moves(cloud):
    before = cloud.sandbox.karbor_url
    cloud.sandbox.karbor_url = 'http://127.0.0.1:1/'
    try:
        sess = cloud.login('demo')
        assert sess.get_endpoint(service_type='data-protect').startswith('http://127.0.0.1:1/v1/')
    finally:
        cloud.sandbox.karbor_url = before


def test_every_service_is_found_when_looked_up_by_either_interface(cloud):
    sess = cloud.login('other')
    for service in ('identity', 'sharev2', 'shared-file-system', 'database', 'data-protect'):
        for interface in ('public', 'internal', 'admin'):
            assert sess.get_endpoint(service_type=service, interface=interface, region_name='RegionOne')


def test_passwords_differ_when_another_sandbox_starts(cloud):
    with Sandbox() as another:
        old = {user['password'] for user in cloud.users.values()}
        assert len(old) == 5
        assert not old & {user['password'] for user in another.users}


def test_login_is_refused_in_keystones_words_when_the_password_is_wrong(cloud):
    wrong = v3.Password(
        cloud.sandbox.auth_url, username='demo', password='no', user_domain_id='default', project_name='demo',
        project_domain_id='default',
    )  # fmt: skip
    with pytest.raises(exceptions.Unauthorized):
        session.Session(wrong).get_token()
    body = {'auth': {'identity': {'methods': ['password'], 'password': {'user': {'id': 'x', 'password': 'y'}}}}}
    reply = requests.post(f'{cloud.sandbox.auth_url}/auth/tokens', json=body, timeout=5)
    assert reply.status_code == 401
    assert reply.json()['error'] == {
        'code': 401,
        'message': 'The request you have made requires authentication.',
        'title': 'Unauthorized',
    }
    assert reply.headers['x-openstack-request-id'].startswith('req-')


@pytest.mark.parametrize(
    ('body', 'status'),
    [
        ({}, 400),
        ({'auth': []}, 400),
        ({'auth': {'identity': {}}}, 400),
        ({'auth': {'identity': {'methods': ['password'], 'password': 'x'}}}, 401),
        ({'auth': {'identity': {'methods': ['token'], 'token': {'id': 'x'}}}}, 401),
        ({'auth': {'identity': {'methods': ['application_credential']}}}, 401),
    ],
)
def test_login_is_refused_when_its_body_is_no_login(cloud, body, status):
    reply = requests.post(f'{cloud.sandbox.auth_url}/auth/tokens', json=body, timeout=5)
    assert (reply.status_code, reply.json()['error']['code']) == (status, status)


def test_login_is_refused_when_the_user_has_no_role_in_the_project(cloud):
    with pytest.raises(exceptions.Unauthorized):
        cloud.login('demo', project_id=cloud.users['other']['project_id']).get_token()


def test_unscoped_token_lists_projects_and_is_exchanged_for_a_scoped_one(cloud):
    sess = cloud.login('demo', unscoped=True)
    assert sess.get_project_id() is None
    assert [p.name for p in keystone(sess).auth.projects()] == ['demo']
    scoped = session.Session(
        v3.Token(cloud.sandbox.auth_url, sess.get_token(), project_id=cloud.users['demo']['project_id'])
    )
    assert scoped.get_project_id() == cloud.users['demo']['project_id']
    assert scoped.get_token() != sess.get_token()


def test_project_is_shown_to_its_members_and_to_administrators_only(cloud):
    demo, other = cloud.users['demo']['project_id'], cloud.users['other']['project_id']
    assert keystone(cloud.login('reader')).projects.get(demo).name == 'demo'
    assert keystone(cloud.login('admin')).projects.get(other).name == 'other'
    with pytest.raises(exceptions.Forbidden):
        keystone(cloud.login('demo')).projects.get(other)
    with pytest.raises(exceptions.NotFound):
        keystone(cloud.login('admin')).projects.get('0' * 32)


def test_users_projects_and_roles_are_listed_for_administrators_only(cloud):
    admin, demo = keystone(cloud.login('admin')), keystone(cloud.login('demo'))
    assert {u.name for u in admin.users.list()} == {'demo', 'reader', 'other', 'admin', 'karbor'}
    assert [p.name for p in admin.projects.list(name='demo')] == ['demo']
    assert {r.name for r in admin.roles.list()} == {'admin', 'member', 'reader', 'service'}
    assert [p.name for p in demo.projects.list(user=cloud.users['demo']['id'])] == ['demo']
    for refused in (demo.users.list, demo.projects.list, demo.roles.list):
        with pytest.raises(exceptions.Forbidden):
            refused()


def test_revoked_token_is_worthless(cloud):
    sess = cloud.login('demo')
    token = sess.get_token()
    assert keystone(sess).tokens.get_token_data(token)['token']['user']['name'] == 'demo'
    keystone(sess).tokens.revoke_token(token)
    headers = {'X-Auth-Token': token}
    assert requests.get(f'{cloud.sandbox.url}/share/v2/shares', headers=headers, timeout=5).status_code == 401
    with pytest.raises(exceptions.NotFound):
        keystone(cloud.login('admin')).tokens.get_token_data(token)


def test_token_of_another_is_validated_for_services_only(cloud):
    token = cloud.login('demo').get_token()
    assert keystone(cloud.login('karbor')).tokens.get_token_data(token)
    with pytest.raises(exceptions.Forbidden):
        keystone(cloud.login('other')).tokens.get_token_data(token)


def test_trust_acts_as_the_trustor_until_it_is_deleted(cloud):
    trust = make_trust(cloud)
    sess = cloud.login('karbor', trust.id)
    token, access = sess.get_token(), sess.auth.get_access(sess)
    assert (access.username, access.project_name, access.trust_id) == ('demo', 'demo', trust.id)
    assert sorted(access.role_names) == ['member', 'reader']
    manila = requests.get(f'{cloud.sandbox.url}/share/v2/shares', headers={'X-Auth-Token': token}, timeout=5).json()
    assert {share['name'] for share in manila['shares']} == {'documents', 'photos', 'scratch'}
    owner = keystone(cloud.login('demo'))
    assert trust.id in [t.id for t in owner.trusts.list(trustor_user=cloud.users['demo']['id'])]
    assert keystone(cloud.login('karbor')).trusts.get(trust.id).project_id == access.project_id
    owner.trusts.delete(trust.id)
    with pytest.raises(exceptions.Unauthorized):
        cloud.login('karbor', trust.id).get_token()
    reply = cloud.get('demo', '/identity/v3/auth/tokens', headers={'X-Subject-Token': token})
    assert reply.status_code == 404


def test_trust_without_impersonation_acts_as_the_trustee(cloud):
    sess = cloud.login('karbor', make_trust(cloud, impersonation=False).id)
    assert sess.auth.get_access(sess).username == 'karbor'
    assert sess.get_project_id() == cloud.users['demo']['project_id']


def test_trust_is_refused_when_made_for_others_or_with_roles_that_the_trustor_lacks(cloud):
    other = cloud.login('other')
    with pytest.raises(exceptions.Forbidden):
        keystone(other).trusts.create(
            trustee_user=cloud.users['karbor']['id'],
            trustor_user=cloud.users['demo']['id'],
            project=cloud.users['demo']['project_id'],
            role_names=['member'],
            impersonation=True,
        )
    with pytest.raises(exceptions.Forbidden):
        make_trust(cloud, role_names=['admin'])
    with pytest.raises(exceptions.NotFound):
        make_trust(cloud, role_names=['cook'])


def test_trust_is_hidden_from_third_parties_and_useless_to_them(cloud):
    trust = make_trust(cloud)
    with pytest.raises(exceptions.Forbidden):
        keystone(cloud.login('other')).trusts.get(trust.id)
    with pytest.raises(exceptions.Forbidden):
        cloud.login('other', trust.id).get_token()


def test_trust_ends_when_it_expires_or_is_used_up(cloud):
    soon = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=0.3)
    expiring, once = make_trust(cloud, expires_at=soon), make_trust(cloud, remaining_uses=1)
    assert cloud.login('karbor', once.id).get_token()
    with pytest.raises(exceptions.Forbidden):
        cloud.login('karbor', once.id).get_token()
    time.sleep(0.35)
    with pytest.raises(exceptions.Unauthorized):
        cloud.login('karbor', expiring.id).get_token()


def test_application_credentials_are_refused(cloud):
    demo = cloud.login('demo')
    with pytest.raises(exceptions.Forbidden):
        keystone(demo).application_credentials.create('x', user=demo.get_user_id())


def test_middleware_passes_on_who_calls(cloud):
    reply = call(protected(cloud), cloud.login('demo').get_token())
    demo = cloud.users['demo']
    assert reply.status_code == 200
    assert reply.json['X-Project-Id'] == demo['project_id']
    assert reply.json['X-User-Name'] == 'demo'
    assert set(reply.json['X-Roles'].split(',')) == {'member', 'reader'}
    assert 'data-protect' in reply.json['X-Service-Catalog']


def test_middleware_refuses_when_the_token_is_missing_unknown_or_revoked(cloud):
    app, sess = protected(cloud), cloud.login('demo')
    token = sess.get_token()
    assert call(app, token).status_code == 200
    keystone(sess).tokens.revoke_token(token)
    for bad in (None, 'unknown', token):
        assert call(app, bad).status_code == 401


def test_middleware_takes_an_expired_token_only_with_a_service_token(cloud):
    app = protected(cloud)
    cloud.sandbox.identity.token_seconds = 0.2
    try:
        token = cloud.login('demo').get_token()
    finally:
        cloud.sandbox.identity.token_seconds = 3600
    time.sleep(0.25)
    service = cloud.login('karbor').get_token()
    assert call(app, token).status_code == 401
    assert call(app, token, service).status_code == 200
    assert call(app, token, cloud.login('demo').get_token()).status_code == 401
    shares = f'{cloud.sandbox.url}/share/v2/shares'
    headers = {'X-Auth-Token': token}
    assert requests.get(shares, headers=headers, timeout=5).status_code == 401
    headers['X-Service-Token'] = service
    assert requests.get(shares, headers=headers, timeout=5).status_code == 200
