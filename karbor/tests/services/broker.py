# SPDX-License-Identifier: Apache-2.0
"""Virtual hosts of the RabbitMQ on this machine: each made for one deployment and dropped after it."""

import contextlib
import shutil
import subprocess
import uuid
from collections.abc import Iterator

import requests

SERVER = 'guest:guest@127.0.0.1:5672'
MANAGEMENT = 'http://127.0.0.1:15672/api'
LOGIN = ('guest', 'guest')
SECONDS = 30


class Unreachable(Exception):
    """There is no RabbitMQ on this machine, or none that lets us make a virtual host."""


@contextlib.contextmanager
def virtual_host() -> Iterator[str]:
    """The `transport_url` of a new virtual host of the user guest. Raises Unreachable."""
    name = f'karbor-test-{uuid.uuid4().hex[:12]}'
    make, drop = (_make_by_http, _drop_by_http) if _is_managed() else (_make_by_command, _drop_by_command)
    make(name)
    try:
        yield f'rabbit://{SERVER}/{name}'
    finally:
        drop(name)


def _is_managed() -> bool:
    """Whether the management plugin listens."""
    try:
        return requests.get(f'{MANAGEMENT}/whoami', auth=LOGIN, timeout=5).ok
    except requests.RequestException:
        return False


def _make_by_http(name: str) -> None:
    everything = {'configure': '.*', 'write': '.*', 'read': '.*'}
    for path, body in ((f'vhosts/{name}', {}), (f'permissions/{name}/guest', everything)):
        reply = requests.put(f'{MANAGEMENT}/{path}', json=body, auth=LOGIN, timeout=SECONDS)
        if not reply.ok:
            raise Unreachable(f'RabbitMQ refuses {path}: {reply.status_code} {reply.text}')


def _drop_by_http(name: str) -> None:
    requests.delete(f'{MANAGEMENT}/vhosts/{name}', auth=LOGIN, timeout=SECONDS)


def _make_by_command(name: str) -> None:
    _control('add_vhost', name)
    _control('set_permissions', '-p', name, 'guest', '.*', '.*', '.*')


def _drop_by_command(name: str) -> None:
    _control('delete_vhost', name)


def _control(*arguments: str) -> None:
    command = shutil.which('rabbitmqctl')
    if command is None:
        raise Unreachable('RabbitMQ has no management plugin on port 15672, and there is no rabbitmqctl')
    try:
        subprocess.run([command, '--quiet', *arguments], check=True, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.SubprocessError as fault:
        raise Unreachable(f'rabbitmqctl {arguments[0]}: {getattr(fault, "stderr", None) or fault}') from fault
