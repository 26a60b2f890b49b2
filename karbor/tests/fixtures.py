# SPDX-License-Identifier: Apache-2.0
"""The whole service in memory: configuration, migrated SQLite, RPC within the process, providers, and the API."""

import datetime
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import karbor.native_threads  # noqa: F401 isort: skip
import orjson
import sqlalchemy as sa
import webob
from oslo_config import cfg
from oslo_config import fixture as config_fixture
from oslo_utils import timeutils, uuidutils

from karbor import exception, policies
from karbor.api import app, published
from karbor.api.method import Method
from karbor.clients import Cloud
from karbor.conf import opts
from karbor.db import engine, migration, models, repository
from karbor.objects.checkpoint import Checkpoint
from karbor.plugins.interface import Protectable, Resource
from karbor.plugins.project import Projects
from karbor.protection.protectables import Protectables
from karbor.protection.service import ProtectionService
from karbor.rpc import transport

CONF = cfg.CONF
PROJECT = '11111111-2222-4333-8444-555555555555'
OTHER = '99999999-2222-4333-8444-555555555555'
PROVIDER = 'b766f37c-d011-4026-8228-28730d734a3f'
SHARES = 'cf56bd3e-97a7-4078-b6d5-f36246333fd9'


CONFIGURATION = """\
[DEFAULT]
host = test-host
state_path = {folder}
transport_url = local://
provider_config_dir = {folder}/providers.d
use_stderr = false
log_file = {folder}/karbor.log

[database]
connection = {connection}

[keystone_authtoken]
www_authenticate_uri = http://127.0.0.1:9

[oslo_policy]
policy_file = {folder}/policy.yaml
"""

PROVIDERS = {
    'noop.conf': f"""\
[provider]
id = {PROVIDER}
name = noop
description = Protects nothing and succeeds
plugin = karbor-noop-protection-plugin
bank = karbor-memory-bank-plugin
enabled = true
""",
    'shares.conf': f"""\
[provider]
id = {SHARES}
name = shares
description = Shares only
plugin = karbor-share-protection-plugin
bank = karbor-memory-bank-plugin
enabled = true
""",
}


class Volumes(Protectable):
    """Five volumes in every project; the last is in no state to be protected."""

    resource_type = 'OS::Cinder::Volume'
    parent_types = ('OS::Keystone::Project',)

    def list(self, cloud: Cloud, parameters: Any = None) -> Sequence[Resource]:
        return [Resource(self.resource_type, f'volume.{n}', f'volume {n}', {'size': n}) for n in range(1, 5)]

    def show(self, cloud: Cloud, id: str, parameters: Any = None) -> Resource:
        if id == 'volume.5':
            raise exception.ProtectableInvalidStatus(type=self.resource_type, id=id, status='deleting')
        for volume in self.list(cloud):
            if volume.id == id:
                return Resource(volume.type, id, volume.name, parameters or volume.extra_info)
        raise exception.ProtectableNotFound(type=self.resource_type, id=id)

    def children(self, cloud: Cloud, parent: Resource) -> Sequence[Resource]:
        return self.list(cloud)


class Broken(Protectable):
    """A service that does not answer."""

    resource_type = 'OS::Nova::Server'

    def list(self, cloud: Cloud, parameters: Any = None) -> Sequence[Resource]:
        raise exception.BackendFault('unreachable', 'nova', 'req-of-nova')

    def show(self, cloud: Cloud, id: str, parameters: Any = None) -> Resource:
        raise OSError('http://inside.example:8774/v2.1 refused the connection')


CLOUD = (Volumes(), Broken())


@cache
def _migrated() -> Path:
    """A database of the newest revision, made once for each process of a test run."""
    path = Path(_templates.name, 'karbor.sqlite')
    _read_configuration(path.parent, f'sqlite:///{path}')
    engine.configure(CONF)
    migration.sync()
    engine.dispose()
    return path


_templates = tempfile.TemporaryDirectory(prefix='karbor-tests-')


def _read_configuration(folder: Path, connection: str) -> None:
    text = CONFIGURATION.format(folder=folder, connection=connection.replace('%', '%%'))
    (folder / 'karbor.conf').write_text(text)
    opts.parse([f'--config-file={folder}/karbor.conf'])


