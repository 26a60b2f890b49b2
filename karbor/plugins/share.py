# SPDX-License-Identifier: Apache-2.0
"""Shares of Manila: found in the user's project, protected by snapshots (seed 002).

A snapshot lives on the back end of its share: it protects from what happens to files, not from the
loss of the back end.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from keystoneauth1 import exceptions as keystone_exceptions
from manilaclient import api_versions
from oslo_config import cfg

from karbor import exception, keystone
from karbor.clients import Cloud
from karbor.plugins import notes, tags, toolkit
from karbor.plugins.interface import Assignment, Protectable, Resource
from karbor.plugins.toolkit import Handle, Thing, Words

TYPE = 'OS::Manila::Share'
GROUP = 'manila_snapshot_plugin'
PAGE = 1000
SNAPSHOTS_WITH_METADATA = api_versions.APIVersion('2.73')
MESSAGES = api_versions.APIVersion('2.37')

# What a share is waited for with: before a snapshot is taken, and after it was made from one.
SHARE_WORDS = Words(
    active=frozenset({'available'}),
    error=frozenset(
        {'error', 'error_deleting', 'deleting', 'extending_error', 'shrinking_error', 'reverting_error', 'not-found'}
    ),
    build=frozenset({'creating', 'creating_from_snapshot', 'reverting', 'extending', 'shrinking'}),
    other='error',
)
_FAILED = frozenset({'error', 'error_deleting', 'error_deferred_deleting'})
_BUSY = frozenset({'creating', 'deleting', 'deferred_deleting', 'restoring'})
SNAPSHOT_WORDS = Words(active=frozenset({'available'}), error=_FAILED, build=_BUSY)
VERIFY_WORDS = Words(
    active=frozenset({'available'}), error=_FAILED, build=frozenset({'creating', 'restoring'}), other='error'
)
REMOVED_WORDS = Words(active=frozenset({'deleted', 'not-found'}), error=_FAILED, build=_BUSY)


# What has to be noted of a share so that it can be restored.
RESTORE_NEEDS = ('share_proto', 'size')


class Objects(toolkit.Collection):
    """Shares or snapshots."""

    def __init__(self, manager: str, noun: str, **always: Any) -> None:
        super().__init__('manila', manager, noun)
        self.always = always

    def pages(self, cloud: Cloud, **filters: Any) -> Iterator[list[Thing]]:
        """Pages overlap by one object, to notice when objects came or went in between: then all begins anew."""
        manager, last, offset = self.manager(cloud), None, 0
        while True:
            wanted = {'sort_key': 'id', 'sort_dir': 'asc', 'limit': PAGE, 'offset': offset, **self.always, **filters}
            page = [thing.to_dict() for thing in manager.list(search_opts=wanted)]
            if last is not None and (not page or page[0]['id'] != last):
                last, offset = None, 0
                continue
            fresh = page if last is None else page[1:]
            if not fresh:
                return
            # Without this filter a user with an admin's role, or another's public share, would add foreign objects.
            yield [thing for thing in fresh if thing.get('project_id') in (None, cloud.project_id)]
            last, offset = fresh[-1]['id'], offset + len(page) - 1


SHARES = Objects('shares', 'share', is_public=False)
SNAPSHOTS = Objects('share_snapshots', 'snapshot')


class Shares(Protectable):
    """The shares of the user's project."""

    resource_type = TYPE
    service = 'manila'
    parent_types = ('OS::Keystone::Project',)
    excluded = frozenset(
        {'deleting', 'deleted', 'error', 'error_deleting', 'manage_error', 'unmanage_error'}
        | {'extending_error', 'shrinking_error', 'reverting_error'}
    )

    def list(self, cloud: Cloud, parameters: Mapping[str, Any] | None = None) -> Sequence[Resource]:
        return [_resource(share) for share in SHARES.all(cloud) if share['status'] not in self.excluded]

    def show(self, cloud: Cloud, id: str, parameters: Mapping[str, Any] | None = None) -> Resource:
        share = SHARES.get(cloud, id) if tags.is_id(id) else None
        if share is None or share.get('project_id') not in (None, cloud.project_id):
            raise exception.ProtectableNotFound(type=TYPE, id=id)
        if share['status'] in self.excluded:
            raise exception.ProtectableInvalidStatus(type=TYPE, id=id, status=share['status'])
        return _resource(share)

    def children(self, cloud: Cloud, parent: Resource) -> Sequence[Resource]:
        return self.list(cloud) if parent.id == cloud.project_id else ()


