# SPDX-License-Identifier: Apache-2.0
"""Sessions, endpoints and what faults mean, against the sandbox over HTTP."""

import concurrent.futures
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from karbor import clients, exception, keystone
from karbor.clients import Cloud
from karbor.conf import opts
from karbor.context import RequestContext
from karbor.plugins import project
from karbor.plugins.interface import Resource
from karbor.sandbox.cloud import Sandbox

CONF = cfg.CONF


@pytest.fixture
def override() -> Iterator[Callable[..., None]]:
    done = []

    def set(group: str, **values: Any) -> None:
        for name, value in values.items():
            CONF.set_override(name, value, group)
            done.append((name, group))

    yield set
    for name, group in done:
        CONF.clear_override(name, group)


@pytest.fixture
def context(sandbox: Sandbox, cloud: Cloud) -> Callable[..., RequestContext]:
    """The context of a request of the user demo."""
    session: Any = cloud._session
    token = session.auth.get_access(session)
    asked = {
        'auth_token': token.auth_token,
        'user_id': token.user_id,
        'project_id': token.project_id,
        'project_name': token.project_name,
        'service_catalog': token.service_catalog.catalog,
    }
    sandbox.faults.forget_calls()
    return lambda **other: RequestContext(**{**asked, **other}, overwrite=False)


def names(cloud: Cloud) -> set[str]:
    return {share.name for share in cloud.client('manila').shares.list()}


OWN = {'documents', 'photos', 'scratch'}


def test_keystone_is_not_asked_when_the_context_has_a_catalogue(sandbox: Sandbox, context: Any) -> None:
    cloud = Cloud.from_context(context())
    assert names(cloud) == OWN
    assert {i.name for i in cloud.client('trove').instances.list()} == {'shop-db', 'wiki-db'}
    assert sandbox.faults.calls()['keystone'] == {}


def test_the_catalogue_of_keystonemiddleware_is_understood(context: Any) -> None:
    v2 = [
        {
            'type': service['type'],
            'name': service['name'],
            'endpoints': [
                {'region': e['region'], 'publicURL': e['url']}
                for e in service['endpoints']
                if e['interface'] == 'public'
            ],
        }
        for service in context().service_catalog
    ]
    assert names(Cloud.from_context(context(service_catalog=v2))) == OWN


def test_keystone_is_asked_when_the_context_has_no_catalogue(sandbox: Sandbox, context: Any, override: Any) -> None:
    override('clients_keystone', auth_uri=f'{sandbox.url}/identity')
    assert names(Cloud.from_context(context(service_catalog=[]))) == OWN
    assert sandbox.faults.calls()['keystone'] == {'GET /auth/catalog': 1}


def test_the_fault_is_keystone_s_when_it_refuses_the_token(sandbox: Sandbox, context: Any, override: Any) -> None:
    override('clients_keystone', auth_uri=f'{sandbox.url}/identity/v3')
    with pytest.raises(exception.BackendFault, match=r'unauthorized: .+ \(keystone, request req-'):
        Cloud.from_context(context(service_catalog=[], auth_token='wrong')).client('manila')


def test_a_service_without_endpoint_is_told(context: Any, override: Any) -> None:
    override('trove_client', region_id='Elsewhere')
    with pytest.raises(exception.BackendFault, match=r'unreachable: the catalogue has no endpoint .+ \(trove\)'):
        Cloud.from_context(context()).client('trove')


@pytest.mark.parametrize(
    'options',
    [
        {'service_type': 'shared-file-system', 'service_name': ''},
        {'service_name': 'named otherwise'},
        {'interface': 'unheard-of'},
        {'region_id': ''},
        {'service_type': 'nowhere', 'manila_catalog_info': 'sharev2:manilav2:publicURL'},
        {'service_type': 'nowhere', 'manila_catalog_info': 'sharev2::'},
    ],
    ids=str,
)
def test_a_service_is_found_when_the_options_name_it_otherwise(context: Any, override: Any, options: Any) -> None:
    override('manila_client', **options)
    assert names(Cloud.from_context(context())) == OWN


def test_the_configured_endpoint_wins_and_gets_the_project_where_the_service_needs_it(
    sandbox: Sandbox, context: Any, override: Any
) -> None:
    override('manila_client', manila_endpoint=f'{sandbox.url}/share/v2/')
    override('trove_client', trove_endpoint=f'{sandbox.url}/database/v1.0')
    cloud = Cloud.from_context(context(service_catalog=[]))
    assert names(cloud) == OWN
    assert {i.name for i in cloud.client('trove').instances.list()} == {'shop-db', 'wiki-db'}


