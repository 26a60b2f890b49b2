# SPDX-License-Identifier: Apache-2.0
"""Karbor as three processes on servers of the test's own, which it may kill."""

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from karbor.sandbox.cloud import Sandbox
from karbor.tests.databases import make_database, sqlite_database  # noqa: F401  fixtures
from karbor.tests.infrastructure import cloud, servers
from karbor.tests.infrastructure.proxy import Proxy
from karbor.tests.services.deployment import Deployment
from karbor.tests.services.user import User

KINDS = {'mariadb': servers.MariaDB, 'postgresql': servers.PostgreSQL}
LEASE_SECONDS = 3.0
OBJECT_SECONDS = 0.5
ENVIRONMENT = {
    'OS_PROTECTION__LEASE_SECONDS': str(LEASE_SECONDS),
    'OS_PROTECTION__POLL_FIRST': '0.1',
    'OS_PROTECTION__BANK_RETRY_SECONDS': '30',
}


class Karbor(Deployment):
    """A deployment with its servers, a back end in a folder, and a wire between API and broker."""

    server: Any
    broker: servers.RabbitMQ
    wire: Proxy
    cloud: cloud.Folder

    @contextlib.contextmanager
    def serving(self) -> Iterator['Karbor']:
        """Within the block the three processes serve; at its end each has to end in order."""
        self.manage('db', 'sync')
        try:
            for process in self.processes.values():
                process.start()
            self.until(self.answers, 'the API and the protection service answer', 60)
            yield self
        finally:
            with futures.ThreadPoolExecutor(len(self.processes)) as pool:
                list(pool.map(self._end, self.processes.values()))

    def kill(self, binary: str) -> None:
        """SIGKILL for the process and its workers."""
        process = self.processes[binary]
        process._kill(process.workers)


def missing(what: str) -> None:
    """Skip the test, or fail it where everything has to be there."""
    if os.environ.get('CI'):
        pytest.fail(what)
    pytest.skip(what)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """The logs of the processes are shown with a test that failed."""
    report = yield
    deployment = getattr(item, 'funcargs', {}).get('karbor')
    if report.failed and deployment is not None:
        report.sections.append(('logs of Karbor', deployment.logs()))
    return report


@pytest.fixture(scope='session')
def broker() -> Iterator[servers.RabbitMQ]:
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(servers.running(servers.RabbitMQ))
        except servers.Missing as needed:
            missing(str(needed))


@pytest.fixture(scope='session', params=list(KINDS))
def server(request: pytest.FixtureRequest) -> Iterator[servers.Database]:
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(servers.running(KINDS[request.param]))
        except servers.Missing as needed:
            missing(str(needed))


@pytest.fixture(scope='session')
def karbor(
    broker: servers.RabbitMQ, server: servers.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Karbor]:
    folder = tmp_path_factory.mktemp('karbor')
    with Sandbox(folder / 'cloud') as sandbox:
        made = deploy(folder / 'karbor', server, broker, sandbox)
        with contextlib.closing(made.wire), made.serving():
            yield made


def deploy(folder: Path, server: servers.Database, broker: servers.RabbitMQ, sandbox: Sandbox) -> Karbor:
    """A deployment that is not started yet."""
    made = Karbor(folder, server.url, broker.url, sandbox, environment=ENVIRONMENT)
    made.server, made.broker, made.wire = server, broker, Proxy(broker.port)
    made.processes['karbor-api'].environment['OS_DEFAULT__TRANSPORT_URL'] = broker.url.replace(
        str(broker.port), str(made.wire.port)
    )
    made.cloud = cloud.Folder(str(folder / 'objects'), OBJECT_SECONDS)
    text = cloud.CONFIGURATION.format(
        provider=cloud.PROVIDER, bank=made.bank, folder=made.cloud.path, seconds=made.cloud.seconds
    )
    (folder / 'providers.d/folders.conf').write_text(text)
    return made


@pytest.fixture
def demo(karbor: Karbor) -> User:
    """A member of the project demo."""
    return User(karbor, 'demo')


@pytest.fixture
def rows(karbor: Karbor) -> Iterator[Callable[..., list[Any]]]:
    """rows(statement, **values) are what the database answers."""
    with contextlib.closing(Rows(karbor.database)) as made:
        yield made


class Rows:
    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url, poolclass=sa.pool.NullPool)

    def __call__(self, statement: str, **values: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.text(statement), values))

    def close(self) -> None:
        self.engine.dispose()
