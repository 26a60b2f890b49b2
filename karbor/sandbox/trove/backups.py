# SPDX-License-Identifier: Apache-2.0
"""Backups of instances."""

from typing import Any

import flask

from karbor.sandbox.service import Route, refuse
from karbor.sandbox.trove.api import Json, TroveApi, name_of, stamp
from karbor.sandbox.trove.store import Backup, Instance


class Backups(TroveApi):
    """Backups."""

    routes: tuple[Route, ...] = (
        ('GET', '/instances/<instance_id>/backups', 'list_backups_of_instance'),
        ('GET', '/backups', 'list_backups'),
        ('POST', '/backups', 'create_backup'),
        ('GET', '/backups/<backup_id>', 'show_backup'),
        ('DELETE', '/backups/<backup_id>', 'delete_backup'),
    )

    def list_backups(self) -> Any:
        """The caller's backups, a page of them; `instance_id` and `datastore` select."""
        args = flask.request.args
        found = [
            backup
            for backup in self.mine(self.store.backups)
            if args.get('instance_id') in (None, backup.instance_id)
            and args.get('datastore') in (None, backup.datastore.name, backup.datastore.id)
        ]
        return self.page('backups', found, self._backup)

    def list_backups_of_instance(self, instance_id: str) -> Any:
        """The backups of an instance, a page of them."""
        found = [b for b in self.mine(self.store.backups) if b.instance_id == instance_id]
        return self.page('backups', found, self._backup)

    def create_backup(self) -> Any:
        """Begin to make a backup. 202."""
        wanted = self.body('backup')
        if 'instance' not in wanted:
            refuse(400, "'instance' is a required property")
        instance = self.find_instance(str(wanted['instance']))
        backup = Backup(
            name=name_of(wanted),
            instance=instance,
            tenant_id=instance.tenant_id,
            directory=self.store.backup_directory,
            description=wanted.get('description'),
            parent=self._parent(wanted, instance),
        )
        return {'backup': self._backup(self.store.back_up(backup, self.error_wanted))}, 202

    def show_backup(self, backup_id: str) -> Any:
        """Everything about a backup."""
        return {'backup': self._backup(self.find_backup(backup_id))}

    def delete_backup(self, backup_id: str) -> Any:
        """Begin to delete a backup and what builds on it. 202."""
        self.store.delete_backup(self.find_backup(backup_id), self.error_wanted)
        return '', 202

    def _parent(self, wanted: Json, instance: Instance) -> Backup | None:
        if wanted.get('parent_id'):
            return self.find_backup(str(wanted['parent_id']))
        if not wanted.get('incremental'):
            return None
        whole = [b for b in self.store.backups.values() if b.instance is instance and b.status == 'COMPLETED']
        return max(whole, key=lambda backup: backup.created, default=None)

    def _backup(self, backup: Backup) -> Json:
        done = backup.status == 'COMPLETED'
        where = f'{flask.request.host_url}objects/database_backups/{backup.id}'
        return {
            'id': backup.id,
            'name': backup.name,
            'description': backup.description,
            'locationRef': where if done else None,
            'instance_id': backup.instance_id,
            'created': stamp(backup.created),
            'updated': stamp(backup.updated),
            'size': backup.size,
            'status': backup.status,
            'parent_id': backup.parent.id if backup.parent else None,
            'project_id': backup.tenant_id,
            'storage_driver': 'swift',
            'datastore': {
                'type': backup.datastore.name,
                'version': backup.datastore.version,
                'version_id': backup.datastore.version_id,
            },
        }
