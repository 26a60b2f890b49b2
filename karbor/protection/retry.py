# SPDX-License-Identifier: Apache-2.0
"""Taking up a failed operation again: its failed resources, as their next attempt."""

from typing import Any

from karbor import exception, statuses
from karbor.db import models, repository
from karbor.objects.checkpoint import Checkpoint
from karbor.objects.operation_log import OperationLog
from karbor.statuses import CheckpointStatus, OperationType, ResourceStatus, RestoreStatus, failed, running

RESOURCE = models.OperationResource
# What can be taken up again, and what its checkpoint has to be in. A failed protect keeps nothing to go on with.
RETRIED = {
    OperationType.RESTORE: CheckpointStatus.AVAILABLE,
    OperationType.DELETE: CheckpointStatus.ERROR_DELETING,
}


def require(operation: OperationLog, checkpoint: Checkpoint) -> None:
    """Raise OperationInvalidState or CheckpointInvalidState unless the operation can be taken up again."""
    word = operation.operation_type
    if word not in RETRIED:
        needed = f'retry needs {" or ".join(RETRIED)}; begin a new {word} instead'
        raise exception.OperationInvalidState(
            id=operation.id, operation_type=word, state=operation.status, needed=needed
        )
    if operation.ended_at is None or operation.status != failed(word):
        state = operation.status
        needed = f'retry needs one that ended in {failed(word)}'
        raise exception.OperationInvalidState(id=operation.id, operation_type=word, state=state, needed=needed)
    allowed = RETRIED[OperationType(word)]
    if checkpoint.checkpoint_status != allowed:
        state = checkpoint.checkpoint_status
        raise exception.CheckpointInvalidState(id=checkpoint.id, state=state, action='retry', allowed=allowed)


def accept(operation: OperationLog, values: dict[str, Any]) -> None:
    """Open the operation again, with ``values`` of who asked and how it is posted, in the caller's transaction.

    The attempt of each failed resource is one higher: what the last one left behind is not taken for its own.
    """
    again = {
        'attempt': RESOURCE.attempt + 1,
        'hooks': 0,
        **dict.fromkeys(('status', 'status_details', 'progress', 'handle', 'new_id', 'started_at', 'ended_at')),
    }
    repository.update_all(RESOURCE, again, operation_id=operation.id, status=ResourceStatus.ERROR)
    word = running(operation.operation_type)
    opened = {'status': word, 'status_details': statuses.ACCEPTED_AGAIN, 'cancel_requested': False}
    opened |= dict.fromkeys(('error_info', 'ended_at'))
    repository.update(models.OperationLog, operation.id, opened | values)
    if operation.operation_type == OperationType.DELETE:
        repository.update(models.CheckpointRecord, operation.checkpoint_id, {'checkpoint_status': word})
    if operation.restore_id:
        repository.update(models.Restore, operation.restore_id, {'status': RestoreStatus.IN_PROGRESS})