def test_a_fault_is_told_without_address_when_nothing_listens(context: Any, override: Any) -> None:
    override('manila_client', manila_endpoint='http://127.0.0.1:9/v2')
    with pytest.raises(exception.BackendFault) as raised:
        Cloud.from_context(context()).client('manila')
    assert raised.value.text == 'unreachable: the service cannot be reached (manila)' and raised.value.transient


@pytest.mark.parametrize('wanted, got', [(None, '2.90'), ('2', '2.90'), ('2.65', '2.65'), ('2.999', '2.90')])
def test_manila_is_asked_in_the_newest_version_that_both_know(
    context: Any, override: Any, wanted: str | None, got: str
) -> None:
    override('manila_client', version=wanted)
    assert Cloud.from_context(context()).client('manila').api_version.get_string() == got


def test_manila_s_versions_are_asked_for_once(sandbox: Sandbox, context: Any) -> None:
    clients._versions.clear()
    for _ in range(3):
        Cloud.from_context(context()).client('manila')
    assert sum(sandbox.faults.calls()['manila'].values()) == 1


def test_a_cloud_makes_each_client_once_when_many_threads_ask(context: Any) -> None:
    made = []
    cloud = Cloud(lambda: made.append(1) or keystone.session(context()), 'p')  # type: ignore[func-returns-value]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: id(cloud.client('manila')), range(64)))
    assert len(found) == len(made) == 1


def test_nothing_is_written_to_the_home_directory(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    cloud = Cloud.from_context(context())
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: (names(cloud), cloud.client('trove').instances.list()), range(64)))
    assert os.listdir(tmp_path) == []


@pytest.fixture
def service_user(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[cfg.ConfigOpts]:
    """A configuration of its own, with a [trustee]: what keystoneauth registers there would bind all other tests."""
    user, path = sandbox.service_user, tmp_path / 'karbor.conf'
    path.write_text(
        f"""\
[service_auth]
send_service_token = true
[trustee]
auth_type = password
auth_url = {sandbox.auth_url}
username = {user['name']}
password = {user['password']}
project_name = {user['project']}
user_domain_id = default
project_domain_id = default
"""
    )
    made = cfg.ConfigOpts()
    opts.register(made)
    made([f'--config-file={path}'], project='karbor', default_config_files=[])
    monkeypatch.setattr(keystone, 'CONF', made)
    keystone.service_auth.cache_clear()
    yield made
    keystone.service_auth.cache_clear()


def test_a_service_token_goes_along_and_an_expired_token_is_taken_when_it_is_configured(
    sandbox: Sandbox, context: Any, service_user: cfg.ConfigOpts, login: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = keystone.session(context()).get_auth_headers()
    assert set(headers or ()) == {'X-Auth-Token', 'X-Service-Token'}
    assert names(Cloud.from_context(context())) == OWN
    assert keystone.service_session().get_user_id() == sandbox.service_user['id']
    assert keystone.auth_url() == sandbox.auth_url
    monkeypatch.setattr(sandbox.identity, 'token_seconds', 0.2)
    expired = login('demo')._session.get_token()
    time.sleep(0.3)
    assert names(Cloud.from_context(context(auth_token=expired))) == OWN
    service_user.set_override('send_service_token', False, 'service_auth')
    with pytest.raises(Exception) as raised:
        names(Cloud.from_context(context(auth_token=expired)))
    assert clients.fault('manila', raised.value).reason == 'unauthorized'


def test_there_is_no_service_session_without_a_service_user() -> None:
    keystone.service_auth.cache_clear()
    with pytest.raises(exception.ConfigurationError):
        keystone.service_session()


def test_a_fault_of_ours_stays_what_it_is() -> None:
    ours = exception.BackendFault('too_slow', 'trove')
    assert clients.fault('manila', ours) is ours
    assert clients.fault('manila', exception.BankUnavailable()).reason == 'bank'
    assert clients.fault('manila', KeyError('http://inner')).text == (
        'internal: an unexpected fault of Karbor; its log has the details (karbor)'
    )


def test_the_user_s_project_is_the_only_one(cloud: Cloud) -> None:
    own = Resource('OS::Keystone::Project', cloud.project_id, 'demo')
    assert project.Projects().list(cloud) == [own] == [project.Projects().show(cloud, own.id)]
    assert project.Projects().list(cloud)[0].name == 'demo'
    with pytest.raises(exception.ProtectableNotFound):
        project.Projects().show(cloud, 'another')
