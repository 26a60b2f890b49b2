# SPDX-License-Identifier: Apache-2.0
"""The identity API v3, as much of it as logins, token validation, trusts and looking around need.

Unlike the real one: tokens are opaque and live in memory; there is one domain; nothing can be created but
tokens and trusts; application credentials are not there, a login with one gets 401; system scope gets 401.
"""

from typing import Any

from karbor.sandbox.keystone.api import Json
from karbor.sandbox.keystone.directory import Directory
from karbor.sandbox.keystone.tokens import Tokens
from karbor.sandbox.keystone.trusts import Trusts
from karbor.sandbox.service import Route


class Keystone(Tokens, Directory, Trusts):
    """Keystone: all its parts."""

    routes: tuple[Route, ...] = (
        ('GET', '/', 'list_versions'),
        ('GET', '/v3', 'show_version'),
        *Tokens.routes,
        *Directory.routes,
        *Trusts.routes,
    )
    open_paths = ('', '/v3')

    def list_versions(self) -> Any:
        """300, as Keystone says that there is a choice."""
        return {'versions': {'values': [self._version()]}}, 300

    def show_version(self) -> Any:
        """The one version."""
        return {'version': self._version()}

    def _version(self) -> Json:
        media = 'application/vnd.openstack.identity-v3+json'
        return {
            'id': 'v3.14',
            'status': 'stable',
            'updated': '2020-04-07T00:00:00Z',
            'links': [{'rel': 'self', 'href': self.url_of('/v3/')}],
            'media-types': [{'base': 'application/json', 'type': media}],
        }
