# SPDX-License-Identifier: Apache-2.0
"""Ways out of an operation, for the operator: free or end what nobody goes on with, ask for the end of any other."""

from typing import Any

import sqlalchemy as sa
from oslo_utils import timeutils

from karbor import exception
from karbor.db import engine, models, repository
from karbor.protection import board, events, flows
from karbor.statuses import ResourceStatus

OPERATION = models.OperationLog
OF_1_6 = 'Karbor 1.6 left it unfinished'
GIVEN_UP = 'the operator ended it: no protection service went on with it'


def recover(operation_id: str, end: bool = False, act: bool = True) -> str:
    """What was done to an operation that nobody goes on with, or, without ``act``, what would be done.

    One of Karbor 1.6, or any with ``end``, ends in its failure word with a reason, and its checkpoint or restore with
    it. Any other is freed: whoever claims it goes on with it, or ends it if it cannot. Raises OperationLogNotFound, or
    Conflict for one that has ended, whose lease is alive, or that waits for anybody to claim it.
    """
    row = _found(operation_id)
    _refuse_if_alive(row, end)
    if end or row.owner is None:
        reason = row.error_info or _interrupted(OF_1_6 if row.owner is None else GIVEN_UP)
        if act and not _end(row, reason):
            raise _overtaken(row)
        if act:
            events.ended(row.id)
        return f'{row.operation_type} {row.id} ends as failed: {reason}'
    if act and not _swap(row, {'owner': board.ANYONE, 'expires_at': 0.0}):
        raise _overtaken(row)
    return f'{row.operation_type} {row.id}, which {row.owner} had, is free for any service with its provider'


def cancel(operation_id: str) -> None:
    """Ask whoever runs the operation, now or later, to cancel it. Raises OperationLogNotFound, or Conflict."""
    wanted = {'ended_at': None, 'owner': repository.Not(None)}
    if not repository.update(OPERATION, operation_id, {'cancel_requested': True}, **wanted):
        row = _found(operation_id)
        raise exception.Conflict(f'Operation {row.id} is of Karbor 1.6, nobody runs it: `operation recover` ends it.')


def _found(operation_id: str) -> Any:
    """The operation's columns, and the time of the database's clock. It has not ended."""
    query = sa.select(*OPERATION.__table__.c, board.now().label('now')).where(OPERATION.id == operation_id)
    with engine.reading() as session:
        row = session.execute(query).one_or_none()
    if row is None:
        raise exception.OperationLogNotFound(id=operation_id)
    if row.ended_at is not None:
        raise exception.Conflict(f'Operation {row.id} has ended: it is {row.status}.')
    return row


def _refuse_if_alive(row: Any, end: bool) -> None:
    if row.owner == board.ANYONE and not end:
        raise exception.Conflict(
            f'Operation {row.id} waits for any protection service that has provider {row.provider_id} and is up;'
            ' with --end it ends as failed.'
        )
    left = (row.expires_at or 0.0) - float(row.now)
    if row.owner and left > 0:
        raise exception.Conflict(f'{row.owner} has operation {row.id}: its lease lasts another {left:.1f} s.')


def _interrupted(detail: str) -> str:
    return exception.BackendFault('interrupted', 'karbor', detail=detail).text


def _overtaken(row: Any) -> exception.Conflict:
    return exception.Conflict(f'Operation {row.id} was claimed or ended meanwhile; look again.')


def _swap(row: Any, values: dict[str, Any]) -> bool:
    """Whether the operation was as ``row`` and is as ``values`` now, with an epoch that fences its last owner off."""
    as_it_was = {'ended_at': None, 'epoch': row.epoch, 'owner': row.owner, 'expires_at': row.expires_at}
    return repository.update(OPERATION, row.id, {**values, 'epoch': row.epoch + 1}, **as_it_was)


@engine.repeated
def _end(row: Any, reason: str) -> bool:
    now = timeutils.utcnow()
    failed = {'status': ResourceStatus.ERROR, 'status_details': reason[:4096], 'progress': None, 'ended_at': now}
    with engine.writing():
        if not _swap(row, {}):
            return False
        repository.update_all(models.OperationResource, failed, operation_id=row.id, status=ResourceStatus.BUILD)
        flows.write_end(row, reason, now)
        return True
