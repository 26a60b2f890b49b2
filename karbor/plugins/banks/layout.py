# SPDX-License-Identifier: Apache-2.0
"""Every key of a bank, and the index document: the layout of Karbor 1.6, so that its banks go on.

Nothing else builds keys.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from karbor import exception
from karbor.plugins.banks.interface import SEGMENT

VERSION = '0.9'
ID_LIMIT = 36  # the longest resource id that a plan may hold
TYPE_LIMIT = 100  # the longest spelling of a type in a key

# Names in the section of a resource.
STATUS = 'status'
METADATA = 'metadata'


def _key(*segments: str) -> str:
    """The key of these segments. Raises BankKeyInvalid when what should be one, such as an id, is none or several."""
    for segment in segments:
        if not SEGMENT.fullmatch(segment):
            raise exception.BankKeyInvalid(f'{segment[:80]!r} is no part of a key')
    return '/' + '/'.join(segments)


def data(n: int) -> str:
    """The name of the n-th chunk of a resource's data, from 1."""
    return f'data_{n}'


# --- checkpoints -----------------------------------------------------------------------------------


def checkpoints() -> str:
    """The prefix of all checkpoints."""
    return '/checkpoints/'


def checkpoint_prefix(checkpoint_id: str) -> str:
    """What every key of a checkpoint but those of the indices begins with."""
    return f'{_key("checkpoints", checkpoint_id)}/'


def checkpoint_index(checkpoint_id: str) -> str:
    return _key('checkpoints', checkpoint_id, 'index.json')


def resource_section(checkpoint_id: str, resource_key: str) -> str:
    """The prefix of a resource's data; below it lie `status`, `metadata`, `data_1` …"""
    return _key('checkpoints', checkpoint_id, 'resource-data', resource_key)


def resource_status(checkpoint_id: str, resource_key: str) -> str:
    """Plain text: the status of the resource's copy."""
    return f'{resource_section(checkpoint_id, resource_key)}/{STATUS}'


def resource_metadata(checkpoint_id: str, resource_key: str) -> str:
    """JSON: what the plugin needs to restore the resource."""
    return f'{resource_section(checkpoint_id, resource_key)}/{METADATA}'


def resource_data(checkpoint_id: str, resource_key: str, n: int) -> str:
    """Bytes: the n-th chunk of the resource's data, from 1."""
    return f'{resource_section(checkpoint_id, resource_key)}/{data(n)}'


# --- indices: keys whose value is the checkpoint's id ----------------------------------------------------
#
# `by-date` and `by-plan` do not name the provider, so providers that share a bank find each other's checkpoints
# there: whoever lists them compares the provider of the index document.


def by_provider(provider_id: str, project_id: str, timestamp: int, checkpoint_id: str) -> str:
    return _key('indices', 'by-provider', provider_id, project_id, f'{timestamp}@{checkpoint_id}')


def by_provider_prefix(provider_id: str, project_id: str) -> str:
    return f'{_key("indices", "by-provider", provider_id, project_id)}/'


def by_date(date: str, project_id: str, timestamp: int, checkpoint_id: str) -> str:
    return _key('indices', 'by-date', date, project_id, f'{timestamp}@{checkpoint_id}')


def by_date_prefix(date: str, project_id: str) -> str:
    """``date`` is `YYYY-MM-DD`, in UTC."""
    return f'{_key("indices", "by-date", date, project_id)}/'


def by_plan(plan_id: str, project_id: str, date: str, timestamp: int, checkpoint_id: str) -> str:
    return _key('indices', 'by-plan', plan_id, project_id, date, f'{timestamp}@{checkpoint_id}')


def by_plan_prefix(plan_id: str, project_id: str) -> str:
    return f'{_key("indices", "by-plan", plan_id, project_id)}/'


# --- resources -------------------------------------------------------------------------------------------


def resource_keys(resources: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The key of each (type, id), in the graph's order: its id, or, for a further resource with that id, type and id.

    Each resource has a key of its own. One with a type is longer than any id that a plan may hold.
    """
    keys: dict[tuple[str, str], str] = {}
    taken = {id for _, id in resources}
    seen: set[str] = set()
    for type, id in resources:
        if (type, id) in keys:
            continue
        key = id
        if id in seen:
            key = f'{_segment(type)}@{id}'.rjust(ID_LIMIT + 1, '@')
            while key in taken:  # ids that no plan holds, but a cloud may, can look like one with a type
                key = f'@{key}'
        seen.add(id)
        taken.add(key)
        keys[type, id] = key
    return keys


def _segment(type: str) -> str:
    """``type`` in characters of keys, each type its own: a colon is a dash, others but letters and digits their code;
    a digest where that gets too long.
    """
    spelt = ''.join('-' if c == ':' else c if c.isalnum() and c.isascii() else f'_{ord(c):x}_' for c in type)
    return spelt if len(spelt) <= TYPE_LIMIT else hashlib.sha256(spelt.encode()).hexdigest()


# --- the index document ----------------------------------------------------------------------------------


def index_document(
    *,
    id: str,
    status: str,
    provider_id: str,
    project_id: str,
    protection_plan: dict[str, Any],
    extra_info: str | None,
    created_at: str,
    timestamp: int,
    resource_graph: str | None = None,
    installation_id: str | None = None,
    operation: str | None = None,
) -> dict[str, Any]:
    """The index document of a checkpoint. ``created_at`` is a date, ``timestamp`` seconds since 1970, both in UTC;
    ``extra_info`` and ``resource_graph`` are JSON texts; ``installation_id`` is the owner of 1.6; ``operation``,
    the id of the operation that wrote it last, is unknown to 1.6.
    """
    return {
        'version': VERSION,
        'id': id,
        'status': status,
        'owner_id': installation_id,
        'provider_id': provider_id,
        'project_id': project_id,
        'protection_plan': {**dict.fromkeys(('id', 'name', 'provider_id', 'resources')), **protection_plan},
        'extra_info': extra_info,
        'created_at': created_at,
        'timestamp': timestamp,
        **({'resource_graph': resource_graph} if resource_graph is not None else {}),
        **({'operation': operation} if operation is not None else {}),
    }


EXPECTED = (
    'status',
    'owner_id',
    'provider_id',
    'project_id',
    'extra_info',
    'created_at',
    'timestamp',
    'resource_graph',
)


def parse_index(document: Any) -> dict[str, Any]:
    """The index document that was read: what it lacks is None, the plan an empty object; what else it has stays.

    Raises BankError for one of another version, without an id, or none at all.
    """
    if not isinstance(document, dict) or document.get('version') != VERSION or not isinstance(document.get('id'), str):
        raise exception.BankError('the index of a checkpoint has an unknown form')
    plan = document.get('protection_plan')
    return {**dict.fromkeys(EXPECTED), **document, 'protection_plan': plan if isinstance(plan, dict) else {}}
