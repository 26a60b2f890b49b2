# SPDX-License-Identifier: Apache-2.0
"""A sandbox cloud for a test module, and the real clients that talk to it."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from keystoneauth1 import session
from keystoneauth1.identity import v3
from manilaclient import client as manilaclient
from troveclient import client as troveclient

from karbor.sandbox.cloud import Sandbox

SPEED = 10


class Cloud:
    """What the tests do with a sandbox."""

    def __init__(self, sandbox: Sandbox):
        self.sandbox = sandbox
        self.users = {user['name']: user for user in [*sandbox.users, sandbox.service_user]}

    def login(self, name: str, trust: str | None = None, **scope: Any) -> session.Session:
        """A session of the user in its project, with the trust, or with another scope."""
        user = self.users[name]
        if trust:
            scope = {'trust_id': trust}
        scope = scope or {'project_name': user['project'], 'project_domain_id': 'default'}
        password = v3.Password(
            self.sandbox.auth_url, username=name, password=user['password'], user_domain_id='default', **scope
        )
        return session.Session(password)

    def manila(self, name: str = 'demo', version: str = '2.73') -> Any:
        """manilaclient as the user."""
        return manilaclient.Client(version, session=self.login(name), service_type='sharev2', region_name='RegionOne')

    def trove(self, name: str = 'demo') -> Any:
        """troveclient as the user."""
        return troveclient.Client('1.0', session=self.login(name), service_type='database', region_name='RegionOne')

    def get(self, name: str, url: str, method: str = 'GET', **given: Any) -> requests.Response:
        """The answer to a plain HTTP request with the user's token; url from the root of the sandbox."""
        headers = {'X-Auth-Token': str(self.login(name).get_token()), **given.pop('headers', {})}
        return requests.request(method, self.sandbox.url + url, headers=headers, timeout=30, **given)

    def fault(self, service: str, match: str, kind: str, **more: Any) -> requests.Response:
        """The answer to setting a fault as administrator."""
        wanted = {'service': service, 'match': match, 'kind': kind, **more}
        return self.get('admin', '/faults', 'POST', json=wanted)

    def objects(self) -> dict[str, list[dict[str, Any]]]:
        """Everything in the cloud."""
        found: dict[str, list[dict[str, Any]]] = self.get('admin', '/objects').json()
        return found


@pytest.fixture(scope='module')
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with Sandbox(tmp_path_factory.mktemp('state'), karbor_url='http://127.0.0.1:8799', speed=SPEED) as sandbox:
        yield Cloud(sandbox)


@pytest.fixture
def cloud(running: Cloud) -> Iterator[Cloud]:
    yield running
    running.sandbox.faults.clear()
    running.sandbox.faults.forget_calls()


@pytest.fixture
def slow(cloud: Cloud) -> Iterator[None]:
    """Work takes 0.3 seconds: long enough to see the states on the way on a busy machine."""
    cloud.sandbox.clock.speed = 1
    yield
    cloud.sandbox.clock.speed = SPEED


@pytest.fixture
def until() -> Callable[..., Any]:
    """until(manager, thing, status) is the thing in that status, or None when it is gone."""

    def wait(manager: Any, thing: Any, status: str | None, seconds: float = 5) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                found = manager.get(thing.id)
            except Exception as error:  # noqa: BLE001  # each client has a NotFound of its own
                if status is None and getattr(error, 'http_status', getattr(error, 'code', None)) == 404:
                    return None
                raise
            if found.status == status:
                return found
            time.sleep(0.01)
        pytest.fail(f'{thing.id} is still {found.status}, not {status}')

    return wait
