# SPDX-License-Identifier: Apache-2.0
"""Snapshots of shares."""

from typing import Any

from karbor.sandbox.manila.api import Json, ManilaApi, action_of, metadata_of, update
from karbor.sandbox.manila.store import Snapshot
from karbor.sandbox.manila.views import snapshot_view, summary
from karbor.sandbox.service import Route, refuse

SNAPSHOT_FILTERS = ('name', 'status', 'share_id', 'size', 'description')


class Snapshots(ManilaApi):
    """Snapshots."""

    routes: tuple[Route, ...] = (
        ('GET', '/snapshots', 'list_snapshots'),
        ('GET', '/snapshots/detail', 'list_snapshots_in_detail'),
        ('POST', '/snapshots', 'create_snapshot'),
        ('GET', '/snapshots/<snapshot_id>', 'show_snapshot'),
        ('PUT', '/snapshots/<snapshot_id>', 'update_snapshot'),
        ('DELETE', '/snapshots/<snapshot_id>', 'delete_snapshot'),
        ('POST', '/snapshots/<snapshot_id>/action', 'act_on_snapshot'),
    )

    def list_snapshots(self) -> Any:
        """Ids and names."""
        return {'snapshots': [summary(s, 'snapshots', self.base()) for s in self._found_snapshots()]}

    def list_snapshots_in_detail(self) -> Any:
        """Everything about the snapshots."""
        found = self._found_snapshots()
        return {'snapshots': [snapshot_view(s, self.version, self.caller.is_admin, self.base()) for s in found]}

    def create_snapshot(self) -> Any:
        """Begin to take a snapshot. 202."""
        wanted = self.body('snapshot')
        force = str(wanted.get('force', False)).lower()
        if force not in ('true', 'false', '1', '0'):
            refuse(400, f"Invalid value '{wanted['force']}' for force.")
        snapshot = Snapshot(
            share=self.find_share(str(wanted.get('share_id'))),
            project_id=str(self.caller.project_id),
            user_id=self.caller.user.id,
            directory=self.store.snapshot_directory,
            name=wanted.get('name') or wanted.get('display_name'),
            description=wanted.get('description') or wanted.get('display_description'),
            metadata=metadata_of(wanted.get('metadata') or {}) if self.version >= (2, 73) else {},
        )
        self.store.snapshot(snapshot, force in ('true', '1'), self.error_wanted)
        return self._snapshot(snapshot), 202

    def show_snapshot(self, snapshot_id: str) -> Any:
        """Everything about a snapshot."""
        return self._snapshot(self.find_snapshot(snapshot_id))

    def update_snapshot(self, snapshot_id: str) -> Any:
        """Rename or describe a snapshot."""
        snapshot = self.find_snapshot(snapshot_id)
        update(snapshot, self.body('snapshot'))
        return self._snapshot(snapshot)

    def delete_snapshot(self, snapshot_id: str) -> Any:
        """Begin to delete a snapshot. 202."""
        self.store.delete_snapshot(self.find_snapshot(snapshot_id), self.error_wanted)
        return '', 202

    def act_on_snapshot(self, snapshot_id: str) -> Any:
        """What administrators do to statuses."""
        action, given = action_of(self.body())
        return self.administer(self.find_snapshot(snapshot_id), self.store.snapshots, action, given)

    def _snapshot(self, snapshot: Snapshot) -> Json:
        return {'snapshot': snapshot_view(snapshot, self.version, self.caller.is_admin, self.base())}

    def _found_snapshots(self) -> list[Snapshot]:
        return self.page([s for s in self.store.snapshots.values() if self.is_listed(s.project_id)], SNAPSHOT_FILTERS)
