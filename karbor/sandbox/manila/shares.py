# SPDX-License-Identifier: Apache-2.0
"""Shares, their export locations and access rules."""

import uuid
from typing import Any

import flask

from karbor.sandbox.manila.api import Json, ManilaApi, action_of, metadata_of, update
from karbor.sandbox.manila.store import PROTOCOLS, Share, Snapshot
from karbor.sandbox.manila.views import share_view, summary
from karbor.sandbox.service import Route, refuse

SHARE_FILTERS = ('name', 'status', 'snapshot_id', 'share_network_id', 'description')


class Shares(ManilaApi):
    """Shares."""

    routes: tuple[Route, ...] = (
        ('GET', '/shares', 'list_shares'),
        ('GET', '/shares/detail', 'list_shares_in_detail'),
        ('POST', '/shares', 'create_share'),
        ('GET', '/shares/<share_id>', 'show_share'),
        ('PUT', '/shares/<share_id>', 'update_share'),
        ('DELETE', '/shares/<share_id>', 'delete_share'),
        ('POST', '/shares/<share_id>/action', 'act_on_share'),
        ('GET', '/shares/<share_id>/export_locations', 'list_export_locations'),
        ('GET', '/shares/<share_id>/export_locations/<export_id>', 'show_export_location'),
        ('GET', '/share-access-rules', 'list_access_rules'),
        ('GET', '/share-access-rules/<access_id>', 'show_access_rule'),
    )

    def list_shares(self) -> Any:
        """Ids and names."""
        return {'shares': [summary(s, 'shares', self.base()) for s in self._found_shares()]}

    def list_shares_in_detail(self) -> Any:
        """Everything about the shares."""
        found = self._found_shares()
        return {'shares': [share_view(s, self.version, self.caller.is_admin, self.base()) for s in found]}

    def create_share(self) -> Any:
        """Begin to make a share; empty, or from a snapshot."""
        wanted = self.body('share')
        source = self._source(wanted)
        share = Share(
            size=self._size(wanted, source),
            share_proto=str(wanted.get('share_proto')).upper(),
            type=self._type(wanted, source),
            project_id=str(self.caller.project_id),
            user_id=self.caller.user.id,
            directory=self.store.share_directory,
            name=wanted.get('name') or wanted.get('display_name'),
            description=wanted.get('description') or wanted.get('display_description'),
            metadata=metadata_of(wanted.get('metadata') or {}),
            is_public=bool(wanted.get('is_public')),
        )
        if share.share_proto not in PROTOCOLS:
            refuse(
                400,
                f'Invalid share protocol provided: {share.share_proto}. It is disabled or unsupported.',
            )
        if wanted.get('share_network_id'):
            refuse(404, f'Share network {wanted["share_network_id"]} could not be found.')
        if wanted.get('availability_zone') not in (None, '', share.availability_zone):
            refuse(404, f'Availability zone {wanted["availability_zone"]} could not be found.')
        self.store.create(share, source, self.error_wanted)
        return self._share(share)

    def show_share(self, share_id: str) -> Any:
        """Everything about a share."""
        return self._share(self.find_share(share_id, public=True))

    def update_share(self, share_id: str) -> Any:
        """Rename or describe a share."""
        share = self.find_share(share_id)
        update(share, self.body('share'))
        return self._share(share)

    def delete_share(self, share_id: str) -> Any:
        """Begin to delete a share. 202."""
        self.store.delete(self.find_share(share_id), self.error_wanted)
        return '', 202

    def act_on_share(self, share_id: str) -> Any:
        """Access rules, revert, and what administrators do to statuses."""
        share = self.find_share(share_id)
        action, given = action_of(self.body())
        if action == 'allow_access':
            return {'access': _allow(share, given)}
        if action == 'deny_access':
            if share.rules.pop(str(given.get('access_id')), None) is None:
                refuse(404, f'Share access {given.get("access_id")} could not be found.')
            return '', 202
        if action == 'access_list':
            return {'access_list': list(share.rules.values())}
        if action == 'revert' and self.version >= (2, 27):
            snapshot = self.store.snapshots.get(str(given.get('snapshot_id')))
            if snapshot is None or snapshot.project_id != share.project_id:
                refuse(404, f'Snapshot {given.get("snapshot_id")} could not be found.')
            self.store.revert(share, snapshot, self.error_wanted)
            return '', 202
        return self.administer(share, self.store.shares, action, given)

    def list_export_locations(self, share_id: str) -> Any:
        """Where the data is: none while the share is not there."""
        share = self.find_share(share_id, public=True)
        return {'export_locations': [self._export(share)] if share.path.exists() else []}

    def show_export_location(self, share_id: str, export_id: str) -> Any:
        """Where the data is."""
        share = self.find_share(share_id, public=True)
        if export_id != share.export_id or not share.path.exists():
            refuse(404, f'Export location {export_id} could not be found.')
        return {'export_location': self._export(share)}

    def list_access_rules(self) -> Any:
        """The access rules of the share `share_id`."""
        share = self.find_share(flask.request.args.get('share_id', ''), public=True)
        return {'access_list': list(share.rules.values())}

    def show_access_rule(self, access_id: str) -> Any:
        """An access rule."""
        for share in self.store.shares.values():
            if access_id in share.rules and self.is_mine(share):
                return {'access': share.rules[access_id]}
        refuse(404, f'Share access {access_id} could not be found.')

    def _share(self, share: Share) -> Json:
        return {'share': share_view(share, self.version, self.caller.is_admin, self.base())}

    def _found_shares(self) -> list[Share]:
        with_public = flask.request.args.get('is_public', '').lower() in ('1', 'true')
        mine = [
            share
            for share in self.store.shares.values()
            if self.is_listed(share.project_id) or (with_public and share.is_public)
        ]
        wanted = flask.request.args.get('share_type_id')
        return self.page([s for s in mine if wanted in (None, s.type.id)], SHARE_FILTERS)

    def _source(self, wanted: Json) -> Snapshot | None:
        if wanted.get('snapshot_id') is None:
            return None
        source = self.find_snapshot(str(wanted['snapshot_id']))
        if source.status != 'available':
            refuse(400, 'Invalid snapshot: status must be available.')
        return source

    def _size(self, wanted: Json, source: Snapshot | None) -> int:
        given = wanted.get('size')
        if given is None and source:
            return source.size
        if isinstance(given, bool) or not str(given).isdecimal() or int(str(given)) < 1:
            refuse(400, f"Invalid input received: Share size '{given}' must be an integer and greater than 0.")
        size = int(str(given))
        if source and size < source.size:
            refuse(400, f'Invalid input received: Share size {size} must be equal or greater than snapshot size.')
        return size

    def _type(self, wanted: Json, source: Snapshot | None) -> Any:
        given = wanted.get('share_type') or wanted.get('volume_type')
        if source is None:
            return self.store.type_of(str(given or 'default'))
        if given and self.store.type_of(str(given)) is not source.share.type:
            refuse(
                400,
                'Invalid share type: the requested share type must match the type of the source share.',
            )
        return source.share.type

    def _export(self, share: Share) -> Json:
        location = {
            'id': share.export_id,
            'path': f'127.0.0.1:{share.path}',
            'preferred': True,
            'links': [
                {
                    'rel': 'self',
                    'href': f'{self.base()}/shares/{share.id}/export_locations/{share.export_id}',
                }
            ],
        }
        if self.caller.is_admin:
            location.update(share_instance_id=share.id, is_admin_only=False)
        return location


def _allow(share: Share, given: Json) -> Json:
    if share.status != 'available':
        refuse(400, f'Invalid share: new access rules need status available, not {share.status}.')
    rule = {
        'id': str(uuid.uuid4()),
        'access_type': given.get('access_type'),
        'access_to': given.get('access_to'),
        'access_level': given.get('access_level') or 'rw',
        'access_key': None,
        'state': 'active',
        'created_at': share.created_at.isoformat(),
        'updated_at': None,
        'metadata': given.get('metadata') or {},
    }
    if rule['access_type'] not in ('ip', 'user', 'cert', 'cephx') or not rule['access_to']:
        refuse(400, 'Only ip, user, cert or cephx access types are supported.')
    share.rules[str(rule['id'])] = rule
    return rule