@dataclass
class Service:
    """A running Karbor. ``request`` asks its API as a member of PROJECT, unless it is told another token."""

    app: Any
    folder: Path
    config: config_fixture.Config
    protection: ProtectionService
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, verb: str, path: str, body: Any = None, **headers: str) -> webob.Response:
        """What the API answers to ``path`` below PROJECT's base, or to an absolute one below `/v1/` or `//`."""
        if not path.startswith('/v1') and path != '/':
            path = f'/v1/{PROJECT}{path}'
        asked = webob.Request.blank(path, method=verb, headers=self.headers | headers)
        if body is not None:
            asked.body = body if isinstance(body, bytes) else orjson.dumps(body)
            if 'Content-Type' not in headers:
                asked.content_type = 'application/json'
        return asked.get_response(self.app)

    def get(self, path: str, **headers: str) -> webob.Response:
        return self.request('GET', path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> webob.Response:
        return self.request('POST', path, body, **headers)

    def settle(self) -> None:
        """Every operation has ended when this returns."""
        assert self.protection.conductor.wait_idle(20), 'an operation does not end'

    def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        with engine.reading() as session:
            tables = models.Base.metadata.sorted_tables
            return {t.name: session.scalar(sa.select(sa.func.count()).select_from(t)) or 0 for t in tables}


def token(project_id: str = PROJECT, *roles: str, user_id: str = 'user') -> dict[str, str]:
    """What keystonemiddleware tells of a token: headers for `Service.request`."""
    return {
        'X-Identity-Status': 'Confirmed',
        'X-User-Id': user_id,
        'X-Project-Id': project_id,
        'X-Roles': ','.join(roles or ('member', 'reader')),
        'X-Auth-Token': 'a token',
    }


@contextmanager
def service(connection: str | None = None, **options: Any) -> Iterator[Service]:
    """A Karbor of its own with these options of `[DEFAULT]`, on the empty database ``connection``, or on SQLite.

    It has the providers PROVIDER (no-op plugin) and SHARES (share plugin), and the protectables of
    CLOUD. Requests come with headers as keystonemiddleware sets them, unless `auth_strategy` is
    among the options: that is loaded then.
    """
    with configured(connection, **options) as (config, folder):
        for name, text in PROVIDERS.items():
            (folder / 'providers.d').mkdir(exist_ok=True)
            (folder / 'providers.d' / name).write_text(text)
        protection = ProtectionService(Protectables([Projects(), *CLOUD]))
        protection.start()
        published.forget()
        try:
            trusting = 'auth_strategy' not in options
            with _trusting_headers(trusting):
                loaded = app.load_app(CONF)
            yield Service(loaded, folder, config, protection, token() if trusting else {})
        finally:
            protection.stop()


@contextmanager
def configured(connection: str | None = None, **options: Any) -> Iterator[tuple[config_fixture.Config, Path]]:
    """The process configured for a Karbor of its own, with its database and RPC in the process."""
    template = _migrated()
    folder = Path(tempfile.mkdtemp(prefix='karbor-test-'))
    shutil.copy(template, folder / 'karbor.sqlite')
    _read_configuration(folder, connection or f'sqlite:///{folder}/karbor.sqlite')
    config = config_fixture.Config(CONF)
    config.setUp()
    try:
        config.config(**options)
        policies.reset()
        engine.configure(CONF)
        if connection:
            migration.sync()
        transport.init(CONF)
        Method.check_replies = True
        yield config, folder
    finally:
        Method.check_replies = False
        engine.dispose()
        policies.reset()
        config.cleanUp()
        _close_logs(folder)
        shutil.rmtree(folder)


def _close_logs(folder: Path) -> None:
    root = logging.getLogger()
    for handler in list(root.handlers):
        if getattr(handler, 'baseFilename', '').startswith(str(folder)):
            root.removeHandler(handler)
            handler.close()


@contextmanager
def _trusting_headers(wanted: bool) -> Iterator[None]:
    """Requests come with the headers that keystonemiddleware would set: Keystone itself is tested elsewhere."""
    kept = app.AUTHENTICATION['keystone']
    if wanted:
        app.AUTHENTICATION['keystone'] = lambda inner, conf: inner
    try:
        yield
    finally:
        app.AUTHENTICATION['keystone'] = kept


def publish_provider(id: str, host: str, up: bool = True, **values: Any) -> None:
    """A provider, as the protection service of another host publishes it; ``values`` replace what it would be."""
    beat = timeutils.utcnow() if up else datetime.datetime(2020, 1, 1)
    if not repository.find(models.Service, ['id'], {'host': host}):
        repository.create(models.Service(host=host, binary='karbor-protection', updated_at=beat))
    kinds = ('options_schema', 'restore_schema', 'verify_schema', 'saved_info_schema')
    row = {
        'name': 'a provider',
        'description': f'of {host}',
        'extended_info_schema': {kind: {'OS::Manila::Share': {'properties': OPTIONS}} for kind in kinds},
        'resource_types': ['OS::Manila::Share'],
        'unavailable': {},
        'options': {},
        'digest': '-',
    }
    repository.create(models.Provider(id=id, host=host, published_at=beat, **(row | values)))
    published.forget()


def withdraw_host(host: str) -> None:
    """Away with the providers that `publish_provider` published for ``host``, and with its service."""
    with engine.writing() as connection:
        for model in (models.Provider, models.Service):
            connection.execute(sa.delete(model).where(model.host == host))
    published.forget()


OPTIONS: dict[str, Any] = {
    'snapshot_name': {'type': 'string', 'title': 'Name', 'default': None},
    'force': {'type': 'boolean', 'title': 'Force', 'default': False},
    'mode': {'type': 'string', 'enum': ['full', 'incremental']},
    'copies': {'type': 'integer'},
}


def plan_body(**changes: Any) -> dict[str, Any]:
    """The body of a POST of a plan, with these changes."""
    plan: dict[str, Any] = {
        'name': 'my plan',
        'description': None,
        'provider_id': PROVIDER,
        'resources': [{'id': 'share-1', 'type': 'OS::Manila::Share', 'name': 'first share'}],
        'parameters': {},
    }
    return {'plan': plan | changes}


def record_checkpoint(provider_id: str, status: str = 'available', project_id: str = PROJECT, **values: Any) -> str:
    """The id of a new checkpoint that the database knows, without anything in the bank."""
    plan: dict[str, Any] = {
        'id': uuidutils.generate_uuid(),
        'name': 'a plan',
        'provider_id': provider_id,
        'resources': [],
    }
    row = {'plan_id': plan['id'], 'protection_plan': plan, 'create_by': 'manual'}
    checkpoint = Checkpoint.new(
        project_id=project_id, provider_id=provider_id, checkpoint_status=status, **(row | values)
    )
    checkpoint.create()
    return checkpoint.id
