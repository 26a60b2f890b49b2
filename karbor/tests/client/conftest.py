# SPDX-License-Identifier: Apache-2.0
"""A running Karbor with its sandbox cloud, and python-karborclient in front of it: the library and the shell."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from karborclient import client as karbor_client
from keystoneauth1 import session
from keystoneauth1.identity import v3

COMMANDS = Path(sys.executable).parent
# The Python and the module of each shell.
SHELLS = {
    'karbor': (Path(sys.executable), 'karborclient.shell'),
    'openstack': (Path(__file__).parents[3] / '.venv-openstack' / 'bin' / 'python', 'openstackclient.shell'),
}
# So few that the test of the quota need not make many; no test has so many plans at once.
PLAN_QUOTA = 12
SHARE, DATABASE, PROJECT = 'OS::Manila::Share', 'OS::Trove::Instance', 'OS::Keystone::Project'
READY_SECONDS = 30
BUSY = ('protecting', 'deleting', 'in_progress')


@dataclass
class Done:
    """What a command did: its exit status, and what it printed."""

    status: int
    output: str
    errors: str

    @property
    def rows(self) -> list[dict[str, str]]:
        """The table that it printed, a dictionary a row; a cell of many lines is one text with newlines."""
        found: list[list[str]] = []
        for line in self.output.splitlines():
            if not line.startswith('|'):
                continue
            cells = [cell.strip() for cell in line.strip('|').split('|')]
            if cells[0] or not found:
                found.append(cells)
            else:
                pairs = zip(found[-1], cells, strict=True)
                found[-1] = [f'{before}\n{more}' if more else before for before, more in pairs]
        return [dict(zip(found[0], row, strict=True)) for row in found[1:]]

    @property
    def shown(self) -> dict[str, str]:
        """The table of properties that it printed: `karbor` heads them Property, `openstack` Field."""
        return {name: value for name, value in (row.values() for row in self.rows)}


class Karbor:
    """A service that runs, and what the tests do with it as one of its users."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.ready = ready
        self.users = {user['name']: user for user in ready['users']}
        self._clients: dict[str, Any] = {}
        self._preloaded: dict[str, subprocess.Popen[str]] = {}
        # What ends with the service.
        self.stack = contextlib.ExitStack()

    def session(self, name: str) -> session.Session:
        """A Keystone session of the user in its project."""
        user = self.users[name]
        password = v3.Password(
            self.ready['auth_url'],
            username=name,
            password=user['password'],
            user_domain_id='default',
            project_id=user['project_id'],
        )
        return session.Session(password)

    def client(self, name: str = 'demo') -> Any:
        """python-karborclient as the user, which finds Karbor in Keystone's catalogue."""
        if name not in self._clients:
            self._clients[name] = karbor_client.Client('1', session=self.session(name), service_type='data-protect')
        return self._clients[name]

    def shell(self, *arguments: str, user: str = 'demo') -> Done:
        """The command `karbor` with these arguments, run by the user."""
        known = self.users[user]
        environment = {key: value for key, value in os.environ.items() if not key.startswith('OS_')} | {
            'OS_AUTH_URL': self.ready['auth_url'],
            'OS_USERNAME': user,
            'OS_PASSWORD': known['password'],
            'OS_PROJECT_NAME': known['project'],
            'COLUMNS': '200',
        }
        done = subprocess.run(
            [COMMANDS / 'karbor', *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def preloaded(self, shell: str, *arguments: str, user: str = 'demo') -> Done:
        """The command of the shell `karbor` or `openstack` (data protection) with these arguments, run by the user."""
        known = self.users[user]
        login = ['--os-auth-url', self.ready['auth_url'], '--os-username', user, '--os-password', known['password']]
        login += ['--os-project-name', known['project']]
        if shell == 'openstack':
            login += ['--os-user-domain-id', 'default', '--os-project-domain-id', 'default', 'data', 'protection']
        if shell not in self._preloaded:
            self._preloaded[shell] = self._preload(*SHELLS[shell])
        process = self._preloaded[shell]
        assert process.stdin is not None
        process.stdin.write(json.dumps([*login, *arguments]) + '\n')
        process.stdin.flush()
        line = read_line(process)
        assert line, f'{shell} {arguments} does not end'
        return Done(*json.loads(line))

    def _preload(self, python: Path, module: str) -> 'subprocess.Popen[str]':
        if not python.exists():
            missing = f'{python} is missing: make venv'
            pytest.fail(missing) if os.environ.get('CI') else pytest.skip(missing)
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        environment = {key: value for key, value in os.environ.items() if not key.startswith('OS_')}
        return self.stack.enter_context(
            subprocess.Popen(
                [python, Path(__file__).with_name('preloaded.py'), module],
                env=environment | {'HOME': folder, 'COLUMNS': '200'},
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )

    def ended(self, ask: Callable[[], Any], seconds: float = 30) -> Any:
        """The checkpoint or restore that `ask` gets, when its operation has ended."""
        end = time.monotonic() + seconds
        while (seen := ask()).status in BUSY:
            if time.monotonic() > end:
                pytest.fail(f'{seen.id} is still {seen.status}')
            time.sleep(0.05)
        return seen

    def ended_checkpoint(self, provider_id: str, checkpoint_id: str) -> Any:
        """The checkpoint, when nothing works on it any more."""
        return self.ended(lambda: self.client().checkpoints.get(provider_id, checkpoint_id))

    def ended_restore(self, restore_id: str) -> Any:
        """The restore, when it has ended."""
        return self.ended(lambda: self.client().restores.get(restore_id))

    def ended_verification(self, verification_id: str) -> Any:
        """The verification, when it has ended."""
        return self.ended(lambda: self.client().verifications.get(verification_id))

    @contextlib.contextmanager
    def fault(self, **fault: Any) -> Iterator[None]:
        """Within the block the cloud has this trouble."""
        admin, url = self.session('admin'), self.ready['faults_url']
        admin.post(url, json=fault)
        try:
            yield
        finally:
            admin.delete(url)


@dataclass(frozen=True)
class Protected:
    """A plan of the demo project with an available checkpoint of it."""

    plan: Any
    checkpoint: Any
    provider_id: str


def read_line(process: 'subprocess.Popen[str]') -> str:
    """What the process prints next, or nothing if it takes too long."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline() if selector.select(READY_SECONDS) else ''


@pytest.fixture(scope='session')
def karbor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Karbor]:
    directory = tmp_path_factory.mktemp('karbor')
    config = directory / 'karbor.conf'
    config.write_text(f'[DEFAULT]\nquota_plans = {PLAN_QUOTA}\n')
    command: list[Any] = [COMMANDS / 'karbor-standalone', '--sandbox', '--port', '0']
    command += ['--state-dir', directory / 'state', '--config-file', config]
    with (
        open(directory / 'errors', 'w') as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            line = read_line(process)
            assert line, (directory / 'errors').read_text()
            service = Karbor(json.loads(line))
            with service.stack:
                yield service
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    assert process.returncode == 0


@pytest.fixture(scope='session')
def provider(karbor: Karbor) -> Any:
    """The provider that protects shares and databases; the other one does nothing with them."""
    return next(p for p in karbor.client().providers.list() if p.extended_info_schema['options_schema'].get(SHARE))


@pytest.fixture(scope='session')
def noop(karbor: Karbor, provider: Any) -> Any:
    """The provider that does nothing."""
    return next(p for p in karbor.client().providers.list() if p.id != provider.id)


@pytest.fixture(scope='session')
def resources(karbor: Karbor) -> list[dict[str, Any]]:
    """A share and a database instance of the demo project, as a plan names them."""
    found = [karbor.client().protectables.list_instances(kind)[0] for kind in (SHARE, DATABASE)]
    return [{'id': resource.id, 'type': resource.type, 'name': resource.name} for resource in found]


@pytest.fixture
def make_plan(karbor: Karbor, provider: Any, resources: list[dict[str, Any]]) -> Iterator[Callable[..., Any]]:
    """make_plan(name, …) is a new plan of the demo project, deleted at the end unless the test did."""
    made = []

    def make(name: str = 'a plan', provider_id: str = provider.id, what: Any = None, user: str = 'demo') -> Any:
        plan = karbor.client(user).plans.create(name, provider_id, what or resources, {})
        made.append((user, plan.id))
        return plan

    yield make
    left = {user: {plan.id for plan in karbor.client(user).plans.list()} for user in {user for user, _ in made}}
    for user, id in made:
        if id in left[user]:
            karbor.client(user).plans.delete(id)


@pytest.fixture
def make_checkpoint(karbor: Karbor, noop: Any, make_plan: Callable[..., Any]) -> Callable[[], Any]:
    """make_checkpoint() is a new available checkpoint, of the provider that does nothing."""

    def make() -> Any:
        plan = make_plan(provider_id=noop.id)
        checkpoint = karbor.client().checkpoints.create(noop.id, plan.id)
        return karbor.ended_checkpoint(noop.id, checkpoint.id)

    return make


@pytest.fixture(scope='session')
def protected(karbor: Karbor, provider: Any, resources: list[dict[str, Any]]) -> Protected:
    """A plan and its checkpoint with data, for tests that leave them alone."""
    client = karbor.client()
    plan = client.plans.create('protected', provider.id, resources, {}, description='for all')
    made = client.checkpoints.create(provider.id, plan.id, {'reason': 'a test'})
    checkpoint = karbor.ended_checkpoint(provider.id, made.id)
    assert checkpoint.status == 'available', checkpoint
    return Protected(plan, checkpoint, provider.id)


@pytest.fixture
def nowhere() -> str:
    """An id that nothing has."""
    return str(uuid.uuid4())
