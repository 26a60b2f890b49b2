# SPDX-License-Identifier: Apache-2.0
"""Providers, as the protection services have published them."""

import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
import sqlalchemy as sa

from karbor import exception, heartbeat
from karbor.db import engine, models
from karbor.parameters import Schemas

BINARY = 'karbor-protection'
PROVIDER, SERVICE = models.Provider, models.Service


@dataclass
class Published:
    """A provider. ``schema_text`` is its `extended_info_schema` as JSON; ``is_up`` whether a host that has loaded it
    is alive; ``unavailable`` maps a plugin that could not be loaded to the reason.
    """

    id: str
    name: str
    description: str | None
    schema_text: str
    resource_types: Sequence[str]
    unavailable: dict[str, str] | None
    options: dict[str, Any] | None
    published_at: datetime.datetime
    is_up: bool

    def lack_of(self, type: str) -> str | None:
        """Why a resource of ``type`` cannot be in a plan: no plugin has it, and one that might could not be loaded."""
        containers = (self.options or {}).get('containers', ())
        if not self.unavailable or type in self.resource_types or type in containers:
            return None
        return '; '.join(f'{plugin}: {reason}' for plugin, reason in self.unavailable.items())

    @cached_property
    def schemas(self) -> dict[str, Schemas]:
        """The schemas by kind (`options_schema`, `restore_schema`, …), then by type."""
        return orjson.loads(self.schema_text)


_NEVER: tuple[float, list[Published]] = (float('-inf'), [])
_kept = _NEVER
KEPT_SECONDS = 1.0  # how long an answer of the database is good for: hosts come and go by minutes


def find(id: str | None = None) -> list[Published]:
    """All providers, or the one with this ``id``, ordered by id, as they were at most a second ago."""
    global _kept
    asked_at, found = _kept
    if time.monotonic() - asked_at > KEPT_SECONDS:
        found = _read()
        _kept = time.monotonic(), found
    return [provider for provider in found if id in (None, provider.id)]


def forget() -> None:
    """Ask the database at the next look, for tests that publish."""
    global _kept
    _kept = _NEVER


def _read() -> list[Published]:
    """Of several hosts that have a provider, the one that is up, and then the newest, tells. One statement."""
    query = (
        sa.select(
            PROVIDER.id,
            PROVIDER.name,
            PROVIDER.description,
            sa.type_coerce(PROVIDER.extended_info_schema, sa.Text).label('schema_text'),
            PROVIDER.resource_types,
            PROVIDER.unavailable,
            PROVIDER.options,
            PROVIDER.published_at,
            sa.case((SERVICE.updated_at >= heartbeat.alive_since(), 1), else_=0).label('is_up'),
        )
        .join(SERVICE, sa.and_(SERVICE.host == PROVIDER.host, SERVICE.binary == BINARY), isouter=True)
        .order_by(PROVIDER.id, sa.text('is_up DESC'), PROVIDER.published_at.desc())
    )
    with engine.reading() as session:
        rows = session.execute(query).all()
    found: dict[str, Published] = {}
    for row in rows:
        found.setdefault(row.id, Published(**(dict(row._mapping) | {'is_up': bool(row.is_up)})))
    return list(found.values())


def known(id: str) -> Published:
    """The provider, alive or not: what it has made stays readable. Raises ProviderNotFound."""
    for provider in find(id):
        return provider
    raise exception.ProviderNotFound(id=id)


def alive(id: str) -> Published:
    """The provider, if there is a host to work with it. Raises ProviderNotFound, ServiceUnavailable."""
    provider = known(id)
    if not provider.is_up:
        raise exception.ServiceUnavailable(service=BINARY)
    return provider
