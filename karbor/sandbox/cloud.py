# SPDX-License-Identifier: Apache-2.0
"""The sandbox cloud: Keystone, Manila and Trove, small enough for a laptop, over real HTTP on the loopback.

What the real client libraries need to do everything that Karbor and its users do with these three services.
Each service's module says how it differs from the real one.
"""

import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

from werkzeug.middleware.dispatcher import DispatcherMiddleware

from karbor.sandbox import inventory
from karbor.sandbox.clock import Clock
from karbor.sandbox.control import Control
from karbor.sandbox.faults import Faults
from karbor.sandbox.identity import Identity, User
from karbor.sandbox.keystone.app import Keystone
from karbor.sandbox.manila.app import Manila
from karbor.sandbox.manila.store import ShareStore
from karbor.sandbox.server import Server
from karbor.sandbox.trove.app import Trove
from karbor.sandbox.trove.store import InstanceStore

Json = dict[str, Any]
REGION = 'RegionOne'


class Sandbox:
    """A cloud that lasts from `start` to `stop`.

    Its data is in a new directory below `state_dir`, or a temporary one, and goes with it. Port 0 takes a free
    one. Work takes 0.3 seconds / `speed`, or what another `clock` makes of it. A token lasts `token_seconds`.
    `karbor_url`, without a version, is where the catalog says that Karbor is, and may be changed at any time;
    without it Karbor is not in there.
    """

    def __init__(
        self,
        state_dir: str | Path | None = None,
        port: int = 0,
        karbor_url: str | None = None,
        speed: float = 1.0,
        token_seconds: float = 3600,
        clock: Clock | None = None,
    ):
        if state_dir:
            Path(state_dir).mkdir(parents=True, exist_ok=True)
        # A name of its own: nothing that is already in the state directory is ever removed.
        self.directory = Path(tempfile.mkdtemp(prefix='sandbox-', dir=state_dir)).resolve()
        self.karbor_url = karbor_url
        self.clock = clock or Clock(speed)
        self.faults = Faults()
        self.identity = Identity(token_seconds)
        self.shares = ShareStore(self.directory, self.clock)
        self.instances = InstanceStore(self.directory, self.clock)
        self._people = inventory.people(self.identity)
        inventory.stock(self._people, self.identity, self.shares, self.instances)
        self._service_ids: dict[str, str] = {}
        try:
            self._server = Server(self._app(), port)
        except OSError:
            shutil.rmtree(self.directory)
            raise

    def start(self) -> 'Sandbox':
        """Begin to answer."""
        self._server.start()
        return self

    def stop(self) -> None:
        """End every answer that takes its time, close the port, and remove the data."""
        self.faults.stopping.set()
        self._server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> 'Sandbox':
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The root, without a slash at its end."""
        return self._server.url

    @property
    def auth_url(self) -> str:
        """Keystone's v3."""
        return f'{self.url}/identity/v3'

    @property
    def faults_url(self) -> str:
        """Where the administrator sets faults; `calls` and `objects` stand beside it."""
        return f'{self.url}/faults'

    @property
    def urls(self) -> dict[str, str]:
        """The services' own URLs, by name."""
        return {
            'keystone': self.auth_url,
            'manila': f'{self.url}/share/v2',
            'trove': f'{self.url}/database/v1.0',
            'faults': self.faults_url,
            'calls': f'{self.url}/calls',
            'objects': f'{self.url}/objects',
        }

    @property
    def users(self) -> list[Json]:
        """demo, reader, other and admin: name, password, project, project_id, roles."""
        return [self._user(user) for user in self._people[:-1]]

    @property
    def service_user(self) -> Json:
        """The user that Karbor's own services log in as."""
        return self._user(self._people.service)

    def ready(self) -> Json:
        """What whoever wants to use the sandbox has to know."""
        return {
            'auth_url': self.auth_url,
            'users': self.users,
            'service_user': self.service_user,
            'urls': self.urls,
            'faults_url': self.faults_url,
        }

    def catalog(self, project_id: str) -> list[Json]:
        """The service catalog of a project, as Keystone puts it in a token."""
        services = [
            ('keystone', 'identity', self.auth_url),
            ('manilav2', 'sharev2', f'{self.url}/share/v2'),
            ('manila', 'shared-file-system', f'{self.url}/share/v2'),
            ('trove', 'database', f'{self.url}/database/v1.0/{project_id}'),
        ]
        if self.karbor_url:
            services.append(('karbor', 'data-protect', f'{self.karbor_url.rstrip("/")}/v1/{project_id}'))
        return [
            {
                'id': self._id_of(kind),
                'name': name,
                'type': kind,
                'endpoints': [
                    {
                        'id': self._id_of(f'{kind} {interface}'),
                        'interface': interface,
                        'region': REGION,
                        'region_id': REGION,
                        'url': url,
                    }
                    for interface in ('public', 'internal', 'admin')
                ],
            }
            for name, kind, url in services
        ]

    def _id_of(self, name: str) -> str:
        return self._service_ids.setdefault(name, uuid.uuid4().hex)

    def _user(self, user: User) -> Json:
        project = self.identity.projects[str(user.default_project_id)]
        return {
            'name': user.name,
            'id': user.id,
            'password': user.password,
            'project': project.name,
            'project_id': project.id,
            'roles': self.identity.roles_of(user, project),
        }

    def _app(self) -> Any:
        keystone = Keystone(self.identity, self.clock, self.catalog)
        manila = Manila(self.identity, self.clock, self.shares)
        trove = Trove(self.identity, self.clock, self.instances)
        control = Control(self.identity, self.clock, self.faults, self.shares, self.instances)
        return DispatcherMiddleware(
            control,
            {
                '/identity': self.faults.wrap('keystone', keystone, keystone.render),
                '/share': self.faults.wrap('manila', manila, manila.render),
                '/database': self.faults.wrap('trove', trove, trove.render),
            },
        )
