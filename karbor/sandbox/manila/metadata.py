# SPDX-License-Identifier: Apache-2.0
"""Metadata of shares and snapshots."""

from typing import Any

from karbor.sandbox.manila import microversions
from karbor.sandbox.manila.api import ManilaApi, metadata_of
from karbor.sandbox.manila.store import Share, Snapshot
from karbor.sandbox.service import Route, refuse


class Metadata(ManilaApi):
    """The same six calls for both."""

    routes: tuple[Route, ...] = (
        ('GET', '/<any(shares,snapshots):kind>/<thing_id>/metadata', 'show_metadata'),
        ('POST', '/<any(shares,snapshots):kind>/<thing_id>/metadata', 'add_metadata'),
        ('PUT', '/<any(shares,snapshots):kind>/<thing_id>/metadata', 'replace_metadata'),
        ('GET', '/<any(shares,snapshots):kind>/<thing_id>/metadata/<key>', 'show_metadata_item'),
        ('PUT', '/<any(shares,snapshots):kind>/<thing_id>/metadata/<key>', 'set_metadata_item'),
        ('DELETE', '/<any(shares,snapshots):kind>/<thing_id>/metadata/<key>', 'delete_metadata_item'),
    )

    def show_metadata(self, kind: str, thing_id: str) -> Any:
        """All metadata."""
        return {'metadata': self._tagged(kind, thing_id).metadata}

    def add_metadata(self, kind: str, thing_id: str) -> Any:
        """Set some items and leave the others."""
        metadata = self._tagged(kind, thing_id).metadata
        metadata.update(metadata_of(self.body('metadata')))
        return {'metadata': metadata}

    def replace_metadata(self, kind: str, thing_id: str) -> Any:
        """Set these items and drop the others."""
        thing = self._tagged(kind, thing_id)
        thing.metadata = metadata_of(self.body('metadata'))
        return {'metadata': thing.metadata}

    def show_metadata_item(self, kind: str, thing_id: str, key: str) -> Any:
        """One item."""
        metadata = self._tagged(kind, thing_id).metadata
        if key not in metadata:
            refuse(404, f'Metadata item {key} was not found.')
        return {'meta': {key: metadata[key]}}

    def set_metadata_item(self, kind: str, thing_id: str, key: str) -> Any:
        """Set one item."""
        item = metadata_of(self.body('meta'))
        if list(item) != [key]:
            refuse(400, 'Request body and URI mismatch.')
        self._tagged(kind, thing_id).metadata.update(item)
        return {'meta': item}

    def delete_metadata_item(self, kind: str, thing_id: str, key: str) -> Any:
        """Drop one item."""
        if self._tagged(kind, thing_id).metadata.pop(key, None) is None:
            refuse(404, f'Metadata item {key} was not found.')
        return '', 200

    def _tagged(self, kind: str, thing_id: str) -> Share | Snapshot:
        if kind == 'shares':
            return self.find_share(thing_id)
        if self.version < (2, 73):
            refuse(404, f'API version {microversions.text(self.version)} is not supported on this method.')
        return self.find_snapshot(thing_id)
