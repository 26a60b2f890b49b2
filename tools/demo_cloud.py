# SPDX-License-Identifier: Apache-2.0
"""The sandbox cloud as the demo needs it: the files behind shares and databases, snapshots and backups, faults.

In the sandbox a share is a directory of this machine and a database is a file, so that they can be looked into.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keystoneauth1.session import Session

SHARE, DATABASE = 'OS::Manila::Share', 'OS::Trove::Instance'
MANILA = {'service_type': 'sharev2'}
TROVE = {'service_type': 'database'}
# The first microversion of Manila with export locations of their own.
MICROVERSION = {'X-OpenStack-Manila-API-Version': '2.9'}
Hashes = Mapping[str, str]


class Cloud:
    """Manila and Trove as the user `user` sees them, and the sandbox's own resources, for its `admin`."""

    def __init__(self, user: Session, admin: Session, faults_url: str) -> None:
        self._user, self._admin, self._faults_url = user, admin, faults_url

    def directory_of(self, resource_type: str, id: str) -> Path:
        """Where the files of a share, or of a database instance, are."""
        return self._share_path(id) if resource_type == SHARE else self._instance_path(id)

    def _share_path(self, id: str) -> Path:
        url = f'/shares/{id}/export_locations'
        found = self._user.get(url, endpoint_filter=MANILA, headers=MICROVERSION).json()
        return Path(found['export_locations'][0]['path'].partition(':')[2])

    def _instance_path(self, id: str) -> Path:
        found = self._admin.get(self._faults_url.removesuffix('faults') + 'objects').json()['instances']
        return Path(next(instance['path'] for instance in found if instance['id'] == id))

    def copies(self) -> dict[str, int]:
        """How many snapshots of shares, and backups of databases, the user has."""
        snapshots = self._user.get('/snapshots', endpoint_filter=MANILA, headers=MICROVERSION).json()['snapshots']
        backups = self._user.get('/backups', endpoint_filter=TROVE).json()['backups']
        return {'snapshots of shares': len(snapshots), 'backups of databases': len(backups)}

    @contextlib.contextmanager
    def fault(self, **fault: Any) -> Iterator[None]:
        """Within the block the cloud has this trouble (karbor/sandbox/faults.py tells which there are)."""
        self._admin.post(self._faults_url, json=fault)
        try:
            yield
        finally:
            self._admin.delete(self._faults_url)


def hashes(directory: Path) -> Hashes:
    """The SHA-256 of every file below the directory, by its path in there."""
    files = sorted(path for path in directory.rglob('*') if path.is_file())
    return {str(file.relative_to(directory)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def spoil(directory: Path) -> None:
    """Overwrite the largest file, append to another one, and add one: as a mistake, or a virus, would."""
    largest, *others = sorted((path for path in directory.rglob('*') if path.is_file()), key=_size, reverse=True)
    largest.write_bytes(b'lost\n')
    for file in others[:1]:
        file.write_bytes(file.read_bytes() + b'changed\n')
    (directory / 'ransom.txt').write_text('Your files are gone.\n')


def _size(file: Path) -> int:
    return file.stat().st_size
