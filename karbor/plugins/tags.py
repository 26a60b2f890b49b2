# SPDX-License-Identifier: Apache-2.0
"""Tags on what plugins make in a service, so that it is found again, and the names that it has there.

A tag is ``<installation>/<operation>/<key of the resource>/<attempt>``.
"""

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oslo_utils import timeutils

from karbor.plugins.interface import Assignment

# The longest name or description that the services take.
TEXT_LIMIT = 255
# The key of the tag, where a service keeps metadata.
TAG_KEY = 'karbor'
_TAGGED = re.compile(r' ?\[karbor ([^\[\]\s]+)\]\Z')
# How far the clocks of a cloud and of Karbor may be apart, in seconds.
CLOCK_SKEW = 300.0


@dataclass(frozen=True)
class Tag:
    """What a tag tells."""

    installation: str
    operation_id: str
    key: str
    attempt: int


def parse(tag: str | None) -> Tag | None:
    """What the tag tells; None for what is none."""
    match (tag or '').split('/'):
        case [installation, operation_id, key, attempt] if installation and operation_id and key:
            return Tag(installation, operation_id, key, int(attempt)) if attempt.isdecimal() else None
    return None


def described(description: str | None, tag: str) -> str:
    """``description`` with the tag at its end, cut so that both fit."""
    mark = f'[karbor {tag}]'
    kept = (description or '')[: TEXT_LIMIT - len(mark) - 1].rstrip()
    return f'{kept} {mark}' if kept else mark


def cut(text: str | None) -> str | None:
    """``text`` as a service takes it; nothing is None."""
    return text[:TEXT_LIMIT] if text else None


def tag_of(thing: Mapping[str, Any]) -> str | None:
    """The tag that an object carries in its metadata or at the end of its description, or None."""
    told = (thing.get('metadata') or {}).get(TAG_KEY)
    found = _TAGGED.search(thing.get('description') or '')
    return told or (found[1] if found else None)


def is_of(work: Assignment, created_at: Any) -> bool:
    """Whether something made at ``created_at`` (ISO 8601, UTC) can be the operation's: it is not older."""
    begun = work.operation_started_at
    if begun is None:
        return True
    made = moment(created_at)
    return made is not None and made >= timeutils.normalize_time(begun) - datetime.timedelta(seconds=CLOCK_SKEW)


def moment(stamp: Any) -> datetime.datetime | None:
    """The time that a service tells (ISO 8601, UTC where no zone is told), naive in UTC; None for what is none."""
    try:
        return timeutils.normalize_time(timeutils.parse_isotime(_with_zone(str(stamp))))
    except ValueError:
        return None


def _with_zone(stamp: str) -> str:
    return stamp if re.search(r'(Z|[+-]\d\d:?\d\d)\Z', stamp) else f'{stamp}Z'


def carried(thing: Mapping[str, Any]) -> str | None:
    """The tag that an object carries, also as its name; None if it carries none."""
    return next((told for told in (tag_of(thing), thing.get('name')) if parse(told) is not None), None)


# --- names and ids -------------------------------------------------------------------------------------


def restored_name(work: Assignment) -> str:
    """The name that the user wants for what is restored, or the one that Karbor gives it."""
    wanted = work.parameters.get('restore_name')
    return (wanted or f'{work.checkpoint_id}@{work.resource.id}')[:TEXT_LIMIT]


def text_schema(title: str, description: str, **more: Any) -> dict[str, Any]:
    """The schema of a name or description."""
    return {'type': 'string', 'title': title, 'description': description, 'maxLength': TEXT_LIMIT, **more}


def is_id(id: str) -> bool:
    """Whether ``id`` may stand in a URL as it is; what may not is nobody's id."""
    return bool(re.fullmatch(r'[A-Za-z0-9_.@-]+', id)) and id not in ('.', '..')
