# SPDX-License-Identifier: Apache-2.0
"""Database instances of Trove: found in the user's project, protected by backups (seed 003)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from oslo_config import cfg

from karbor import exception, keystone
from karbor.clients import Cloud
from karbor.plugins import notes, tags, toolkit
from karbor.plugins.interface import Assignment, Protectable, Resource, State
from karbor.plugins.toolkit import Handle, Thing, Words

TYPE = 'OS::Trove::Instance'
GROUP = 'database_backup_plugin'

INSTANCE_WORDS = Words(
    active=frozenset({'ACTIVE'}),
    error=frozenset({'BLOCKED', 'FAILED', 'REBOOT', 'SHUTDOWN', 'ERROR', 'RESTART_REQUIRED', 'EJECT', 'DETACH'}),
    build=frozenset({'BUILD', 'RESIZE', 'BACKUP', 'PROMOTE', 'UPGRADE'}),
    other='error',
)
_BUSY = frozenset({'NEW', 'BUILDING', 'SAVING', 'RESTORING'})
BACKUP_WORDS = Words(active=frozenset({'COMPLETED'}), error=frozenset({'FAILED', 'DELETE_FAILED'}), build=_BUSY)
VERIFY_WORDS = Words(active=frozenset({'COMPLETED'}), error=frozenset({'FAILED'}), build=_BUSY, other='error')
# A backup is COMPLETED until it is gone.
REMOVED_WORDS = Words(active=frozenset({'DELETED'}), error=frozenset({'FAILED', 'DELETE_FAILED'}), build=_BUSY)


# What has to be noted of an instance so that it can be restored.
RESTORE_NEEDS = ('flavor',)


class Objects(toolkit.Collection):
    """Instances or backups."""

    def __init__(self, manager: str, noun: str) -> None:
        super().__init__('trove', manager, noun)

    def pages(self, cloud: Cloud, **filters: Any) -> Iterator[list[Thing]]:
        manager, marker = self.manager(cloud), None
        while True:
            page = manager.list(marker=marker, **filters)
            yield [thing.to_dict() for thing in page]
            if not page or page.next in (None, marker):
                return
            marker = page.next


INSTANCES = Objects('instances', 'database instance')
BACKUPS = Objects('backups', 'backup')


class Instances(Protectable):
    """The database instances of the user's project."""

    resource_type = TYPE
    service = 'trove'
    parent_types = ('OS::Keystone::Project',)
    excluded = frozenset({'BUILD', 'REBOOT', 'RESIZE', 'ERROR'})

    def list(self, cloud: Cloud, parameters: Mapping[str, Any] | None = None) -> Sequence[Resource]:
        return [_resource(thing) for thing in INSTANCES.all(cloud) if thing['status'] not in self.excluded]

    def show(self, cloud: Cloud, id: str, parameters: Mapping[str, Any] | None = None) -> Resource:
        instance = INSTANCES.get(cloud, id) if tags.is_id(id) else None
        if instance is None or _is_foreign(instance, cloud):
            raise exception.ProtectableNotFound(type=TYPE, id=id)
        if instance['status'] in self.excluded:
            raise exception.ProtectableInvalidStatus(type=TYPE, id=id, status=instance['status'])
        return _resource(instance)

    def children(self, cloud: Cloud, parent: Resource) -> Sequence[Resource]:
        return self.list(cloud) if parent.id == cloud.project_id else ()


def _is_foreign(instance: Thing, cloud: Cloud) -> bool:
    """Whether it is another project's. Trove shows those to administrators, and only them it tells whose they are."""
    return instance.get('tenant_id') not in (None, cloud.project_id)


def _resource(instance: Thing) -> Resource:
    return Resource(TYPE, instance['id'], instance['name'] or '')


class _OfTrove:
    service = 'trove'
    option_group = GROUP

    def created_at(self, thing: Thing) -> Any:
        return thing.get('created')


class _OfBackup(_OfTrove):
    things: ClassVar[toolkit.Collection] = BACKUPS
    id_key = 'backup_id'


