# SPDX-License-Identifier: Apache-2.0
"""What there is besides shares: types, availability zones, limits."""

import uuid
from typing import Any

from karbor.sandbox.manila.api import ManilaApi
from karbor.sandbox.manila.views import type_view
from karbor.sandbox.service import Route


class Surroundings(ManilaApi):
    """Looking around."""

    routes: tuple[Route, ...] = (
        ('GET', '/types', 'list_types'),
        ('GET', '/types/<type_id>', 'show_type'),
        ('GET', '/types/<type_id>/extra_specs', 'show_extra_specs'),
        ('GET', '/availability-zones', 'list_zones'),
        ('GET', '/limits', 'show_limits'),
        ('GET', '/quota-sets/<project_id>', 'show_quota'),
    )

    def list_types(self) -> Any:
        """All share types."""
        found = [type_view(t, self.version, self.caller.is_admin) for t in self.store.types.values()]
        return {'share_types': found, 'volume_types': found}

    def show_type(self, type_id: str) -> Any:
        """A share type, by id or name; `default` is the one that is used if none is named."""
        found = type_view(self.store.type_of(type_id), self.version, self.caller.is_admin)
        return {'share_type': found, 'volume_type': found}

    def show_extra_specs(self, type_id: str) -> Any:
        """What a share type asks of the back end; for administrators."""
        if not self.caller.is_admin:
            self.deny()
        return {'extra_specs': type_view(self.store.type_of(type_id), self.version, True)['extra_specs']}

    def list_zones(self) -> Any:
        """The one availability zone."""
        zone = {'id': str(uuid.uuid5(uuid.NAMESPACE_OID, 'nova')), 'name': 'nova'}
        return {'availability_zones': [{**zone, 'created_at': None, 'updated_at': None}]}

    def show_limits(self) -> Any:
        """How much there may be, and is."""
        shares = [s for s in self.store.shares.values() if s.project_id == self.caller.project_id]
        snapshots = [s for s in self.store.snapshots.values() if s.project_id == self.caller.project_id]
        absolute = {
            'maxTotalShares': -1,
            'maxTotalShareGigabytes': -1,
            'maxTotalShareSnapshots': -1,
            'maxTotalSnapshotGigabytes': -1,
            'maxTotalShareNetworks': -1,
            'totalSharesUsed': len(shares),
            'totalShareGigabytesUsed': sum(s.size for s in shares),
            'totalShareSnapshotsUsed': len(snapshots),
            'totalSnapshotGigabytesUsed': sum(s.size for s in snapshots),
            'totalShareNetworksUsed': 0,
        }
        return {'limits': {'rate': [], 'absolute': absolute}}

    def show_quota(self, project_id: str) -> Any:
        """No limit on anything."""
        kinds = ('shares', 'gigabytes', 'snapshots', 'snapshot_gigabytes', 'share_networks')
        return {'quota_set': {'id': project_id, **dict.fromkeys(kinds, -1)}}
