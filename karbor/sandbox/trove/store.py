# SPDX-License-Identifier: Apache-2.0
"""Instances and backups behind the sandbox's Trove: an instance is a directory, a database in it a file."""

import copy
import datetime
import re
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from karbor.sandbox.clock import Clock, now
from karbor.sandbox.refusal import Refusal

WORK_SECONDS = 0.3
# A database's name is a file's name here, so it is narrower than in the real service.
DATABASE_NAME = re.compile(r'[\w$-][\w$ -]{0,63}')


@dataclass(frozen=True)
class Datastore:
    """A kind of database with its one version; with `volumes` every instance has one, without none may."""

    name: str
    version: str
    volumes: bool
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    version_id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Instance:
    """A database server: a directory with a file `<database>.sql` a database, and users."""

    name: str
    flavor: str
    datastore: Datastore
    tenant_id: str
    directory: Path
    volume_size: int | None = None
    users: list[dict[str, Any]] = field(default_factory=list)
    status: str = 'BUILD'
    fault: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: datetime.datetime = field(default_factory=now)
    updated: datetime.datetime = field(default_factory=now)

    @property
    def path(self) -> Path:
        """Where the data is."""
        return self.directory / f'instance-{self.id}'

    def databases(self) -> list[str]:
        """The names of the databases, sorted."""
        return sorted(file.stem for file in self.path.glob('*.sql'))


@dataclass
class Backup:
    """A copy of an instance as it was when the backup was asked for."""

    name: str
    instance: Instance
    tenant_id: str
    directory: Path
    description: str | None = None
    parent: 'Backup | None' = None
    status: str = 'NEW'
    size: float | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: datetime.datetime = field(default_factory=now)
    updated: datetime.datetime = field(default_factory=now)

    def __post_init__(self) -> None:
        self.users = copy.deepcopy(self.instance.users)
        # The instance may be gone when somebody asks.
        self.instance_id = self.instance.id
        self.datastore = self.instance.datastore

    @property
    def path(self) -> Path:
        """Where the data is."""
        return self.directory / f'backup-{self.id}'


class InstanceStore:
    """Instances and backups below `directory`; what is not allowed raises Refusal as Trove answers it."""

    def __init__(self, directory: Path, clock: Clock):
        self.clock = clock
        self.instance_directory = directory / 'instances'
        self.backup_directory = directory / 'backups'
        for path in (self.instance_directory, self.backup_directory):
            path.mkdir(parents=True)
        self.datastores = [Datastore('mysql', '8.0', True), Datastore('mariadb', '10.11', False)]
        self.instances: dict[str, Instance] = {}
        self.backups: dict[str, Backup] = {}

    def create(self, instance: Instance, databases: list[str], source: Backup | None, fails: bool) -> Instance:
        """Begin to make an instance with these databases and the backup's; with `fails` it ends in ERROR."""
        kept = [file.stem for file in source.path.glob('*.sql')] if source else []
        _check_new(databases, kept)
        staged = instance.path.with_suffix('.new')
        if source:
            shutil.copytree(source.path, staged)
            instance.users = copy.deepcopy(source.users) + instance.users
        staged.mkdir(exist_ok=True)
        _create_databases(staged, databases)
        self.instances[instance.id] = instance

        def finish() -> None:
            if fails:
                shutil.rmtree(staged)
                instance.status, instance.fault = 'ERROR', 'The server of the instance could not be made.'
            else:
                staged.rename(instance.path)
                instance.status = 'ACTIVE'
            instance.updated = now()

        self._later(instance, finish)
        return instance

    def delete(self, instance: Instance, fails: bool) -> None:
        """Begin to delete an instance; refused while it is built or backed up."""
        if instance.status in ('BUILD', 'BACKUP', 'SHUTDOWN'):
            raise Refusal(422, f'Instance {instance.id} is not ready. (Status is {instance.status}).')
        instance.status = 'SHUTDOWN'

        def finish() -> None:
            if fails:
                instance.status, instance.fault = 'ERROR', 'The server of the instance could not be deleted.'
                return
            self.instances.pop(instance.id, None)
            shutil.rmtree(instance.path, ignore_errors=True)

        self._later(instance, finish)

    def restart(self, instance: Instance) -> None:
        """Begin to restart the database server."""
        self.check_active(instance)
        instance.status = 'REBOOT'
        self._later(instance, lambda: _set_status(instance, 'ACTIVE'))

    def check_active(self, instance: Instance) -> None:
        """Refuse with 422 what an instance that is not running cannot do."""
        if instance.status != 'ACTIVE':
            raise Refusal(
                422,
                f'Instance {instance.id} is not currently available for an action to be performed '
                f'(status was {instance.status}).',
            )

    def create_databases(self, instance: Instance, names: list[str]) -> None:
        """New databases in the instance: all of them, or none if there is anything wrong with one."""
        self.check_active(instance)
        _check_new(names, instance.databases())
        _create_databases(instance.path, names)

    def delete_database(self, instance: Instance, name: str) -> None:
        """Drop a database."""
        self.check_active(instance)
        if name not in instance.databases():
            raise Refusal(404, f'Database {name} cannot be found on the instance.')
        (instance.path / f'{name}.sql').unlink()

    def back_up(self, backup: Backup, fails: bool) -> Backup:
        """Begin to make a backup of the instance as it is at this moment; the instance is busy with it."""
        instance = backup.instance
        self.check_active(instance)
        if not fails:
            shutil.copytree(instance.path, backup.path)
        self.backups[backup.id] = backup
        instance.status = 'BACKUP'

        def begin() -> None:
            backup.status = 'BUILDING'
            self._later(backup, finish)

        def finish() -> None:
            if instance.status == 'BACKUP':
                instance.status = 'ACTIVE'
            backup.status, backup.updated = 'FAILED' if fails else 'COMPLETED', now()
            if not fails:
                used = sum(file.stat().st_size for file in backup.path.iterdir())
                backup.size = round(used / 1024**3, 9)

        self.clock.after(WORK_SECONDS / 3, begin)
        return backup

    def delete_backup(self, backup: Backup, fails: bool) -> None:
        """Begin to delete a backup and those that build on it; its status stays until it is gone."""
        if backup.status in ('NEW', 'BUILDING'):
            raise Refusal(422, f'Backup {backup.id} cannot be deleted because it is running.')

        def finish() -> None:
            if fails:
                backup.status = 'DELETE_FAILED'
                return
            for gone in [b for b in self.backups.values() if b is backup or backup in _ancestors(b)]:
                del self.backups[gone.id]
                shutil.rmtree(gone.path, ignore_errors=True)

        self.clock.after(WORK_SECONDS, finish)

    def _later(self, thing: Instance | Backup, finish: Any) -> None:
        # An administrator may have set another status in the meantime: then that holds.
        status = thing.status
        self.clock.after(WORK_SECONDS, lambda: finish() if thing.status == status else None)


def _check_new(names: list[str], kept: list[str]) -> None:
    for number, name in enumerate(names):
        if not DATABASE_NAME.fullmatch(name):
            raise Refusal(400, f'{name!r} is not a valid name for a database.')
        if name in kept or name in names[:number]:
            raise Refusal(400, f'Database {name} already exists.')


def _create_databases(path: Path, names: list[str]) -> None:
    for name in names:
        (path / f'{name}.sql').write_text(f'CREATE DATABASE `{name}`;\n')


def _set_status(instance: Instance, status: str) -> None:
    instance.status = status


def _ancestors(backup: Backup) -> list[Backup]:
    found = []
    while backup.parent:
        backup = backup.parent
        found.append(backup)
    return found
