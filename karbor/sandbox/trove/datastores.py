# SPDX-License-Identifier: Apache-2.0
"""Datastores and flavors."""

from typing import Any

from karbor.sandbox.service import Route, refuse
from karbor.sandbox.trove.api import Json, TroveApi
from karbor.sandbox.trove.store import Datastore

FLAVORS = {'1': ('m1.tiny', 512, 1), '2': ('m1.small', 2048, 20)}


class Datastores(TroveApi):
    """Looking around."""

    routes: tuple[Route, ...] = (
        ('GET', '/datastores', 'list_datastores'),
        ('GET', '/datastores/<datastore>', 'show_datastore'),
        ('GET', '/datastores/<datastore>/versions', 'list_versions_of_datastore'),
        ('GET', '/datastores/<datastore>/versions/<version>', 'show_version_of_datastore'),
        ('GET', '/flavors', 'list_flavors'),
        ('GET', '/flavors/<flavor_id>', 'show_flavor'),
    )

    def list_datastores(self) -> Any:
        """All datastores."""
        return self.page('datastores', self.store.datastores, self._datastore)

    def show_datastore(self, datastore: str) -> Any:
        """A datastore, by id or name."""
        return {'datastore': self._datastore(self.find_datastore(datastore))}

    def list_versions_of_datastore(self, datastore: str) -> Any:
        """The one version of a datastore."""
        return self.page('versions', [self.find_datastore(datastore)], _version)

    def show_version_of_datastore(self, datastore: str, version: str) -> Any:
        """A version of a datastore, by id or name."""
        found = self.find_datastore(datastore)
        if version not in (found.version, found.version_id):
            refuse(404, f'Datastore version {version} cannot be found.')
        return {'version': _version(found)}

    def list_flavors(self) -> Any:
        """All flavors."""
        return {'flavors': [self._flavor(flavor_id) for flavor_id in FLAVORS]}

    def show_flavor(self, flavor_id: str) -> Any:
        """A flavor."""
        if flavor_id not in FLAVORS:
            refuse(404, f'Flavor {flavor_id} cannot be found.')
        return {'flavor': self._flavor(flavor_id)}

    def _datastore(self, datastore: Datastore) -> Json:
        return {
            'id': datastore.id,
            'name': datastore.name,
            'default_version': datastore.version_id,
            'versions': [_version(datastore)],
            'links': self.links_of('datastores', datastore.id),
        }

    def _flavor(self, flavor_id: str) -> Json:
        name, ram, disk = FLAVORS[flavor_id]
        return {
            'id': int(flavor_id),
            'str_id': flavor_id,
            'name': name,
            'ram': ram,
            'disk': disk,
            'vcpus': 1,
            'ephemeral': 0,
            'links': self.links_of('flavors', flavor_id),
        }


def _version(datastore: Datastore) -> Json:
    return {
        'id': datastore.version_id,
        'name': datastore.version,
        'datastore': datastore.id,
        'active': True,
        'packages': [],
    }
