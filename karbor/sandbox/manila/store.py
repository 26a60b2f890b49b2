# SPDX-License-Identifier: Apache-2.0
"""Shares and snapshots behind the sandbox's Manila: a share is a directory, a snapshot is a copy of it."""

import datetime
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from karbor.sandbox.clock import Clock, now
from karbor.sandbox.refusal import Refusal

WORK_SECONDS = 0.3
PROTOCOLS = ('NFS', 'CIFS')


@dataclass(frozen=True)
class ShareType:
    """What a share of this type can do; without a back end its shares end in error."""

    name: str
    snapshot: bool = True
    revert: bool = True
    backend: str | None = 'local1'
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Share:
    """A share: a directory once it is available."""

    size: int
    share_proto: str
    type: ShareType
    project_id: str
    user_id: str
    directory: Path
    name: str | None = None
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    snapshot_id: str | None = None
    is_public: bool = False
    share_network_id: str | None = None
    availability_zone: str = 'nova'
    status: str = 'creating'
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    export_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: datetime.datetime = field(default_factory=now)

    @property
    def path(self) -> Path:
        """Where the data is."""
        return self.directory / f'share-{self.id}'


@dataclass
class Snapshot:
    """A copy of a share as it was when the snapshot was asked for."""

    share: Share
    project_id: str
    user_id: str
    directory: Path
    name: str | None = None
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    status: str = 'creating'
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: datetime.datetime = field(default_factory=now)

    def __post_init__(self) -> None:
        self.size = self.share.size

    @property
    def path(self) -> Path:
        """Where the data is."""
        return self.directory / f'snapshot-{self.id}'


class ShareStore:
    """Shares and snapshots below `directory`; what is not allowed raises Refusal as Manila answers it."""

    def __init__(self, directory: Path, clock: Clock):
        self.clock = clock
        self.share_directory = directory / 'shares'
        self.snapshot_directory = directory / 'snapshots'
        for path in (self.share_directory, self.snapshot_directory):
            path.mkdir(parents=True)
        types = (
            ShareType('default'),
            ShareType('no-revert', revert=False),
            ShareType('no-snapshots', snapshot=False, revert=False),
            ShareType('nowhere', backend=None),
        )
        self.types = {share_type.name: share_type for share_type in types}
        self.shares: dict[str, Share] = {}
        self.snapshots: dict[str, Snapshot] = {}

    def type_of(self, wanted: str) -> ShareType:
        """The share type of this name or id."""
        for share_type in self.types.values():
            if wanted in (share_type.name, share_type.id):
                return share_type
        raise Refusal(404, f'Share type {wanted} could not be found.')

    def create(self, share: Share, source: Snapshot | None, fails: bool) -> Share:
        """Begin to make a share, empty or with the content of the snapshot; with `fails` it ends in error."""
        share.snapshot_id = source.id if source else None
        fails = fails or share.type.backend is None
        staged = share.path.with_suffix('.new')
        if source and not fails:
            shutil.copytree(source.path, staged, symlinks=True)
        self.shares[share.id] = share

        def finish() -> None:
            if fails:
                share.status = 'error'
                return
            staged.mkdir(exist_ok=True)
            staged.chmod(0o777)
            staged.rename(share.path)
            share.status = 'available'

        self._later(share, 'creating', finish)
        return share

    def delete(self, share: Share, fails: bool) -> None:
        """Begin to delete a share; refused while it has snapshots."""
        snapshots = [s for s in self.snapshots.values() if s.share is share]
        if share.status not in ('available', 'error', 'inactive'):
            refuse_share(403, f"Share status must be one of ('available', 'error', 'inactive'), not {share.status}")
        if snapshots:
            refuse_share(403, f'Share still has {len(snapshots)} dependent snapshots')
        self._remove(share, self.shares, fails)

    def snapshot(self, snapshot: Snapshot, force: bool, fails: bool) -> Snapshot:
        """Begin to take a snapshot; its content is the share's at this moment."""
        share = snapshot.share
        if not share.type.snapshot:
            raise Refusal(
                422,
                f"Snapshots cannot be created for share '{share.id}' since it does not have that capability.",
            )
        if share.status != 'available' and not (force and share.path.exists()):
            refuse_share(400, 'Source share status must be available')
        if not fails:
            shutil.copytree(share.path, snapshot.path, symlinks=True)
        self.snapshots[snapshot.id] = snapshot
        self._later(snapshot, 'creating', lambda: _set_status(snapshot, 'error' if fails else 'available'))
        return snapshot

    def delete_snapshot(self, snapshot: Snapshot, fails: bool) -> None:
        """Begin to delete a snapshot."""
        if snapshot.status not in ('available', 'error'):
            raise Refusal(400, f'Invalid share snapshot: status must be available or error, not {snapshot.status}.')
        self._remove(snapshot, self.snapshots, fails)

    def revert(self, share: Share, snapshot: Snapshot, fails: bool) -> None:
        """Begin to put the share back to its latest snapshot."""
        if not share.type.revert:
            raise Refusal(400, f'Share {share.id} may not be reverted to a snapshot.')
        if snapshot.share is not share:
            raise Refusal(400, f'Snapshot {snapshot.id} is not associated with share {share.id}.')
        for thing in (share, snapshot):
            if thing.status != 'available':
                raise Refusal(409, f"{thing.id} is in '{thing.status}' state, but it must be in 'available' state.")
        latest = max((s for s in self.snapshots.values() if s.share is share), key=lambda s: s.created_at)
        if latest is not snapshot:
            raise Refusal(409, f'Snapshot {snapshot.id} is not the latest; only {latest.id} can be reverted to.')
        share.status, snapshot.status = 'reverting', 'restoring'

        def finish() -> None:
            snapshot.status = 'available'
            share.status = 'reverting_error' if fails else 'available'
            if not fails:
                _empty(share.path)
                shutil.copytree(snapshot.path, share.path, symlinks=True, dirs_exist_ok=True)

        self._later(share, 'reverting', finish)

    def _remove(self, thing: Share | Snapshot, kept: dict[str, Any], fails: bool) -> None:
        thing.status = 'deleting'

        def finish() -> None:
            if fails:
                thing.status = 'error_deleting'
                return
            kept.pop(thing.id, None)
            shutil.rmtree(thing.path, ignore_errors=True)

        self._later(thing, 'deleting', finish)

    def _later(self, thing: Share | Snapshot, status: str, finish: Any) -> None:
        # An administrator may have set another status in the meantime: then that holds.
        self.clock.after(WORK_SECONDS, lambda: finish() if thing.status == status else None)


def refuse_share(status: int, reason: str) -> NoReturn:
    """Refuse as Manila does for a share that is not in the state for it."""
    raise Refusal(status, f'Invalid share: {reason}.')


def _set_status(thing: Share | Snapshot, status: str) -> None:
    thing.status = status


def _empty(path: Path) -> None:
    """Remove what is in the directory; not itself: somebody may have it open, as a mounted share is."""
    for child in path.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()
