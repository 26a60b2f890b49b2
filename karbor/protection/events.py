# SPDX-License-Identifier: Apache-2.0
"""What notifications tell of an operation: `karbor.<operation type>.start` once it is begun, and `.end` or `.error`
once its end is written.
"""

import datetime
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exception
from oslo_log import log

from karbor import notifications, statuses
from karbor.db import engine, models, repository

LOG = log.getLogger(__name__)
BINARY = 'karbor-protection'
RESOURCE = models.OperationResource
_IDS = ('checkpoint_id', 'plan_id', 'provider_id', 'restore_id', 'verification_id', 'scheduled_operation_id')


def started(operation: models.OperationLog) -> None:
    """Tell of ``operation``, as it was claimed and now is begun, unless a run before this one has begun it."""
    if notifications.is_on() and operation.status_details in (statuses.ACCEPTED, statuses.ACCEPTED_AGAIN):
        running = {'status': statuses.running(operation.operation_type), 'resources': None}
        notifications.send(BINARY, f'{operation.operation_type}.start', _payload(operation) | running)


def ended(operation_id: str) -> None:
    """Tell of an operation whose end is written. What is told is read now: a retry opens the operation again."""
    if not notifications.is_on():
        return
    try:
        operation = repository.get(models.OperationLog, operation_id)
        if operation is not None and operation.ended_at is not None:
            _tell_end(operation)
    except (db_exception.DBError, *engine.PASSING_FAULTS) as fault:
        LOG.warning('Nobody was notified of the end of operation %s: %s', operation_id, fault)


def _tell_end(operation: models.OperationLog) -> None:
    payload = _payload(operation) | {'resources': _counts(operation.id)}
    if operation.status == statuses.failed(operation.operation_type):
        failed: dict[str, Any] = {'message': operation.error_info or operation.status_details, 'exception': []}
        notifications.send(BINARY, f'{operation.operation_type}.error', payload | failed)
    else:
        notifications.send(BINARY, f'{operation.operation_type}.end', payload)


def _payload(operation: models.OperationLog) -> dict[str, Any]:
    return {
        'operation_id': operation.id,
        'operation_type': operation.operation_type,
        'tenant_id': operation.project_id,
        'user_id': operation.user_id,
        'request_id': operation.request_id,
        'client_ip': None,
        **{name: getattr(operation, name) for name in _IDS},
        'status': operation.status,
        'started_at': _moment(operation.started_at),
        'ended_at': _moment(operation.ended_at),
    }


def _counts(operation_id: str) -> dict[str, int]:
    """How many resources there are by status; `unreported` those whose plugin tells none."""
    query = sa.select(RESOURCE.status, sa.func.count()).where(RESOURCE.operation_id == operation_id)
    with engine.reading() as session:
        found = {status: count for status, count in session.execute(query.group_by(RESOURCE.status))}
    counts = {word: found.get(word, 0) for word in ('active', 'build', 'error')} | {'unreported': found.get(None, 0)}
    return counts | {'total': sum(found.values())}


def _moment(time: datetime.datetime | None) -> str | None:
    return time.isoformat(timespec='microseconds') if time else None
