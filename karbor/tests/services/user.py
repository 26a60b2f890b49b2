# SPDX-License-Identifier: Apache-2.0
"""What a user does with Karbor over HTTP, and with the services behind it."""

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import requests
from keystoneauth1 import session
from keystoneauth1.identity import v3
from manilaclient import client as manilaclient
from troveclient import client as troveclient

from karbor.tests.services.deployment import NOOP, Deployment

SHARE, INSTANCE = 'OS::Manila::Share', 'OS::Trove::Instance'
BUSY = ('protecting', 'deleting', 'in_progress')
Json = dict[str, Any]


class User:
    """One user of the sandbox, in its project, with a token of its own."""

    def __init__(self, deployment: Deployment, name: str) -> None:
        self.deployment = deployment
        self.known = next(u for u in deployment.sandbox.users if u['name'] == name)
        password = v3.Password(
            deployment.sandbox.auth_url,
            username=name,
            password=self.known['password'],
            user_domain_id='default',
            project_id=self.project_id,
        )
        self.session = session.Session(password)

    @property
    def project_id(self) -> str:
        return self.known['project_id']

    @property
    def token(self) -> str:
        return str(self.session.get_token())

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        """The reply to a request below the user's project, over a new connection."""
        url = f'{self.deployment.url}/v1/{self.project_id}{path}'
        return requests.request(method, url, json=body, headers={'X-Auth-Token': self.token}, timeout=60)

    def get(self, path: str) -> Json:
        """The body of a GET that succeeds."""
        reply = self.ask('GET', path)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def create(self, kind: str, path: str, **fields: Any) -> Json:
        """What a POST that succeeds has made."""
        reply = self.ask('POST', path, {kind: fields})
        assert reply.status_code == 200, reply.text
        return reply.json()[kind]

    def make_plan(self, resources: Sequence[Json], provider_id: str = NOOP) -> Json:
        return self.create(
            'plan', '/plans', name='a plan', provider_id=provider_id, resources=list(resources), parameters={}
        )

    def make_checkpoint(self, plan: Json) -> Json:
        """A checkpoint that has just been accepted."""
        return self.create('checkpoint', checkpoints_of(plan), plan_id=plan['id'])

    def checkpoint(self, made: Json) -> Json:
        """The checkpoint as it is now."""
        return self.get(f'{checkpoints_of(made["protection_plan"])}/{made["id"]}')['checkpoint']

    def restore(self, made: Json) -> Json:
        """The restore as it is now."""
        return self.get(f'/restores/{made["id"]}')['restore']

    def ended(self, ask: Callable[[Json], Json], made: Json, seconds: float = 30) -> Json:
        """What ``ask`` tells of the checkpoint or restore ``made`` when its operation has ended."""
        return self.until(lambda: ask(made), lambda seen: seen['status'] not in BUSY, seconds)

    def until(self, ask: Callable[[], Json], is_so: Callable[[Json], bool], seconds: float = 30) -> Json:
        """What ``ask`` returns once ``is_so`` of it."""
        end = time.monotonic() + seconds
        while not is_so(seen := ask()):
            assert time.monotonic() < end, f'still {seen}'[:2000]
            time.sleep(0.02)
        return seen

    def manila(self) -> Any:
        return manilaclient.Client('2.73', session=self.session, service_type='sharev2', region_name='RegionOne')

    def trove(self) -> Any:
        return troveclient.Client('1.0', session=self.session, service_type='database', region_name='RegionOne')


def checkpoints_of(plan: Json) -> str:
    return f'/providers/{plan["provider_id"]}/checkpoints'


def volumes(number: int) -> list[Json]:
    """So many resources that the provider that does nothing can protect."""
    return [{'id': str(uuid.uuid4()), 'type': 'OS::Cinder::Volume', 'name': f'v{n}'} for n in range(number)]