class ProtectInstance(_OfBackup, toolkit.Protecting):
    """Makes a backup of the instance, once it is ACTIVE."""

    words = BACKUP_WORDS

    def prepare(self, work: Assignment) -> tuple[bool, Handle]:
        instance = INSTANCES.get(work.cloud, work.resource.id)
        if instance is None or _is_foreign(instance, work.cloud):
            raise _refusal('not_found', f'database instance {work.resource.id} does not exist')
        meaning = INSTANCE_WORDS.meaning(instance['status'])
        described = f'database instance {instance["id"]} is {instance["status"]}'
        if meaning == 'error':
            raise _refusal('conflict', described)
        handle: Handle = {'saved': _description(instance)}
        if meaning != 'active':
            handle['waiting'] = described
        return meaning == 'active', handle

    def make(self, work: Assignment, handle: Handle) -> str:
        told = work.parameters
        name = tags.cut(told.get('backup_name')) or f'backup{work.resource.id}'
        description = tags.described(told.get('description'), work.tag)
        return BACKUPS.manager(work.cloud).create(name, work.resource.id, description=description).id

    def candidates(self, work: Assignment) -> Iterable[Thing]:
        found = BACKUPS.all(work.cloud, instance_id=work.resource.id)
        return [backup for backup in found if backup.get('instance_id') == work.resource.id]


class RestoreInstance(_OfTrove, toolkit.Making):
    """Makes a new instance from the backup, under the tag as its name, and renames it once its id is recorded."""

    things = INSTANCES
    id_key = 'instance_id'
    words = INSTANCE_WORDS

    def prepare(self, work: Assignment) -> tuple[bool, Handle]:
        return True, {'name': tags.restored_name(work)}

    def make(self, work: Assignment, handle: Handle) -> str:
        noted = notes.load(work.section, 'backup_id', *RESTORE_NEEDS)
        wanted = _as_saved(noted) | {'restorePoint': {'backupRef': noted['backup_id']}}
        return INSTANCES.manager(work.cloud).create(work.tag, **wanted).id

    def candidates(self, work: Assignment) -> Iterable[Thing]:
        # Lists do not tell when an instance was made.
        found = (self.things.get(work.cloud, t['id']) for t in INSTANCES.all(work.cloud) if t['name'] == work.tag)
        kind = _datastore(notes.load(work.section).get('datastore')).get('datastore')
        return [thing for thing in found if thing and kind in (None, thing['datastore'].get('type'))]

    def is_tagged(self, work: Assignment, thing: Thing) -> bool:
        return thing['name'] == work.tag

    def state(self, work: Assignment, handle: Handle, thing: Thing | None) -> State:
        state = super().state(work, handle, thing)
        if thing is None or state.word == 'error':
            return state
        if thing['name'] == work.tag and not self._renamed(work, handle, thing):
            return State('build', new_id=state.new_id)
        description = work.parameters.get('restore_description')
        if state.word == 'active' and description:
            # Trove keeps no description of an instance.
            return State('active', new_id=state.new_id, extra={'restore_description': description})
        return state

    def _renamed(self, work: Assignment, handle: Handle, thing: Thing) -> bool:
        """Whether it has its name now; one that is still being built may have to wait for it."""
        try:
            INSTANCES.manager(work.cloud).update(thing['id'], name=handle['name'])
        except toolkit.BUSY:
            if thing['status'] == 'ACTIVE':
                raise
            return False
        return True

    def new_id(self, work: Assignment, thing: Thing) -> str | None:
        return thing['id']


class DeleteBackup(_OfBackup, toolkit.Removing):
    """Deletes the backup."""

    words = REMOVED_WORDS


class VerifyBackup(_OfBackup, toolkit.Checking):
    """Looks whether the backup is completed, and whether it is one of the instance, and fits its volume."""

    words = VERIFY_WORDS
    required = RESTORE_NEEDS

    def compared(self, noted: Mapping[str, Any], thing: Thing) -> Iterable[tuple[str, Any, Any]]:
        yield 'instance', noted.get('instance_id'), thing.get('instance_id')
        kind = (thing.get('datastore') or {}).get('type')
        yield 'datastore', _datastore(noted.get('datastore')).get('datastore'), kind

    def wrong(self, noted: Mapping[str, Any], thing: Thing) -> str | None:
        wrong, size, volume = super().wrong(noted, thing), thing.get('size'), noted.get('size')
        if not wrong and size and volume and float(size) > float(volume):
            return f'its size is {size} GB, more than the {volume} GB of the volume'
        return wrong


