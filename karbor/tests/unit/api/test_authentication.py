# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace
from typing import Any

import pytest

from karbor import exception
from karbor.api import authentication
from karbor.tests import fixtures


def _conf(strategy: str, host: str) -> Any:
    return SimpleNamespace(auth_strategy=strategy, osapi_karbor_listen=host)


@pytest.mark.parametrize('host', ['0.0.0.0', '::', '192.0.2.1', 'karbor.example', ''])
def test_noauth_is_refused_when_others_can_reach_it(host: str) -> None:
    with pytest.raises(exception.ConfigurationError, match='--insecure'):
        authentication.check_listen(_conf('noauth', host))
    authentication.check_listen(_conf('noauth', host), insecure=True)
    authentication.check_listen(_conf('keystone', host))


@pytest.mark.parametrize('host', ['127.0.0.1', '127.8.8.8', '::1', 'localhost'])
def test_noauth_is_served_on_the_loopback(host: str) -> None:
    authentication.check_listen(_conf('noauth', host))


def test_a_token_is_forgotten_when_its_time_is_over() -> None:
    tokens = authentication.Tokens()
    tokens.set('a', b'1', time=60)
    tokens.set('b', b'2', time=0)
    assert tokens.get('a') == b'1'
    assert tokens.get('b') is None
    assert tokens.get('c') is None


def test_the_oldest_token_goes_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication.Tokens, 'MOST', 2)
    tokens = authentication.Tokens()
    for name in ('a', 'b', 'c'):
        tokens.set(name, name, time=60)
    assert [tokens.get(name) for name in ('a', 'b', 'c')] == [None, 'b', 'c']


def test_a_client_without_a_token_is_given_one_when_nobody_checks() -> None:
    with fixtures.service(auth_strategy='noauth') as service:
        reply = service.get('/plans', **{'X-Auth-User': 'me', 'X-Auth-Project-Id': fixtures.PROJECT})
        assert reply.status_int == 204
        assert reply.headers['X-Auth-Token'] == f'me:{fixtures.PROJECT}'
        assert reply.headers['X-Server-Management-Url'] == f'http://localhost/v1/{fixtures.PROJECT}'
        assert reply.headers['X-Openstack-Request-Id']


def test_headers_of_a_client_are_not_believed_when_keystone_checks() -> None:
    headers = {name: value for name, value in fixtures.token().items() if name != 'X-Auth-Token'}
    with fixtures.service(auth_strategy='keystone') as service:
        for path in ('/plans', '//plans', '/nonsense', '/openapi.json'):
            reply = service.get(path, **headers)
            assert reply.status_int == 401, path
            assert reply.headers['X-Openstack-Request-Id']
        assert service.get('/').status_int == 300
        assert service.get('/v1/openapi.json').status_int == 200
