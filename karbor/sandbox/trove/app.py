# SPDX-License-Identifier: Apache-2.0
"""The database API v1.0: instances, their databases and users, backups, datastores, flavors.

Unlike the real one: no replicas, clusters, configurations, modules, logs, resizing or quota; a database is a
file of this machine; an incremental backup is a whole copy that knows its parent; a name of a database is
letters, digits, `_`, `$`, `-` and blanks. Whether an instance has a volume depends on its datastore, as
there: `mysql` must, `mariadb` cannot.
"""

from typing import Any

import flask

from karbor.sandbox.clock import Clock
from karbor.sandbox.identity import Identity
from karbor.sandbox.service import Route
from karbor.sandbox.trove.backups import Backups
from karbor.sandbox.trove.databases import Databases
from karbor.sandbox.trove.datastores import Datastores
from karbor.sandbox.trove.instances import Instances
from karbor.sandbox.trove.store import InstanceStore


class Trove(Instances, Databases, Backups, Datastores):
    """Trove on an instance store."""

    routes: tuple[Route, ...] = (
        *Instances.routes,
        *Databases.routes,
        *Backups.routes,
        *Datastores.routes,
    )

    def __init__(self, identity: Identity, clock: Clock, store: InstanceStore):
        super().__init__(identity, clock, store)
        self.add_url_rule('/', 'list_all_versions', self.list_versions)
        self.add_url_rule('/v1.0', 'list_versions', self.list_versions)

    def list_versions(self) -> Any:
        """The one version."""
        href = flask.request.host_url.rstrip('/') + flask.request.script_root + '/v1.0/'
        links = [{'rel': 'self', 'href': href}]
        version = {'id': 'v1.0', 'status': 'CURRENT', 'updated': '2012-08-01T00:00:00Z', 'links': links}
        return {'versions': [version]}
