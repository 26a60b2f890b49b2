# SPDX-License-Identifier: Apache-2.0
"""What restores and verifications share: each is the record of an operation that uses an available checkpoint."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from karbor import exception, parameters, policies, statuses
from karbor.api import listing, published, schema, views
from karbor.api.method import Call
from karbor.api.v1 import resources
from karbor.db import models, repository
from karbor.objects import base, operation_resource
from karbor.statuses import CheckpointStatus, OperationType, RestoreStatus

LOG = models.OperationLog
MAP = {'type': 'object', 'additionalProperties': {'type': 'string'}}
SHOWN = {
    'id': schema.UUID,
    **dict.fromkeys(('project_id', 'provider_id', 'checkpoint_id'), schema.NULLABLE_TEXT),
    'parameters': schema.OBJECT,
    'status': {'enum': list(RestoreStatus)},
    'status_details': schema.NULLABLE_TEXT,
    **dict.fromkeys(operation_resource.SHIPPED_MAPS, MAP),
}


class Records:
    """The records of one kind of operation: ``noun`` is their name in paths and policies, ``made`` their class.

    ``shown`` are the properties of one in a reply: those of `SHOWN`, the maps of the kind, and columns.
    """

    def __init__(
        self, noun: str, made: type[base.KarborObject], operation_type: OperationType, shown: dict[str, Any]
    ) -> None:
        self.noun, self.made, self.operation_type, self.shown = noun, made, operation_type, shown
        self.collection = listing.Collection(
            f'{noun}s',
            made.model,
            filters=dict.fromkeys(('status', 'checkpoint_id', 'provider_id'), listing.exactly),
            option=f'query_{noun}_filters',
            added=frozenset(['checkpoint_id', 'provider_id']),
            sorts={'id': 'id', 'name': 'created_at', 'status': 'status', 'created_at': 'created_at'},
        )
        table: Any = made.model
        stored = [column for column in (table.parameters, table.resources_status, table.resources_reason)]
        self._plain = [name for name in shown if name in table.__table__.c and name not in {c.key for c in stored}]
        self.columns = (
            *self._plain,
            *map(views.as_text, stored),
            self._of_operation(LOG.status_details).label('status_details'),
            self._of_operation(LOG.id).label('operation_id'),
        )

    def _of_operation(self, column: Any) -> Any:
        """A column of the record's operation, as a column of the record."""
        table: Any = self.made.model
        link = getattr(LOG, f'{self.noun}_id')
        wanted = sa.select(column).where(link == table.id, LOG.deleted == sa.false()).limit(1)
        return wanted.correlate(table).scalar_subquery()

    # -- what the methods of the API answer

    def index(self, call: Call) -> dict[str, Any]:
        """A page of them."""
        return self.collection.reply(call, self._views(self.collection.read(call, self.columns)))

    def show(self, call: Call, id: str) -> dict[str, Any]:
        """One of them with its resources. Raises NotFound of their kind."""
        rows = self._rows(id)
        if not rows or not policies.allows(f'{self.noun}:get', call.context, rows[0].project_id):
            raise self.made.not_found(id=id)
        return {self.noun: self._views(rows)[0] | {'resources': resources.of_operation(rows[0].operation_id)}}

    def accepted(self, call: Call, id: str) -> dict[str, Any]:
        """One that was accepted just now, or by an earlier attempt of ``call``: that as it is now. A small one may be
        done: it is told as it was accepted, which is what callers compare.
        """
        shown = self._views(self._rows(id))[0]
        as_accepted = {'status': RestoreStatus.IN_PROGRESS, 'status_details': statuses.ACCEPTED}
        return {self.noun: shown if call.again else shown | as_accepted}

    def new(self, call: Call, given: dict[str, Any]) -> Any:
        """What ``given`` of a body asks for, in `in_progress`; not written yet. Raises ProviderNotFound,
        ServiceUnavailable, CheckpointNotFound, CheckpointInvalidState, InvalidInput.
        """
        provider = published.alive(given['provider_id'])
        self._check_checkpoint(call, provider.id, given['checkpoint_id'])
        schemas = provider.schemas[f'{self.operation_type}_schema']
        return self.made.new(
            id=call.id,
            project_id=call.context.project_id,
            provider_id=provider.id,
            checkpoint_id=given['checkpoint_id'],
            parameters=parameters.checked(given.get('parameters'), schemas, (), f'{self.noun}/parameters'),
            status=RestoreStatus.IN_PROGRESS,
        )

    def _check_checkpoint(self, call: Call, provider_id: str, checkpoint_id: str) -> None:
        """The protection service looks again, with the row locked: this saves a call, and hides what is another's."""
        wanted = {'id': checkpoint_id, 'provider_id': provider_id}
        for row in repository.find(models.CheckpointRecord, ['project_id', 'checkpoint_status'], wanted):
            if not policies.allows('provider:checkpoint_get', call.context, row.project_id):
                break
            if row.checkpoint_status != CheckpointStatus.AVAILABLE:
                told = {'state': row.checkpoint_status, 'allowed': CheckpointStatus.AVAILABLE}
                raise exception.CheckpointInvalidState(id=checkpoint_id, action=self.operation_type, **told)
            return
        raise exception.CheckpointNotFound(id=checkpoint_id)

    # -- views

    def _rows(self, id: str) -> Sequence[Any]:
        return repository.find(self.made.model, self.columns, {'id': id})

    def _views(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """The views of these rows; what is known of their resources takes one statement."""
        known: dict[str, list[Any]] = defaultdict(list)
        for resource in operation_resource.of_operations([row.operation_id for row in rows if row.operation_id]):
            known[resource.operation_id].append(resource)
        return [self._view(row, known[row.operation_id]) for row in rows]

    def _view(self, row: Any, known: Sequence[Any]) -> dict[str, Any]:
        values = {name: getattr(row, name) for name in (*self._plain, 'status_details')}
        values['parameters'] = views.stored(row.parameters, {})
        values |= operation_resource.maps(known, self.operation_type) if row.operation_id else _stored_maps(row)
        return {name: values.get(name, {}) for name in self.shown}


def _stored_maps(row: Any) -> dict[str, Any]:
    """Karbor 1.6 kept its two maps with the record, and nothing else."""
    return {name: views.stored(getattr(row, name), {}) for name in operation_resource.SHIPPED_MAPS}
