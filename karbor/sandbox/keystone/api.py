# SPDX-License-Identifier: Apache-2.0
"""What the parts of the identity API share."""

import datetime
from collections.abc import Callable
from typing import Any

import flask

from karbor.sandbox.clock import Clock
from karbor.sandbox.identity import Identity
from karbor.sandbox.service import Service

TITLES = {
    400: 'Bad Request',
    401: 'Unauthorized',
    403: 'Forbidden',
    404: 'Not Found',
    405: 'Method Not Allowed',
    409: 'Conflict',
    429: 'Too Many Requests',
    500: 'Internal Server Error',
    503: 'Service Unavailable',
}
Json = dict[str, Any]


class KeystoneApi(Service):
    """`catalog` gives the service catalog of a project, as Keystone puts it in a token."""

    def __init__(self, identity: Identity, clock: Clock, catalog: Callable[[str], list[Json]]):
        super().__init__(identity, clock)
        self.catalog = catalog

    def render(self, status: int, message: str) -> Json:
        """An error body as Keystone writes it."""
        title = TITLES.get(status, 'Error')
        return {'error': {'code': status, 'message': message, 'title': title}}

    def check_policy(self) -> None:
        """Keystone's rules are not about reading and writing: each call has its own."""

    def url_of(self, path: str) -> str:
        """The URL of a path of this service."""
        return flask.request.host_url.rstrip('/') + flask.request.script_root + path

    def list_links(self) -> Json:
        """The links of a list, which has one page."""
        return {'next': None, 'previous': None, 'self': flask.request.url}

    def listed(self, key: str, items: Any) -> Json:
        """A list as Keystone shows it."""
        return {key: list(items), 'links': self.list_links()}

    def roles_named(self, names: Any) -> list[Json]:
        """The roles of these names as Keystone shows them."""
        return [{'id': self.identity.roles[name], 'name': name, 'domain_id': None} for name in names]

    def need_admin(self) -> None:
        """Refuse everybody but administrators."""
        if not self.caller.is_admin:
            self.deny()


def stamp(time: datetime.datetime) -> str:
    """The time as Keystone writes it."""
    return time.strftime('%Y-%m-%dT%H:%M:%S.%fZ')
