# SPDX-License-Identifier: Apache-2.0
"""Shares, snapshots and types as Manila shows them in each microversion."""

from typing import Any

from karbor.sandbox.manila.microversions import SHARE_SINCE, SHARE_UNTIL, SNAPSHOT_SINCE, Version
from karbor.sandbox.manila.store import Share, ShareType, Snapshot

Json = dict[str, Any]


def summary(thing: Share | Snapshot, kind: str, base: str) -> Json:
    """Id, name and links of a share or snapshot."""
    href = f'{base}/{kind}/{thing.id}'
    links = [{'rel': 'self', 'href': href}, {'rel': 'bookmark', 'href': href}]
    return {'id': thing.id, 'name': thing.name, 'links': links}


def share_view(share: Share, version: Version, is_admin: bool, base: str) -> Json:
    """Everything about a share that the version shows; host and server only to administrators."""
    path = f'127.0.0.1:{share.path}' if share.path.exists() else None
    shown: Json = {
        **summary(share, 'shares', base),
        'size': share.size,
        'availability_zone': share.availability_zone,
        'created_at': share.created_at.isoformat(timespec='microseconds'),
        'status': share.status,
        'description': share.description,
        'project_id': share.project_id,
        'snapshot_id': share.snapshot_id,
        'share_network_id': share.share_network_id,
        'share_proto': share.share_proto,
        'metadata': share.metadata,
        'share_type': share.type.id if version >= (2, 6) else share.type.name,
        'share_type_name': share.type.name,
        'volume_type': share.type.name,
        'export_location': path,
        'export_locations': [path] if path else [],
        'is_public': share.is_public,
        'snapshot_support': share.type.snapshot,
        'access_rules_status': 'active',
        'task_state': None,
        'replication_type': None,
        'has_replicas': False,
        'user_id': share.user_id,
        'create_share_from_snapshot_support': share.type.snapshot,
        'revert_to_snapshot_support': share.type.revert,
        'share_group_id': None,
        'source_share_group_snapshot_member_id': None,
        'mount_snapshot_support': False,
        'progress': '100%' if path else None,
        'is_soft_deleted': False,
        'scheduled_to_be_deleted_at': None,
        'source_backup_id': None,
    }
    if is_admin:
        shown.update(host=f'cloud@{share.type.backend}#{share.type.backend}', share_server_id=None)
    return _of(version, shown, SHARE_SINCE, SHARE_UNTIL)


def snapshot_view(snapshot: Snapshot, version: Version, is_admin: bool, base: str) -> Json:
    """Everything about a snapshot that the version shows; its place only to administrators."""
    shown: Json = {
        **summary(snapshot, 'snapshots', base),
        'share_id': snapshot.share.id,
        'share_size': snapshot.share.size,
        'share_proto': snapshot.share.share_proto,
        'created_at': snapshot.created_at.isoformat(timespec='microseconds'),
        'status': snapshot.status,
        'description': snapshot.description,
        'size': snapshot.size,
        'user_id': snapshot.user_id,
        'project_id': snapshot.project_id,
        'metadata': snapshot.metadata,
    }
    if is_admin:
        shown['provider_location'] = str(snapshot.path)
    return _of(version, shown, SNAPSHOT_SINCE, {})


def type_view(share_type: ShareType, version: Version, is_admin: bool) -> Json:
    """A share type; its back end only to administrators."""
    specs = {
        'snapshot_support': str(share_type.snapshot),
        'create_share_from_snapshot_support': str(share_type.snapshot),
        'revert_to_snapshot_support': str(share_type.revert),
    }
    if is_admin:
        specs['share_backend_name'] = share_type.backend or 'no-such-backend'
        specs['driver_handles_share_servers'] = 'False'
    access = 'share_type_access' if version >= (2, 7) else 'os-share-type-access'
    return {
        'id': share_type.id,
        'name': share_type.name,
        'description': None,
        'is_default': share_type.name == 'default',
        f'{access}:is_public': True,
        'required_extra_specs': {'driver_handles_share_servers': 'False'},
        'extra_specs': specs,
    }


def _of(version: Version, shown: Json, since: dict[str, Version], until: dict[str, Version]) -> Json:
    return {key: value for key, value in shown.items() if since.get(key, version) <= version <= until.get(key, version)}