def _resource(share: Thing) -> Resource:
    return Resource(TYPE, share['id'], share['name'] or '')


class _OfManila:
    service = 'manila'
    option_group = GROUP


class _MadeInManila(_OfManila, toolkit.Making):
    def failure(self, work: Assignment, handle: Handle, thing: Thing) -> exception.BackendFault:
        """With what Manila tells its users about the failure, in words that it made for them."""
        told = super().failure(work, handle, thing)
        messages = work.cloud.client('manila').messages
        if messages.api_version < MESSAGES:
            return told
        latest = {'resource_id': thing['id'], 'sort_key': 'created_at', 'sort_dir': 'desc', 'limit': 1}
        with contextlib.suppress(keystone_exceptions.ClientException):
            for message in messages.list(search_opts=latest):
                detail = f'{told.detail}: {message.user_message}'
                return exception.BackendFault('failed', 'manila', message.request_id or told.request_id, detail)
        return told


class _OfSnapshot(_OfManila):
    things: ClassVar[toolkit.Collection] = SNAPSHOTS
    id_key = 'snapshot_id'


class ProtectShare(_OfSnapshot, _MadeInManila, toolkit.Protecting):
    """Takes a snapshot of the share, once the share can be taken one of."""

    words = SNAPSHOT_WORDS

    def prepare(self, work: Assignment) -> tuple[bool, Handle]:
        share = _source(work)
        kept = ('size', 'share_proto', 'share_type', 'share_network_id')
        handle: Handle = {'saved': {'share_id': share['id'], **{key: share.get(key) for key in kept}}}
        return _is_ready(share, handle, bool(work.parameters.get('force'))), handle

    def make(self, work: Assignment, handle: Handle) -> str:
        snapshots, told = SNAPSHOTS.manager(work.cloud), work.parameters
        description = tags.cut(told.get('description'))
        if snapshots.api_version >= SNAPSHOTS_WITH_METADATA:
            more: dict[str, Any] = {'description': description, 'metadata': {tags.TAG_KEY: work.tag}}
        else:
            more = {'description': tags.described(description, work.tag)}
        return snapshots.create(
            work.resource.id, force=bool(told.get('force')), name=tags.cut(told.get('snapshot_name')), **more
        ).id

    def candidates(self, work: Assignment) -> Iterable[Thing]:
        found = SNAPSHOTS.all(work.cloud, share_id=work.resource.id)
        return [snapshot for snapshot in found if snapshot.get('share_id') == work.resource.id]


