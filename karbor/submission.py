# SPDX-License-Identifier: Apache-2.0
"""Hand an operation to the protection service: what a request of the API and a run of a schedule both do.

The ids are made here, so that accepting is idempotent on them: after a time-out the row tells
whether the operation was accepted. One that was not is ruled out then, for a request that is still
on its way to the service: who is told to try again later does not get two.
"""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from oslo_db import exception as db_exception
from oslo_utils import timeutils, uuidutils

from karbor import exception, statuses
from karbor.context import RequestContext
from karbor.db import engine, models, repository
from karbor.objects.checkpoint import Checkpoint
from karbor.objects.plan import Plan
from karbor.objects.restore import Restore
from karbor.rpc.protection import ProtectionClient
from karbor.statuses import OperationType

Result = TypeVar('Result')

# For how long the outcome of a call is looked up in a database that does not answer, and how often.
OUTCOME_SECONDS, LOOK_SECONDS = 10.0, 0.2

_protection = ProtectionClient()


def protect(context: RequestContext, plan: Plan, extra_info: dict[str, Any] | None = None) -> Checkpoint:
    """The new checkpoint of ``plan``, in `protecting`. Raises OverQuota, ProviderNotFound, ServiceUnavailable."""
    checkpoint_id = uuidutils.generate_uuid()
    properties = {'extra_info': extra_info or {'created_by': 'manual'}}
    _accepted(
        context,
        OperationType.PROTECT,
        lambda id: _protection.protect(context, plan, checkpoint_id, id, properties),
    )
    return patiently(lambda: Checkpoint.get(checkpoint_id))


def restore(context: RequestContext, restore: Restore) -> Restore:
    """``restore`` as accepted, in `in_progress`. Raises CheckpointNotFound, CheckpointInvalidState,
    ServiceUnavailable.
    """
    _accepted(context, OperationType.RESTORE, lambda id: _protection.restore(context, restore, id))
    return patiently(lambda: Restore.get(restore.id))


def delete(context: RequestContext, checkpoint: Checkpoint) -> None:
    """Begin to delete the checkpoint. Raises CheckpointInvalidState, CheckpointInUse, ServiceUnavailable."""
    _accepted(
        context,
        OperationType.DELETE,
        lambda id: _protection.delete(context, checkpoint.provider_id, checkpoint.id, id),
    )


def retry(context: RequestContext, operation_id: str) -> None:
    """Take up the failed resources of the operation again. Raises OperationInvalidState, CheckpointInvalidState,
    CheckpointInUse, ServiceUnavailable.
    """
    try:
        _protection.retry(context, operation_id)
    except exception.ServiceUnavailable:
        operation = repository.get(models.OperationLog, operation_id)
        if operation is None or operation.ended_at is not None:
            raise


def cancel(operation_id: str) -> None:
    """Let the operation end soon, and what it has made be removed; whoever runs it sees the mark within a second.

    Raises OperationInvalidState when it has ended, or is one of Karbor 1.6, which nobody runs.
    """
    values = {'cancel_requested': True, 'status_details': statuses.CANCELLING}
    if repository.update(models.OperationLog, operation_id, values, ended_at=None, owner=repository.Not(None)):
        return
    operation = repository.get(models.OperationLog, operation_id)
    if operation is None:
        raise exception.OperationLogNotFound(id=operation_id)
    told = {'id': operation_id, 'operation_type': operation.operation_type, 'state': operation.status}
    raise exception.OperationInvalidState(needed='cancel needs one that has not ended', **told)


def reset_state(context: RequestContext, checkpoint: Checkpoint, state: str) -> None:
    """Set the state of a checkpoint that nothing works on. Raises InvalidInput, CheckpointInUse, ServiceUnavailable."""
    _protection.reset_state(context, checkpoint.provider_id, checkpoint.id, state)


def _accepted(context: RequestContext, type: OperationType, submit: Callable[[str], None]) -> None:
    """Submit with a new operation id; an answer that did not come is looked for in the database."""
    operation_id = uuidutils.generate_uuid()
    try:
        submit(operation_id)
    except exception.ServiceUnavailable:
        if not patiently(lambda: _was_accepted(context, type, operation_id)):
            raise


@engine.repeated
def _was_accepted(context: RequestContext, type: OperationType, operation_id: str) -> bool:
    """Whether there is the operation. If not, there never will be: a deleted row takes its place."""
    now = timeutils.utcnow()
    never = models.OperationLog(
        id=operation_id,
        project_id=context.project_id,
        operation_type=type,
        status=statuses.failed(type),
        user_id=context.user_id,
        request_id=context.request_id,
        status_details='not accepted in time',
        ended_at=now,
        deleted=True,
        deleted_at=now,
    )
    try:
        with engine.writing():
            if repository.get(models.OperationLog, operation_id) is not None:
                return True
            if repository.get(models.OperationLog, operation_id, deleted=True) is None:
                repository.create(never)
    except db_exception.DBDuplicateEntry:  # written a moment ago: by the service, or by a first try of ours
        return repository.get(models.OperationLog, operation_id) is not None
    return False


def patiently(look: Callable[[], Result]) -> Result:
    """What ``look`` finds in the database, which may be away just now. For what is read once a request may have been
    accepted: who is told to try again then would get two operations.
    """
    end = time.monotonic() + OUTCOME_SECONDS
    while True:
        try:
            return look()
        except engine.PASSING_FAULTS:
            if time.monotonic() > end:
                raise
            time.sleep(LOOK_SECONDS)
