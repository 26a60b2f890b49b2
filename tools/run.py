# SPDX-License-Identifier: Apache-2.0
"""Karbor with its sandbox cloud, until Ctrl-C: prints what to type to try it."""

import shlex
import socket
import sys
from typing import Any

import demo_screen as screen
from demo_cloud import DATABASE, SHARE
from demo_service import COMMANDS, NotStarted, Service, spare_proxies, stop_at_sigterm

# Karbor's own port, as the service catalogue of many clouds has it.
PORT = 8799
TOKEN = (
    'curl -si {url}/auth/tokens -H "Content-Type: application/json" -d \'{body}\''
    " | tr -d '\\r' | awk 'tolower($1) == \"x-subject-token:\" {{print $2}}'"
)
TOKEN_BODY = (
    '{{"auth": {{"identity": {{"methods": ["password"], "password": {{"user": {{"name": "{name}", "password": '
    '"{password}", "domain": {{"id": "default"}}}}}}}}, "scope": {{"project": {{"id": "{project_id}"}}}}}}}}'
)
CANCEL = '-H "Content-Type: application/json" -d \'{"cancel": null}\'   # or "retry"; LOG_ID: see operationlog-list'
FAULT = '{"service": "manila", "match": "POST /shares$", "kind": "error_state"}'


def free_port() -> int:
    """8799 if nobody listens there, else 0: any free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('127.0.0.1', PORT))
        except OSError:
            return 0
    return PORT


def show_logins(service: Service) -> None:
    """The environment of each user; the first one is to be typed, the others may be."""
    screen.heading('Log in', 'Type this into another terminal; the lines with # are other users to log in as.')
    screen.command(f'export PATH={shlex.quote(str(COMMANDS))}:$PATH')
    for number, user in enumerate(service.ready['users']):
        variables = ' '.join(f'{key}={shlex.quote(value)}' for key, value in service.credentials(user['name']).items())
        screen.say(f'   # {user["name"]}: {", ".join(user["roles"])} in the project {user["project"]}')
        screen.command(f'{"# " if number else ""}export {variables}')


def show_commands(service: Service) -> None:
    """The main job, with the ids of what is in the cloud."""
    client = service.client('demo')
    provider = provider_of(client)
    share = client.protectables.list_instances(SHARE)[0]
    database = client.protectables.list_instances(DATABASE)[0]
    wanted = ','.join(f'{r.id}={r.type}={r.name}' for r in (share, database))
    screen.heading(
        'Protect and restore',
        'A plan of a share and a database instance, a checkpoint of it, a restore. The commands print what is to be '
        'typed for PLAN_ID and CHECKPOINT_ID.',
    )
    for typed in (
        'protectable-list-instances OS::Keystone::Project',
        f'plan-create my-plan {provider.id} {wanted}',
        f'checkpoint-create {provider.id} PLAN_ID',
        f'checkpoint-show {provider.id} CHECKPOINT_ID',
        f'restore-create {provider.id} CHECKPOINT_ID --parameters resource_type={SHARE},restore_name=restored',
        'restore-list',
        'operationlog-list',
        f'checkpoint-delete {provider.id} CHECKPOINT_ID',
    ):
        screen.command(f'karbor {typed}')


def provider_of(client: Any) -> Any:
    """The provider with options for shares; each other one does nothing with them."""
    providers = client.providers.list()
    return next(provider for provider in providers if provider.extended_info_schema['options_schema'].get(SHARE))


def show_requests(service: Service) -> None:
    """The same by curl, and a fault."""
    demo = service.user('demo')
    screen.heading('Without a client', 'A token of Keystone, and a request to Karbor with it.')
    screen.command(f'TOKEN=$({token(service, "demo")})')
    project = f'{service.ready["karbor"]}/{demo["project_id"]}'
    screen.command(f'curl -s -H "X-Auth-Token: $TOKEN" {project}/plans')
    # The clients know neither cancel nor retry.
    screen.command(f'curl -s -H "X-Auth-Token: $TOKEN" {project}/operation_logs/LOG_ID/action {CANCEL}')
    screen.heading('Trouble', 'The administrator of the sandbox lets the next share that is made end in an error.')
    screen.command(f'ADMIN=$({token(service, "admin")})')
    screen.command(f'curl -s -H "X-Auth-Token: $ADMIN" {service.ready["faults_url"]} -d \'{FAULT}\'')
    screen.command(f'curl -s -H "X-Auth-Token: $ADMIN" {service.ready["faults_url"]} -X DELETE   # no trouble any more')


def token(service: Service, name: str) -> str:
    """The command that prints a token of the user."""
    return TOKEN.format(url=service.ready['auth_url'], body=TOKEN_BODY.format(**service.user(name)))


def main() -> int:
    """Run until Ctrl-C; the exit status is 1 when the service did not start, or ended by itself."""
    stop_at_sigterm()
    spare_proxies()
    try:
        with Service(free_port()) as service:
            assert service.process
            screen.say(f'Karbor {service.ready["karbor"]}, Keystone {service.ready["auth_url"]}')
            for show in (show_logins, show_commands, show_requests):
                show(service)
            screen.say(f'\nIts log is {service.ready["log"]}. Ctrl-C ends it, and removes everything.', screen.BOLD)
            service.process.wait()
            log = service.keep_log()
    except KeyboardInterrupt:
        return 0
    except NotStarted as fault:
        print(f'karbor-standalone did not start: {fault}', file=sys.stderr)
        return 1
    print(f'karbor-standalone ended by itself; its log is {log}', file=sys.stderr)
    return 1


if __name__ == '__main__':
    sys.exit(main())
