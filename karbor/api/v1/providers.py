# SPDX-License-Identifier: Apache-2.0
"""Providers: what the living protection services have loaded."""

from typing import Any

from karbor import exception
from karbor.api import listing, published, schema, views
from karbor.api.method import Call, method
from karbor.db import models

SHOWN = {
    'id': schema.UUID,
    'name': {'type': 'string'},
    'description': schema.NULLABLE_TEXT,
    'extended_info_schema': schema.OBJECT,
}
PROVIDERS = listing.Collection(
    'providers',
    models.Provider,
    filters={'name': listing.exactly, 'description': listing.exactly},
    option='query_provider_filters',
    sorts={'id': 'id', 'name': 'name', 'created_at': 'published_at'},
    default_sort='id:asc',
    ties=('id',),
)


@method('provider:get_all', query=PROVIDERS.query, reply=schema.replies('providers', **SHOWN))
def index(call: Call) -> dict[str, Any]:
    """List the providers that are up."""
    found = [provider for provider in published.find() if provider.is_up]
    return PROVIDERS.reply(call, [_view(provider) for provider in PROVIDERS.select(call, found)])


@method('provider:get', reply=schema.reply('provider', **SHOWN))
def show(call: Call, provider_id: str) -> dict[str, Any]:
    """Show a provider that is up."""
    provider = published.known(provider_id)
    if not provider.is_up:
        raise exception.ProviderNotFound(id=provider_id)
    return {'provider': _view(provider)}


def _view(provider: published.Published) -> dict[str, Any]:
    return {
        'id': provider.id,
        'name': provider.name,
        'description': provider.description,
        'extended_info_schema': views.stored(provider.schema_text, {}),
    }
