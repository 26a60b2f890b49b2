# SPDX-License-Identifier: Apache-2.0
"""`karbor-standalone`: API, protection service and operation engine in one process; `--sandbox` adds a
cloud to try it on.

It prints one JSON line when it is ready, stays in the foreground, and ends on SIGTERM or SIGINT.
"""

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_log import log

from karbor import exception, notifications
from karbor.cmd import process
from karbor.conf import opts

CONF = cfg.CONF

CONFIGURATION = """\
[DEFAULT]
host = standalone
state_path = {state}
log_file = {state}/karbor.log
use_stderr = false
transport_url = local://
provider_config_dir = {state}/providers.d
osapi_karbor_listen = 127.0.0.1
osapi_karbor_listen_port = {port}
graceful_shutdown_timeout = 3
auth_strategy = {auth_strategy}

[database]
connection = sqlite:///{state}/karbor.sqlite
"""

CREDENTIALS = """
[keystone_authtoken]
auth_type = password
auth_url = {auth_url}
www_authenticate_uri = {auth_url}
username = {user[name]}
password = {user[password]}
project_name = {user[project]}
user_domain_id = default
project_domain_id = default
region_name = RegionOne
http_connect_timeout = 5
"""

PROVIDERS = {
    'noop.conf': """\
[provider]
id = b766f37c-d011-4026-8228-28730d734a3f
name = Noop Provider
description = Protects nothing and succeeds: to try Karbor, and to measure it.
plugin = karbor-noop-protection-plugin
bank = karbor-fs-bank-plugin
enabled = true

[file_system_bank_plugin]
file_system_bank_path = {state}/bank
""",
    'openstack-infra.conf': """\
[provider]
id = cf56bd3e-97a7-4078-b6d5-f36246333fd9
name = OS Infra Provider
description = Shares by snapshots of Manila, databases by backups of Trove; what is known of them is kept in a folder.
plugin = karbor-share-protection-plugin
plugin = karbor-database-protection-plugin
bank = karbor-fs-bank-plugin
enabled = true

[file_system_bank_plugin]
file_system_bank_path = {state}/bank
""",
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='karbor-standalone', description=__doc__)
    parser.add_argument('--sandbox', action='store_true', help='start a Keystone, Manila and Trove to try it on')
    parser.add_argument('--port', type=int, default=8799, help='the port of the API on the loopback; 0 is a free one')
    parser.add_argument(
        '--state-dir', metavar='DIR', help='keep state here; default: a temporary folder, removed at the end'
    )
    parser.add_argument(
        '--config-file', metavar='F', action='append', default=[], help='options that go before the defaults'
    )
    return parser.parse_args()


@contextlib.contextmanager
def _state(folder: str | None) -> Iterator[Path]:
    if folder:
        path = Path(folder).resolve()
        path.mkdir(parents=True, exist_ok=True)
        yield path
        return
    path = Path(tempfile.mkdtemp(prefix='karbor-'))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _configure(arguments: argparse.Namespace, state: Path, sandbox: Any) -> None:
    """Write the configuration, and provider files where there are none of the operator's; read both."""
    text = CONFIGURATION.format(state=state, port=arguments.port, auth_strategy='keystone' if sandbox else 'noauth')
    if sandbox:
        text += CREDENTIALS.format(auth_url=sandbox.auth_url, user=sandbox.service_user)
    path = state / 'karbor.conf'
    path.touch(mode=0o600)
    path.write_text(text)
    providers = state / 'providers.d'
    providers.mkdir(exist_ok=True)
    for name, provider in PROVIDERS.items():
        if not (providers / name).exists() and (sandbox or name == 'noop.conf'):
            (providers / name).write_text(provider.format(state=state))
    files = [str(path), *arguments.config_file]
    opts.parse([f'--config-file={name}' for name in files])


@contextlib.contextmanager
def _running(*services: Any) -> Iterator[None]:
    """Services started in order, and stopped in reverse."""
    with contextlib.ExitStack() as stack:
        for service in services:
            stack.callback(service.stop)
            service.start()
        yield


def _services() -> tuple[Any, list[Any]]:
    from karbor.api import app
    from karbor.api.server import ApiServer
    from karbor.db import migration
    from karbor.operationengine.service import OperationEngineService
    from karbor.protection.service import ProtectionService

    process.connect()
    migration.sync()
    protection = ProtectionService()
    server = ApiServer(app.load_app(CONF), CONF.osapi_karbor_listen, CONF.osapi_karbor_listen_port)
    return server, [protection, OperationEngineService(), server]


def _ready(server: Any, sandbox: Any) -> dict[str, Any]:
    from karbor.db import models, repository

    providers = repository.find(models.Provider, ['id', 'name'], sort=[('id', 'asc')])
    told: dict[str, Any] = {
        'karbor': f'http://127.0.0.1:{server.port}/v1',
        'providers': [{'id': p.id, 'name': p.name} for p in providers],
        'log': CONF.log_file,
        'config_file': f'{CONF.state_path}/karbor.conf',
    }
    if sandbox:
        told |= {'auth_url': sandbox.auth_url, 'users': sandbox.users, 'faults_url': sandbox.faults_url}
    return told


def _serve(arguments: argparse.Namespace, state: Path, sandbox: Any, stopped: threading.Event) -> None:
    _configure(arguments, state, sandbox)
    try:
        server, services = _services()
    except Exception:  # noqa: BLE001  raised again: whoever started it reads one line of it, the log has where it comes from
        log.getLogger(__name__).exception('karbor-standalone cannot start.')
        raise
    with contextlib.closing(notifications), _running(*services):
        if sandbox:
            sandbox.karbor_url = f'http://127.0.0.1:{server.port}'
        print(json.dumps(_ready(server, sandbox)), flush=True)
        stopped.wait()


def main() -> None:
    arguments = _arguments()
    os.umask(0o077)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    code = 0
    try:
        with _state(arguments.state_dir) as state, _locked(state), _sandbox(arguments.sandbox, state) as sandbox:
            _serve(arguments, state, sandbox, stopped)
    except Exception as fault:  # noqa: BLE001  an operator at a terminal reads one line; the log has the rest
        print(f'karbor-standalone: {" ".join(str(fault).split()) or type(fault).__name__}', file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread may still wait for an answer of a cloud; what it does is recorded, the next start goes on with it.
    os._exit(code)


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    """The folder is this process's own: a second one would take over what the first has under way."""
    with open(state / 'lock', 'a+') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise exception.ConfigurationError(reason=f'another karbor-standalone works in {state}') from None
        yield


@contextlib.contextmanager
def _sandbox(is_wanted: bool, state: Path) -> Iterator[Any]:
    """A cloud to try Karbor on, or None."""
    if not is_wanted:
        yield None
        return
    try:
        from karbor.sandbox.cloud import Sandbox
    except ImportError as missing:
        reason = f"--sandbox needs `pip install 'karbor[sandbox]'` ({missing})"
        raise exception.ConfigurationError(reason=reason) from missing
    sandbox = Sandbox(str(state)).start()
    try:
        yield sandbox
    finally:
        sandbox.stop()
