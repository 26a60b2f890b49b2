# SPDX-License-Identifier: Apache-2.0
"""Database instances."""

from typing import Any

from karbor.sandbox.service import Route, below, refuse
from karbor.sandbox.trove.api import Json, TroveApi, name_of, stamp, user_of
from karbor.sandbox.trove.datastores import FLAVORS
from karbor.sandbox.trove.store import Backup, Datastore, Instance


class Instances(TroveApi):
    """Instances."""

    routes: tuple[Route, ...] = (
        ('GET', '/instances', 'list_instances'),
        ('GET', '/instances/detail', 'list_instances_in_detail'),
        ('POST', '/instances', 'create_instance'),
        ('GET', '/instances/<instance_id>', 'show_instance'),
        ('PUT', '/instances/<instance_id>', 'update_instance'),
        ('PATCH', '/instances/<instance_id>', 'edit_instance'),
        ('DELETE', '/instances/<instance_id>', 'delete_instance'),
        ('POST', '/instances/<instance_id>/action', 'act_on_instance'),
    )

    def list_instances(self) -> Any:
        """The caller's instances, a page of them."""
        return self.page('instances', self.mine(self.store.instances), self._instance)

    def list_instances_in_detail(self) -> Any:
        """The caller's instances with everything about them, a page of them."""
        return self.page('instances', self.mine(self.store.instances), self._instance_in_detail)

    def create_instance(self) -> Any:
        """Begin to make an instance; empty, with databases and users, or from a backup."""
        wanted = self.body('instance')
        source = self._restore_point(wanted)
        datastore = self._datastore_of(below(wanted, 'datastore'), source)
        instance = Instance(
            name=name_of(wanted),
            flavor=self._flavor_of(wanted),
            datastore=datastore,
            tenant_id=str(self.caller.project_id),
            directory=self.store.instance_directory,
            volume_size=_volume_size(wanted, datastore, source),
            users=[user_of(user) for user in wanted.get('users') or []],
        )
        databases = [name_of(database) for database in wanted.get('databases') or []]
        self.store.create(instance, databases, source, self.error_wanted)
        return {'instance': self._instance_in_detail(instance)}

    def show_instance(self, instance_id: str) -> Any:
        """Everything about an instance."""
        return {'instance': self._instance_in_detail(self.find_instance(instance_id))}

    def update_instance(self, instance_id: str) -> Any:
        """Rename an instance. 202."""
        instance, wanted = self.find_instance(instance_id), self.body('instance')
        if 'name' not in wanted:
            refuse(400, 'The sandbox can only change the name of an instance.')
        instance.name = name_of(wanted)
        return '', 202

    edit_instance = update_instance

    def delete_instance(self, instance_id: str) -> Any:
        """Begin to delete an instance. 202."""
        self.store.delete(self.find_instance(instance_id), self.error_wanted)
        return '', 202

    def act_on_instance(self, instance_id: str) -> Any:
        """Restart an instance, or, for administrators, set its status to ERROR. 202."""
        instance, wanted = self.find_instance(instance_id), self.body()
        if 'restart' in wanted:
            self.store.restart(instance)
        elif 'reset_status' in wanted:
            if not self.caller.is_admin:
                self.deny()
            instance.status = 'ERROR'
        else:
            refuse(400, f'There is no such action: {", ".join(wanted)}')
        return '', 202

    def _restore_point(self, wanted: Json) -> Backup | None:
        if not wanted.get('restorePoint'):
            return None
        backup = self.find_backup(str(below(wanted, 'restorePoint').get('backupRef')))
        if backup.status != 'COMPLETED':
            refuse(409, f'Unable to create instance because backup {backup.id} is not completed.')
        return backup

    def _datastore_of(self, wanted: Json, source: Backup | None) -> Datastore:
        default = source.datastore if source else self.store.datastores[0]
        datastore = self.find_datastore(str(wanted.get('type') or default.id))
        version = wanted.get('version') or wanted.get('version_number') or datastore.version
        if version not in (datastore.version, datastore.version_id):
            refuse(400, f'Datastore version {version} cannot be found.')
        if source and datastore is not source.datastore:
            refuse(400, f'The datastore of the backup is {source.datastore.name}, not {datastore.name}.')
        return datastore

    def _flavor_of(self, wanted: Json) -> str:
        # A reference is an id or the flavor's URL.
        flavor = str(wanted.get('flavorRef', '')).rsplit('/', 1)[-1]
        if flavor not in FLAVORS:
            refuse(400, f'Flavor {flavor or "of the instance is required, it"} cannot be found.')
        return flavor

    def _instance(self, instance: Instance) -> Json:
        shown: Json = {
            'id': instance.id,
            'name': instance.name,
            'status': instance.status,
            'operating_status': 'HEALTHY' if instance.status in ('ACTIVE', 'BACKUP') else instance.status,
            'links': self.links_of('instances', instance.id),
            'flavor': {'id': instance.flavor, 'links': self.links_of('flavors', instance.flavor)},
            'datastore': {
                'type': instance.datastore.name,
                'version': instance.datastore.version,
                'version_number': instance.datastore.version,
            },
            'region': 'RegionOne',
            'access': {'is_public': False},
        }
        if instance.volume_size is not None:
            shown['volume'] = {'size': instance.volume_size}
        if self.caller.is_admin:
            shown['tenant_id'] = instance.tenant_id
        return shown

    def _instance_in_detail(self, instance: Instance) -> Json:
        shown = self._instance(instance)
        shown.update(created=stamp(instance.created), updated=stamp(instance.updated))
        if instance.fault:
            shown['fault'] = {'message': instance.fault, 'created': stamp(instance.updated), 'details': ''}
        return shown


def _volume_size(wanted: Json, datastore: Datastore, source: Backup | None) -> int | None:
    if not datastore.volumes:
        if wanted.get('volume'):
            refuse(501, 'Volume support is not enabled.')
        return None
    size = below(wanted, 'volume').get('size')
    if isinstance(size, bool) or not str(size).isdecimal() or int(str(size)) < 1:
        refuse(400, 'Volume size was not specified, or is no whole number of GiB.')
    if source and int(str(size)) < (source.size or 0):
        refuse(403, f'Backup is too large for given volume: {source.size} GiB.')
    return int(str(size))
