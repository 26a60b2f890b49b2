# SPDX-License-Identifier: Apache-2.0
"""Hand an operation to the protection service: what a request of the API and a run of a schedule both do.

The ids are made before the call, so that accepting is idempotent on them: after a time-out the row tells
whether the operation was accepted. One that was not is ruled out then, for a request that is still
on its way to the service: who is told to try again later does not get two. An operation gets its id from
that of the checkpoint or restore that it makes: who asks ``again`` for the same one gets the same operation.
"""

import itertools
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from oslo_db import exception as db_exception
from oslo_utils import timeutils, uuidutils

from karbor import exception, statuses
from karbor.context import RequestContext
from karbor.db import engine, models, repository
from karbor.objects.checkpoint import Checkpoint
from karbor.objects.plan import Plan
from karbor.objects.restore import Restore
from karbor.objects.verification import Verification
from karbor.rpc.protection import ProtectionClient
from karbor.statuses import OperationType

Result = TypeVar('Result')

# For how long the outcome of a call is looked up in a database that does not answer, and how often.
OUTCOME_SECONDS, LOOK_SECONDS = 10.0, 0.2

_protection = ProtectionClient()


def protect(
    context: RequestContext,
    plan: Plan,
    extra_info: dict[str, Any] | None = None,
    id: str | None = None,
    again: bool = False,
) -> Checkpoint:
    """The new checkpoint of ``plan``, in `protecting`, with ``id`` if there is one. ``again``: an earlier call with
    this id may have been accepted; then this is its checkpoint, as it is now. Raises OverQuota, ProviderNotFound,
    ServiceUnavailable.
    """
    checkpoint_id = id or uuidutils.generate_uuid()
    properties = {'extra_info': extra_info or {'created_by': 'manual'}}
    _accepted(
        context,
        OperationType.PROTECT,
        lambda id: _protection.protect(context, plan, checkpoint_id, id, properties),
        operation_ids(checkpoint_id),
        again,
    )
    return patiently(lambda: Checkpoint.get(checkpoint_id))


def restore(context: RequestContext, restore: Restore, again: bool = False) -> Restore:
    """``restore`` as accepted, in `in_progress`. ``again``: an earlier call with its id may have been accepted; then
    this is that restore, as it is now. Raises CheckpointNotFound, CheckpointInvalidState, ServiceUnavailable.
    """
    _accepted(
        context,
        OperationType.RESTORE,
        lambda id: _protection.restore(context, restore, id),
        operation_ids(restore.id),
        again,
    )
    return patiently(lambda: Restore.get(restore.id))


def verify(context: RequestContext, verification: Verification, again: bool = False) -> Verification:
    """As `restore`."""
    _accepted(
        context,
        OperationType.VERIFY,
        lambda id: _protection.verification(context, verification, id),
        operation_ids(verification.id),
        again,
    )
    return patiently(lambda: Verification.get(verification.id))


def copy(
    context: RequestContext,
    plan: Plan,
    checkpoint_ids: Sequence[str],
    parameters: dict[str, Any],
    id: str | None = None,
    again: bool = False,
) -> dict[str, str]:
    """The id of the new copy, in `wait_copying`, of each of these checkpoints of ``plan``: all are accepted or none.
    ``again``: an earlier call with this ``id`` may have been accepted; then these are its copies.

    Raises CheckpointNotFound, CheckpointInvalidState, CheckpointInUse, CopyUnsupported, OverQuota, ServiceUnavailable.
    """
    new = uuidutils.generate_uuid
    copies = [
        {'checkpoint_id': checkpoint_id, 'copy_id': new(), 'operation_id': new()} for checkpoint_id in checkpoint_ids
    ]

    def submit(id: str) -> None:
        # One transaction accepts them: what is known of the first holds for all.
        if copies:
            _protection.copy(context, plan, [copies[0] | {'operation_id': id}, *copies[1:]], parameters)

    first = _accepted(context, OperationType.COPY, submit, operation_ids(id or new()), again)
    return patiently(lambda: _copies(first))


def _copies(operation_id: str) -> dict[str, str]:
    """The copy of each checkpoint, of the request that made this operation; empty if it made none."""
    first = repository.get(models.OperationLog, operation_id)
    if first is None:
        return {}
    same = {name: getattr(first, name) for name in ('request_id', 'project_id', 'plan_id', 'operation_type')}
    columns = ['source_checkpoint_id', 'checkpoint_id']
    rows = repository.find(models.OperationLog, columns, same, [('created_at', 'asc'), ('id', 'asc')])
    return {row.source_checkpoint_id: row.checkpoint_id for row in rows}


def delete(context: RequestContext, checkpoint: Checkpoint) -> None:
    """Begin to delete the checkpoint. Raises CheckpointInvalidState, CheckpointInUse, ServiceUnavailable."""
    _accepted(
        context,
        OperationType.DELETE,
        lambda id: _protection.delete(context, checkpoint.provider_id, checkpoint.id, id),
        operation_ids(uuidutils.generate_uuid()),
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


def operation_ids(id: str) -> Iterator[str]:
    """The ids of the operation that makes the object ``id``: the first that was not ruled out is the one."""
    return (str(uuid.uuid5(uuid.UUID(id), f'operation {number}')) for number in itertools.count())


def _accepted(
    context: RequestContext,
    type: OperationType,
    submit: Callable[[str], None],
    ids: Iterator[str],
    again: bool = False,
) -> str:
    """Submit with the first of ``ids``, and answer it; an answer that did not come is looked for in the database.
    ``again``: unless one was accepted, with the first that was not ruled out.
    """
    operation_id = next(ids)
    while again and (row := _row(operation_id)) is not None:
        if not row.deleted:
            return operation_id
        operation_id = next(ids)
    try:
        submit(operation_id)
    except exception.ServiceUnavailable:
        if not patiently(lambda: _was_accepted(context, type, operation_id)):
            raise
    return operation_id


def _row(operation_id: str) -> Any:
    """The operation, or what rules it out; None if it was never heard of."""
    return repository.get(models.OperationLog, operation_id, deleted=repository.OneOf((True, False)))


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
            row = _row(operation_id)
            if row is not None and not row.deleted:
                return True
            if row is None:
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