def _description(instance: Thing) -> dict[str, Any]:
    """What a restore needs to know of the instance; the keys of Karbor 1.6, and some more."""
    volume, access = instance.get('volume') or {}, instance.get('access') or {}
    addresses = instance.get('addresses') or ()
    networks = [a['network'] for a in addresses if a.get('type') == 'private' and a.get('network')]
    return {
        'instance_id': instance['id'],
        'datastore': {key: instance['datastore'].get(key) for key in ('type', 'version', 'version_number')},
        'flavor': instance['flavor']['id'],
        'size': volume.get('size'),
        'volume_type': volume.get('type'),
        'network_id': networks[0] if networks else None,
        'access': {key: access[key] for key in ('is_public', 'allowed_cidrs') if access.get(key)},
        'configuration_id': (instance.get('configuration') or {}).get('id'),
    }


def _as_saved(noted: Mapping[str, Any]) -> dict[str, Any]:
    """What `_description` noted, as the arguments of a new instance. A site without volumes has no size."""
    flavor, size, network = noted['flavor'], noted.get('size'), noted.get('network_id')
    volume = {'size': size, 'type': noted.get('volume_type')}
    wanted = {
        'flavor_id': str(flavor['id'] if isinstance(flavor, Mapping) else flavor),
        'volume': {key: value for key, value in volume.items() if value} if size else None,
        'nics': [{'network_id': network}] if network else None,
        'access': noted.get('access') or None,
        'configuration': noted.get('configuration_id'),
        **_datastore(noted.get('datastore')),
    }
    return {key: value for key, value in wanted.items() if value is not None}


def _datastore(noted: Any) -> dict[str, str]:
    """Type and version of a datastore, however they were noted: Karbor 1.6 kept what Trove had told."""
    noted = noted if isinstance(noted, Mapping) else {'type': noted}
    told = {'datastore': noted.get('type'), 'datastore_version': noted.get('version')}
    return {key: value for key, value in told.items() if value}


def _refusal(reason: str, detail: str) -> exception.BackendFault:
    return exception.BackendFault(reason, 'trove', keystone.latest_request_id(), detail)


class TroveBackup(toolkit.Tagged):
    """Protects database instances by backups in Trove."""

    resource_types = (TYPE,)
    copies, restored = BACKUPS, INSTANCES
    OPTIONS = {
        GROUP: [cfg.IntOpt('poll_interval', default=15, min=1, help='The longest pause in seconds between two looks.')]
    }
    protect = ProtectInstance
    restore = RestoreInstance
    delete = DeleteBackup
    verify = VerifyBackup

    @classmethod
    def options_schema(cls, resource_type: str) -> dict[str, Any]:
        return {
            'title': 'Database Instance Protection Options',
            'type': 'object',
            'properties': {
                'backup_name': tags.text_schema(
                    'Backup Name', 'The name of the database instance backup.', default=None
                ),
                'description': tags.text_schema('Description', 'The description of the database instance backup.'),
            },
            'required': [],
        }

    @classmethod
    def restore_schema(cls, resource_type: str) -> dict[str, Any]:
        return {
            'title': 'Database Instance Protection Restore',
            'type': 'object',
            'properties': {
                'restore_name': tags.text_schema(
                    'Restore Name', 'The name of the restored database instance.', default=None
                ),
                'restore_description': tags.text_schema(
                    'Restore Description', 'The description of the restored database instance.', default=None
                ),
            },
            'required': [],
        }

    @classmethod
    def verify_schema(cls, resource_type: str) -> dict[str, Any]:
        return {'title': 'Database Instance Protection Verify', 'type': 'object', 'properties': {}}

    @classmethod
    def saved_info_schema(cls, resource_type: str) -> dict[str, Any]:
        return {
            'title': 'Database Instance Protection Saved Info',
            'type': 'object',
            'properties': {},
            'required': [],
        }