class RestoreShare(_MadeInManila):
    """Makes a new share from the snapshot, or reverts the share in place, as the option ``share_id`` says."""

    things = SHARES
    id_key = 'share_id'
    words = SHARE_WORDS

    def prepare(self, work: Assignment) -> tuple[bool, Handle]:
        noted = notes.load(work.section, 'snapshot_id', *RESTORE_NEEDS)
        target = work.parameters.get('share_id')
        if target is None:
            return True, {'from': noted}
        if target != noted.get('share_id'):
            why = f'share_id {target[:64]!r} is not the share that was protected; null restores a new share'
            raise exception.BackendFault('refused', 'manila', detail=why)
        return _prepare_revert(work, noted)

    def make(self, work: Assignment, handle: Handle) -> str:
        noted, shares = handle['from'], SHARES.manager(work.cloud)
        if handle.get('revert'):
            return _revert(work, noted)
        if SNAPSHOTS.get(work.cloud, noted['snapshot_id']) is None:
            raise _refusal('not_found', 'the snapshot of the checkpoint does not exist any more')
        return shares.create(
            noted['share_proto'],
            noted['size'],
            snapshot_id=noted['snapshot_id'],
            name=tags.restored_name(work),
            description=tags.cut(work.parameters.get('restore_description')),
            metadata={tags.TAG_KEY: work.tag},
            share_network=noted.get('share_network_id'),
            share_type=noted.get('share_type'),
        ).id

    def candidates(self, work: Assignment) -> Iterable[Thing]:
        snapshot_id = notes.load(work.section, 'snapshot_id')['snapshot_id']
        found = SHARES.all(work.cloud, snapshot_id=snapshot_id)
        return [share for share in found if share.get('snapshot_id') == snapshot_id]

    def find(self, work: Assignment) -> Handle | None:
        target = work.parameters.get('share_id')
        if target is None:
            return super().find(work)
        share = SHARES.get(work.cloud, target)
        # Nothing else tells that a revert was begun; one that has ended may be begun again.
        return {'revert': True, self.id_key: target} if share and share['status'] == 'reverting' else None

    def new_id(self, work: Assignment, thing: Thing) -> str | None:
        # Whoever cleans up after a test of a restore must never be handed the original share as a new one.
        return thing['id'] if thing['id'] != work.resource.id else None

    def progress(self, thing: Thing) -> int | None:
        told = str(thing.get('progress') or '').removesuffix('%')
        return min(int(told), 99) if told.isdecimal() else None

    def cancel(self, work: Assignment, handle: Handle) -> bool:
        """A revert cannot be undone, and the share is the user's own: nothing is removed."""
        if work.parameters.get('share_id') is None and handle.get(self.id_key) != work.resource.id:
            return super().cancel(work, handle)
        share = SHARES.get(work.cloud, work.resource.id) if handle.get(self.id_key) else None
        if share and SHARE_WORDS.meaning(share['status']) != 'error':
            raise _refusal('refused', f'the revert of share {share["id"]} in place can be neither stopped nor undone')
        return True


class DeleteSnapshot(_OfSnapshot, toolkit.Removing):
    """Deletes the snapshot."""

    words = REMOVED_WORDS


class VerifySnapshot(_OfSnapshot, toolkit.Checking):
    """Looks whether the snapshot is available, and whether it is one of the share, as large as that was."""

    words = VERIFY_WORDS
    required = RESTORE_NEEDS

    def compared(self, noted: Mapping[str, Any], thing: Thing) -> Iterable[tuple[str, Any, Any]]:
        yield 'share', noted.get('share_id'), thing.get('share_id')
        yield 'size in GiB', noted.get('size'), thing.get('share_size')
        yield 'protocol', noted.get('share_proto'), thing.get('share_proto')


def _source(work: Assignment) -> Thing:
    share = SHARES.get(work.cloud, work.resource.id)
    # A user with an admin's role sees the shares of all projects.
    if share is None or share.get('project_id') not in (None, work.cloud.project_id):
        raise exception.BackendFault(
            'not_found', 'manila', keystone.latest_request_id(), f'share {work.resource.id} does not exist'
        )
    return share


def _is_ready(share: Thing, handle: Handle, force: bool = False) -> bool:
    """Whether the share can be worked on now; if it is busy, the handle says so. Raises where waiting is in vain."""
    meaning = SHARE_WORDS.meaning(share['status'])
    if meaning == 'error':
        raise _refusal('conflict', f'share {share["id"]} is {share["status"]}')
    if meaning == 'active' or force:
        return True
    handle['waiting'] = f'share {share["id"]} is {share["status"]}'
    return False


