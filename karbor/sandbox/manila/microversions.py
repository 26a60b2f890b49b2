# SPDX-License-Identifier: Apache-2.0
"""Manila's microversions: which one a request asks for, and what a reply holds since which."""

import re

from karbor.sandbox.refusal import Refusal

HEADER = 'X-OpenStack-Manila-API-Version'
LATEST = (2, 90)
Version = tuple[int, int]


def requested(header: str | None) -> Version:
    """The version of the request, 2.0 if it names none; Refusal 400 or 406 for one that there is not."""
    if not header:
        return (2, 0)
    if header == 'latest':
        return LATEST
    found = re.fullmatch(r'([1-9]\d*)\.([1-9]\d*|0)', header)
    if not found:
        raise Refusal(
            400,
            f'API Version String {header} is of invalid format. Must be of format MajorNum.MinorNum.',
        )
    version = (int(found[1]), int(found[2]))
    if not (2, 0) <= version <= LATEST:
        raise Refusal(
            406,
            f'Version {header} is not supported by the API. Minimum is 2.0 and maximum is {text(LATEST)}.',
        )
    return version


def text(version: Version) -> str:
    """2.65 for (2, 65)."""
    return '.'.join(map(str, version))


# Since when the two views have a field that they did not always have.
SHARE_SINCE = {
    'share_type_name': (2, 6),
    'is_public': (2, 8),
    'access_rules_status': (2, 10),
    'replication_type': (2, 11),
    'has_replicas': (2, 11),
    'user_id': (2, 16),
    'create_share_from_snapshot_support': (2, 24),
    'revert_to_snapshot_support': (2, 27),
    'share_group_id': (2, 31),
    'source_share_group_snapshot_member_id': (2, 31),
    'mount_snapshot_support': (2, 32),
    'progress': (2, 54),
    'is_soft_deleted': (2, 69),
    'scheduled_to_be_deleted_at': (2, 69),
    'source_backup_id': (2, 80),
}
SHARE_UNTIL = {'export_location': (2, 8), 'export_locations': (2, 8)}
SNAPSHOT_SINCE = {
    'provider_location': (2, 12),
    'user_id': (2, 17),
    'project_id': (2, 17),
    'metadata': (2, 73),
}
