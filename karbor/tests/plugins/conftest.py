# SPDX-License-Identifier: Apache-2.0
"""A sandbox cloud, reached over HTTP by the real client libraries, and a driver that does what the engine does."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from keystoneauth1.identity import v3

from karbor import clients, keystone
from karbor.conf import opts
from karbor.sandbox.cloud import Sandbox
from karbor.tests.plugins.driver import SPEED, Case, Driver, cases


@pytest.fixture(scope='session', autouse=True)
def options() -> None:
    opts.register()


@pytest.fixture(scope='module')
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp('state'), speed=SPEED) as running:
        yield running


@pytest.fixture
def login(sandbox: Sandbox) -> Callable[[str], clients.Cloud]:
    """The cloud as the user of that name sees it."""

    def logged_in(name: str) -> clients.Cloud:
        user = next(u for u in [*sandbox.users, sandbox.service_user] if u['name'] == name)
        auth = v3.Password(
            sandbox.auth_url,
            username=name,
            password=user['password'],
            user_domain_id='default',
            project_name=user['project'],
            project_domain_id='default',
        )
        return clients.Cloud(keystone.Session(auth), user['project_id'], user['id'], user['project'])

    return logged_in


@pytest.fixture
def cloud(sandbox: Sandbox, login: Callable[[str], clients.Cloud]) -> Iterator[clients.Cloud]:
    yield login('demo')
    sandbox.clock.speed = SPEED
    sandbox.faults.clear()
    sandbox.faults.forget_calls()


@pytest.fixture
def faults(sandbox: Sandbox) -> Callable[..., Any]:
    def add(service: str, match: str, kind: str, **more: Any) -> Any:
        return sandbox.faults.add({'service': service, 'match': match, 'kind': kind, **more})

    return add


@pytest.fixture(params=['noop', 'share', 'database'])
def case(request: pytest.FixtureRequest, sandbox: Sandbox) -> Case:
    """Each plugin with a resource that it protects."""
    return cases(sandbox)[request.param]()


@pytest.fixture(params=['share', 'database'])
def real(request: pytest.FixtureRequest, sandbox: Sandbox) -> Case:
    """Each plugin that makes something in a cloud."""
    return cases(sandbox)[request.param]()


@pytest.fixture
def driver(cloud: clients.Cloud) -> Driver:
    return Driver(cloud, checkpoint_id=str(uuid.uuid4()))