def _prepare_revert(work: Assignment, noted: Mapping[str, Any]) -> tuple[bool, Handle]:
    share = _source(work)
    if not share.get('revert_to_snapshot_support'):
        named = share.get('share_type_name') or share.get('share_type')
        raise _refusal(
            'refused', f'share {share["id"]} cannot be reverted in place: its type {named} does not allow it'
        )
    snapshots = {thing['id']: thing for thing in SNAPSHOTS.all(work.cloud, share_id=share['id'])}
    own = snapshots.get(noted.get('snapshot_id', ''))
    if own is None:
        raise _refusal('not_found', 'the snapshot of the checkpoint does not exist any more')
    newer = [thing['id'] for thing in snapshots.values() if thing['created_at'] > own['created_at']]
    if newer:
        raise _refusal(
            'conflict',
            f'share {share["id"]} cannot be reverted in place: snapshot {min(newer)} is newer than the checkpoint',
        )
    if share['status'] != 'available':
        raise _refusal('conflict', f'share {share["id"]} cannot be reverted in place: it is {share["status"]}')
    return True, {'from': dict(noted), 'revert': True}


def _revert(work: Assignment, noted: Mapping[str, Any]) -> str:
    try:
        SHARES.manager(work.cloud).revert_to_snapshot(work.resource.id, noted['snapshot_id'])
    except keystone_exceptions.Conflict as unexpected:
        why = f'share {work.resource.id} cannot be reverted in place: it is busy, or has a newer snapshot'
        raise _refusal('conflict', why) from unexpected
    return work.resource.id


def _refusal(reason: str, detail: str) -> exception.BackendFault:
    return exception.BackendFault(reason, 'manila', keystone.latest_request_id(), detail)


class ManilaSnapshot(toolkit.Tagged):
    """Protects shares by snapshots in Manila."""

    resource_types = (TYPE,)
    copies, restored = SNAPSHOTS, SHARES
    OPTIONS = {
        GROUP: [cfg.IntOpt('poll_interval', default=15, min=1, help='The longest pause in seconds between two looks.')]
    }
    protect = ProtectShare
    restore = RestoreShare
    delete = DeleteSnapshot
    verify = VerifySnapshot

    def check_restore(self, resource_id: str, options: Mapping[str, Any]) -> None:
        """A share is restored as a new one or reverted in place, never onto another one (seed 002)."""
        if options.get('share_id') not in (None, resource_id):
            raise exception.InvalidInput(
                field=f'restore/parameters/{TYPE}/share_id',
                reason=f'must be null for a new share, or {resource_id} to revert the share in place',
            )

    @classmethod
    def options_schema(cls, resource_type: str) -> dict[str, Any]:
        return {
            'title': 'Share Protection Options',
            'type': 'object',
            'properties': {
                'snapshot_name': tags.text_schema('Snapshot Name', 'The name of the snapshot.', default=None),
                'description': tags.text_schema('Description', 'The description of the share snapshot.'),
                'force': {
                    'type': 'boolean',
                    'title': 'Force',
                    'description': "Whether to take a snapshot of a share even if it's busy.",
                    'default': False,
                },
            },
            'required': [],
        }

    @classmethod
    def restore_schema(cls, resource_type: str) -> dict[str, Any]:
        return {
            'title': 'Share Protection Restore',
            'type': 'object',
            'properties': {
                'share_id': {
                    'type': 'string',
                    'title': 'Share ID',
                    'description': 'The share that was protected, to revert it in place. Default: a new share.',
                    'default': None,
                },
                'restore_name': tags.text_schema('Restore Name', 'The name of the restored share.', default=None),
                'restore_description': tags.text_schema(
                    'Restore Description', 'The description of the restored share.', default=None
                ),
            },
            'required': [],
        }

    @classmethod
    def verify_schema(cls, resource_type: str) -> dict[str, Any]:
        return {'title': 'Share Protection Verify', 'type': 'object', 'properties': {}}

    @classmethod
    def saved_info_schema(cls, resource_type: str) -> dict[str, Any]:
        return {'title': 'Share Protection Saved Info', 'type': 'object', 'properties': {}, 'required': []}
