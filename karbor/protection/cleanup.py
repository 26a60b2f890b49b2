# SPDX-License-Identifier: Apache-2.0
"""What a failed operation leaves in back ends is removed; what cannot be removed is told."""

import time
from collections.abc import Sequence
from concurrent import futures
from typing import Any

from oslo_config import cfg
from oslo_log import log

from karbor import exception, statuses
from karbor.clients import fault
from karbor.db import models, repository
from karbor.plugins.interface import Work
from karbor.protection.run import Interrupted, Run
from karbor.statuses import OperationType, ResourceStatus

CONF = cfg.CONF
LOG = log.getLogger(__name__)
PAUSE_SECONDS, LONGEST_PAUSE = 0.5, 10.0
REMOVED = 'removed again, since the operation %s'
LEFT = 'may be left: %s'
TOO_SLOW = 'it was not gone in time'
UNKNOWN = 'whether anything was made is not known'
INTERRUPTED = 'interrupted, since the operation ended before its time'
_MAKING = (OperationType.PROTECT, OperationType.RESTORE, OperationType.COPY)  # they leave something new in a back end


def after_failure(run: Run, reason: str) -> str:
    """Clean up after an operation that ends before its time. ``reason``, with what is left.

    A failed protect or copy keeps nothing; any other keeps what is active, and loses what is half made. A cancelled
    restore loses what it has made since it was last begun.
    """
    rows = _unwanted(run)
    left = _cancel_all(run, rows)
    makes = run.operation_type in _MAKING
    gone = REMOVED % ('was cancelled' if run.cancelled.is_set() else 'failed') if makes else INTERRUPTED
    with run.guarded():
        for row in rows:
            if row.status != ResourceStatus.ERROR and (row.started_at is not None or row.position in left):
                values = {
                    'status': ResourceStatus.ERROR,
                    'progress': None,
                    'status_details': LEFT % left[row.position] if row.position in left else gone,
                }
                repository.update(models.OperationResource, (run.id, row.position), values)
    return _with_left(reason, [row for row in rows if row.position in left])


def _unwanted(run: Run) -> list[Any]:
    """The resources that were begun, without those that the operation keeps."""
    rows = _begun(run, _rows(run))
    if run.makes_checkpoint:
        return rows
    makes, attempt = run.operation_type in _MAKING, max((row.attempt for row in rows), default=1)
    goes = run.cancelled.is_set() and makes
    return [row for row in rows if row.status != ResourceStatus.ACTIVE or (goes and row.attempt == attempt)]


def _begun(run: Run, rows: Sequence[Any]) -> list[Any]:
    """Those of ``rows`` that were begun, or may have been: by a worker that has died before it wrote so."""
    unknown = run.operation.epoch > 1 and run.operation_type in _MAKING
    return [row for row in rows if unknown or row.started_at is not None]


def of_failed(run: Run, rows: Sequence[Any], reason: str) -> str:
    """Remove what was half made for ``rows``. ``reason``, with what is left."""
    if run.operation_type == OperationType.VERIFY:
        return reason
    with run.guarded(status_details=telling(reason)):
        pass
    rows = _begun(run, rows)
    left = _cancel_all(run, rows)
    return _with_left(reason, [row for row in rows if row.position in left])


def left_by(run: Run, reason: str) -> str:
    """``reason``, with what a run that does not end may leave."""
    return _with_left(reason, _unwanted(run))


def telling(reason: str) -> str | None:
    """What the operation's row says while it cleans up."""
    return statuses.clean(f'failed, removing what was made: {reason}')


def _rows(run: Run) -> Sequence[Any]:
    return repository.find(models.OperationResource, filters={'operation_id': run.id}, sort=[('position', 'asc')])


def _with_left(reason: str, left: Sequence[Any]) -> str:
    if not left:
        return reason
    named = ', '.join(f'{row.resource_type} {row.resource_id}' for row in left[:20])
    return f'{reason}; may be left: what was made for {named}'


def _cancel_all(run: Run, rows: Sequence[Any]) -> dict[int, str]:
    """Why there is, or may be, still something of a row, by position: once that is known of all, or `cleanup_timeout`
    is over, or half of `cancel_timeout`. A verify leaves nothing.
    """
    if run.operation_type == OperationType.VERIFY:
        return {}
    seconds = CONF.protection.cancel_timeout / 2 if run.cancelled.is_set() else CONF.protection.cleanup_timeout
    end = time.monotonic() + seconds
    works: dict[type[Work], Work] = {}
    left: dict[int, str] = {}
    waiting, pause = list(rows), PAUSE_SECONDS
    while waiting:
        answers = _asked(run, waiting, works, end)
        left |= {row.position: why for row, why in zip(waiting, answers, strict=True) if isinstance(why, str)}
        waiting = [row for row, gone in zip(waiting, answers, strict=True) if gone is False]
        if waiting and time.monotonic() > end:
            break
        if waiting and run.stopping.wait(pause):
            run.check_owner()
        pause = min(pause * 1.5, LONGEST_PAUSE)
    return left | {row.position: TOO_SLOW for row in waiting}


def _asked(run: Run, rows: Sequence[Any], works: dict[type[Work], Work], end: float) -> list[bool | str]:
    """For each row whether nothing is left; a text when asking again cannot help, or nobody answers until ``end``."""
    try:
        calls = [run.pools.hooks.submit(_cancel, run, row, works) for row in rows]
    except RuntimeError as closed:
        raise Interrupted('the service stops') from closed
    futures.wait(calls, timeout=max(0.0, end - time.monotonic()))
    return [call.result() if call.done() else TOO_SLOW for call in calls]


def _cancel(run: Run, row: Any, works: dict[type[Work], Work]) -> bool | str:
    """Whether nothing is left; a text that says why there may be, when asking again cannot help."""
    resource = run.graph.nodes[row.position]
    made = run.work_for(resource)
    if made is None:
        return True if row.handle is None else UNKNOWN
    try:
        if made not in works:
            works[made] = made(run.provider.config)
        work, assignment = works[made], run.assignment(resource, row.attempt)
        handle = row.handle if row.handle is not None else work.find(assignment)
        if handle is None:
            return UNKNOWN if row.position in run.unheard else True
        return bool(work.cancel(assignment, handle))
    except Interrupted:
        raise
    except exception.BankObjectNotFound:
        return True  # what would have been made from was not there
    except BaseException as unexpected:  # noqa: BLE001  whatever a plugin raises, the others are cleaned up, too
        told = fault(made.service, unexpected)
        LOG.warning(
            'What operation %s made for %s %s cannot be removed: %s', run.id, resource.type, resource.id, told.text
        )
        return False if told.transient else told.text
