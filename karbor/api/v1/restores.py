# SPDX-License-Identifier: Apache-2.0
"""Restores: a checkpoint's resources made anew."""

from typing import Any

from karbor import exception, submission
from karbor.api import events, schema
from karbor.api.method import Call, method
from karbor.api.v1 import records, resources
from karbor.objects import operation_resource
from karbor.objects.restore import Restore
from karbor.statuses import OperationType

CREATE = schema.envelope(
    'restore',
    required=('provider_id', 'checkpoint_id', 'parameters'),
    provider_id=schema.UUID,
    checkpoint_id=schema.UUID,
    parameters=schema.PARAMETERS,
    restore_target={'type': ['string', 'null']},
    restore_auth=schema.METADATA,
)
SHOWN = {
    **records.SHOWN,
    'restore_target': schema.NULLABLE_TEXT,
    **dict.fromkeys(operation_resource.SEED_MAPS, records.MAP),
}
RESTORES = records.Records('restore', Restore, OperationType.RESTORE, SHOWN)


@method('restore:get_all', query=RESTORES.collection.query, reply=schema.replies('restores', **SHOWN))
def index(call: Call) -> dict[str, Any]:
    """List restores."""
    return RESTORES.index(call)


@method(
    'restore:create',
    body=CREATE,
    reply=schema.reply('restore', **SHOWN),
    event=events.Event(
        'restore_create',
        parameters=events.given('restore', 'parameters'),
        checkpoint_id=events.given('restore', 'checkpoint_id'),
    ),
    faults=(404,),
)
def create(call: Call) -> dict[str, Any]:
    """Restore an available checkpoint: the reply is the restore, in `in_progress`."""
    given = call.body['restore']
    _refuse_other_cloud(given)
    accepted = submission.restore(call.context, RESTORES.new(call, given), call.again)
    return submission.patiently(lambda: RESTORES.accepted(call, accepted.id))


@method('restore:get', reply=schema.reply('restore', **SHOWN, resources=resources.LIST))
def show(call: Call, restore_id: str) -> dict[str, Any]:
    """Show a restore with its resources."""
    return RESTORES.show(call, restore_id)


def _refuse_other_cloud(given: dict[str, Any]) -> None:
    """Karbor restores where it protects. What clients send along for that may be there as long as it is empty."""
    auth = given.get('restore_auth') or {}
    if given.get('restore_target') or auth.get('username') or auth.get('password'):
        raise exception.BadRequest('restore_target, restore_auth: restore to another cloud is not supported yet.')
