# SPDX-License-Identifier: Apache-2.0
"""The shared file systems API v2, microversions 2.0 to 2.90: shares, snapshots, types, access rules.

Unlike the real one: no share networks and servers, groups, replicas, backups, messages or resizing; no quota
is enforced; an export location is the share's directory on this machine, and access rules guard nothing;
lists have no `shares_links`; nobody needs the experimental header.
"""

from typing import Any

import flask

from karbor.sandbox.clock import Clock
from karbor.sandbox.identity import Identity
from karbor.sandbox.manila import microversions
from karbor.sandbox.manila.metadata import Metadata
from karbor.sandbox.manila.shares import Shares
from karbor.sandbox.manila.snapshots import Snapshots
from karbor.sandbox.manila.store import ShareStore
from karbor.sandbox.manila.surroundings import Surroundings
from karbor.sandbox.service import Route


class Manila(Shares, Snapshots, Metadata, Surroundings):
    """Manila on a share store."""

    routes: tuple[Route, ...] = (
        ('GET', '/', 'list_versions'),
        *Shares.routes,
        *Snapshots.routes,
        *Metadata.routes,
        *Surroundings.routes,
    )

    def __init__(self, identity: Identity, clock: Clock, store: ShareStore):
        super().__init__(identity, clock, store)
        self.add_url_rule('/', 'list_all_versions', self.list_all_versions)

    def list_all_versions(self) -> Any:
        """300: the versions that there are."""
        return self.list_versions(), 300

    def list_versions(self) -> Any:
        """The one version with its range of microversions."""
        href = flask.request.host_url.rstrip('/') + flask.request.script_root + '/v2/'
        version = {
            'id': 'v2.0',
            'status': 'CURRENT',
            'version': microversions.text(microversions.LATEST),
            'min_version': '2.0',
            'updated': '2015-08-27T11:33:21Z',
            'links': [{'rel': 'self', 'href': href}],
            'media-types': [{'base': 'application/json', 'type': 'application/vnd.openstack.share+json;version=1'}],
        }
        return {'versions': [version]}
