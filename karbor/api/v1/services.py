# SPDX-License-Identifier: Apache-2.0
"""The services of all nodes: whether each is up, and whether an operation engine may claim anything."""

from typing import Any

from oslo_utils import timeutils

from karbor import exception, heartbeat
from karbor.api import listing, schema, views
from karbor.api.method import Call, method
from karbor.db import engine, models, repository

SERVICE = models.Service
ENGINE = 'karbor-operationengine'
MOST = 2**31 - 1  # that the column of ids can hold
ENABLED, DISABLED = 'enabled', 'disabled'
UPDATE = {
    'type': 'object',
    'required': ['status'],
    'properties': {'status': {'enum': [ENABLED, DISABLED]}, 'disabled_reason': schema.DESCRIPTION},
    'additionalProperties': False,
}
SHOWN = {
    'id': {'type': 'integer'},
    'binary': schema.NULLABLE_TEXT,
    'host': schema.NULLABLE_TEXT,
    'status': {'enum': [ENABLED, DISABLED]},
    'state': {'enum': ['up', 'down']},
    'updated_at': schema.MOMENT,
    'disabled_reason': schema.NULLABLE_TEXT,
}


@method(
    'service:get_all',
    query={'host': listing.MANY, 'binary': listing.MANY},
    reply=schema.replies('services', **SHOWN),
)
def index(call: Call) -> dict[str, Any]:
    """List the services of all nodes."""
    filters = {name: listing.exactly(values) for name, values in call.query.items()}
    return {'services': [_view(row) for row in repository.find(SERVICE, None, filters, [('id', 'asc')])]}


@method(
    'service:update',
    body=UPDATE,
    reply=schema.reply('service', **SHOWN),
    path={'id': {'type': 'integer', 'minimum': 0, 'maximum': MOST}},
)
def update(call: Call, id: str) -> dict[str, Any]:
    """Enable or disable an operation engine: a disabled one goes on reporting, and claims nothing.

    A reason stays until the engine is enabled, or disabled without one.
    """
    disabled, reason = call.body['status'] == DISABLED, call.body.get('disabled_reason')
    if reason is not None and not disabled:
        raise exception.InvalidInput(field='disabled_reason', reason='can only be given with status disabled')
    with engine.writing():
        row = _locked(id)
        if row.binary != ENGINE:
            told = f'{id} is {row.binary}; only {ENGINE} can be enabled and disabled'
            raise exception.InvalidInput(field='id', reason=told)
        # When it has reported for the last time is not touched: it would look as if it were up.
        values = {'disabled': disabled, 'disabled_reason': reason, 'updated_at': row.updated_at}
        changed = {'modified_at': timeutils.utcnow()} if bool(row.disabled) != disabled else {}
        repository.update(SERVICE, row.id, values | changed)
        return {'service': _view(row) | {'status': call.body['status'], 'disabled_reason': reason}}


def _locked(id: str) -> Any:
    """The service, that nobody else writes meanwhile. Raises InvalidInput, ServiceNotFound."""
    if not (id.isascii() and id.isdigit()):
        raise exception.InvalidInput(field='id', reason='must be a whole number')
    row = repository.lock(SERVICE, int(id)) if int(id[:12]) <= MOST else None
    if row is None:
        raise exception.ServiceNotFound(id=id)
    return row


def _view(row: Any) -> dict[str, Any]:
    return {
        'id': row.id,
        'binary': row.binary,
        'host': row.host,
        'status': DISABLED if row.disabled else ENABLED,
        'state': 'up' if heartbeat.is_up(row) else 'down',
        'updated_at': views.moment(row.updated_at),
        'disabled_reason': row.disabled_reason,
    }
