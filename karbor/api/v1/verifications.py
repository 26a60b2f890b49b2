# SPDX-License-Identifier: Apache-2.0
"""Verifications: whether the copies of a checkpoint are still good."""

from typing import Any

from karbor import submission
from karbor.api import events, schema
from karbor.api.method import Call, method
from karbor.api.v1 import records, resources
from karbor.objects.verification import Verification
from karbor.statuses import OperationType

CREATE = schema.envelope(
    'verification',
    required=('provider_id', 'checkpoint_id'),
    provider_id=schema.UUID,
    checkpoint_id=schema.UUID,
    parameters=schema.PARAMETERS | {'type': ['object', 'null']},
)
SHOWN = records.SHOWN
VERIFICATIONS = records.Records('verification', Verification, OperationType.VERIFY, SHOWN)


@method('verification:get_all', query=VERIFICATIONS.collection.query, reply=schema.replies('verifications', **SHOWN))
def index(call: Call) -> dict[str, Any]:
    """List verifications."""
    return VERIFICATIONS.index(call)


@method(
    'verification:create',
    body=CREATE,
    reply=schema.reply('verification', **SHOWN),
    event=events.Event(
        'verification_create',
        parameters=events.given('verification', 'parameters'),
        checkpoint_id=events.given('verification', 'checkpoint_id'),
    ),
    faults=(404,),
)
def create(call: Call) -> dict[str, Any]:
    """Verify an available checkpoint: the reply is the verification, in `in_progress`."""
    accepted = submission.verify(call.context, VERIFICATIONS.new(call, call.body['verification']), call.again)
    return submission.patiently(lambda: VERIFICATIONS.accepted(call, accepted.id))


@method('verification:get', reply=schema.reply('verification', **SHOWN, resources=resources.LIST))
def show(call: Call, verification_id: str) -> dict[str, Any]:
    """Show a verification with its resources."""
    return VERIFICATIONS.show(call, verification_id)
