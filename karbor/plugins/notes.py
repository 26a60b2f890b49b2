# SPDX-License-Identifier: Apache-2.0
"""Notes that plugins leave in the bank: what a restore or delete needs to know of a copy."""

from collections.abc import Mapping
from typing import Any

import orjson

from karbor import exception
from karbor.plugins import tags
from karbor.plugins.banks.interface import Section


def save(section: Section, metadata: Mapping[str, Any]) -> None:
    """Note what a restore needs, as Karbor 1.6 did."""
    section.put_json('metadata', dict(metadata))
    section.put_text('status', 'available')


def load(section: Section, *required: str) -> dict[str, Any]:
    """What `save`, or Karbor 1.6, noted, with the ``required`` keys. Raises BankError."""
    noted = section.get_json('metadata')
    if isinstance(noted, str):  # Karbor 1.6 wrote JSON in JSON into some banks
        try:
            noted = orjson.loads(noted)
        except orjson.JSONDecodeError:
            noted = None
    if not isinstance(noted, dict) or any(noted.get(key) is None for key in required):
        raise exception.BankError('the metadata of a resource has an unknown form')
    return noted


def noted_id(section: Section, key: str) -> str:
    """The id that was noted under ``key``. Raises BankError for what cannot be one."""
    return id_in(load(section, key), key)


def id_in(noted: Mapping[str, Any], key: str) -> str:
    """The same of what `load` has read."""
    id = str(noted[key])
    if not tags.is_id(id):
        raise exception.BankError('the metadata of a resource has an unknown form')
    return id
