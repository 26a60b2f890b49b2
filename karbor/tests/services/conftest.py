# SPDX-License-Identifier: Apache-2.0
"""Karbor as three processes on MariaDB or PostgreSQL with RabbitMQ between them, and a sandbox cloud in front of it."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from karbor.sandbox.cloud import Sandbox
from karbor.tests import databases
from karbor.tests.services import broker, watched
from karbor.tests.services.deployment import Deployment
from karbor.tests.services.user import User

SPEED = 10
KINDS = [pytest.param(kind, marks=pytest.mark.services) for kind in databases.SERVERS]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """The logs of the processes are shown with a test that failed."""
    report = yield
    deployment = getattr(item, 'funcargs', {}).get('karbor')
    if report.failed and deployment is not None:
        report.sections.append(('logs of Karbor', deployment.logs()))
    return report


@pytest.fixture(scope='session', params=KINDS)
def karbor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Karbor on each database. Whoever ends one of its processes starts it again."""
    folder = tmp_path_factory.mktemp(request.param)
    with (
        Sandbox(folder / 'cloud', speed=SPEED) as sandbox,
        databases.temporary(request.param, folder) as database,
        _virtual_host() as transport,
    ):
        watching = watched.environment(folder)
        deployment = Deployment(folder / 'karbor', database, transport, sandbox, environment=watching)
        with deployment.running():
            yield deployment


@contextlib.contextmanager
def _virtual_host() -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        try:
            transport = stack.enter_context(broker.virtual_host())
        except broker.Unreachable as fault:
            if os.environ.get('CI'):
                pytest.fail(str(fault))
            pytest.skip(str(fault))
        yield transport


@pytest.fixture
def user(karbor: Deployment) -> Callable[[str], User]:
    """user(name) is one of the sandbox's users: demo, reader, other, admin."""
    return lambda name: User(karbor, name)


@pytest.fixture
def demo(user: Callable[[str], User]) -> User:
    """A member of the project demo."""
    return user('demo')


@pytest.fixture
def rows(karbor: Deployment) -> Iterator[Callable[..., list[Any]]]:
    """rows(statement, **values) are what the database answers."""
    engine = sa.create_engine(karbor.database, poolclass=sa.pool.NullPool)

    def select(statement: str, **values: Any) -> list[Any]:
        with engine.connect() as connection:
            return list(connection.execute(sa.text(statement), values))

    yield select
    engine.dispose()
