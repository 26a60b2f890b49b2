# SPDX-License-Identifier: Apache-2.0
"""A checkpoint in its bank and in the database.

Order of writes: the bank's content first, then its index, then the row; what a crash leaves
between is finished by the operation's next run.
"""

import threading
from typing import Any

from oslo_log import log
from oslo_utils import timeutils

from karbor import exception
from karbor.db import models, repository
from karbor.plugins.banks import layout
from karbor.plugins.banks.interface import Bank
from karbor.protection import board
from karbor.statuses import MAKING_CHECKPOINTS, CheckpointStatus, OperationType

LOG = log.getLogger(__name__)
SETTLE_SECONDS = 1.0  # between two looks whether somebody changes a checkpoint
CHANGING = (*MAKING_CHECKPOINTS, OperationType.DELETE)  # what writes a checkpoint's index


def write_index(bank: Bank, row: models.CheckpointRecord, status: str, graph: str | None, **ours: Any) -> None:
    """Write the checkpoint's index document with ``status``; ``ours`` stands in it, too."""
    bank.put_json(layout.checkpoint_index(row.id), _document(row, status, graph, ours))


def write_new(bank: Bank, row: models.CheckpointRecord, status: str, **ours: Any) -> None:
    """Make the checkpoint known in the bank: its index document, then the entries of the three indices."""
    write_index(bank, row, status, None, **ours)
    for key in _index_keys(row):
        bank.put_text(key, row.id)


def remove(bank: Bank, row: models.CheckpointRecord) -> None:
    """Remove every object of the checkpoint from the bank; harmless when repeated."""
    for key in _index_keys(row):
        bank.delete(key)
    prefix = layout.checkpoint_prefix(row.id)
    index = layout.checkpoint_index(row.id)
    for key in bank.list(prefix):
        if key != index:
            bank.delete(key)
    bank.delete(index)


def settle(bank: Bank, checkpoint_id: str, stopping: threading.Event, **ours: Any) -> None:
    """Make the bank say what the row says, once nobody changes the checkpoint: a run that was overtaken while it wrote
    may have written over what came after it. What is still to be gone on with writes the index itself, after this.
    Gives up when ``stopping`` is set.
    """
    LOG.warning('A write of the bank was overtaken; checkpoint %s is looked at again.', checkpoint_id)
    while _changing(checkpoint_id, board.is_running()):
        if stopping.wait(SETTLE_SECONDS):
            return
    row = repository.get(models.CheckpointRecord, checkpoint_id)
    if row is None or _changing(checkpoint_id):
        return
    if row.checkpoint_status == CheckpointStatus.DELETED:
        remove(bank, row)
    else:
        write_index(bank, row, row.checkpoint_status, read_graph(bank, checkpoint_id), **ours)


def _changing(checkpoint_id: str, *conditions: Any) -> int:
    """How many operations that have not ended, and pass the conditions, write the checkpoint's index."""
    open_ones = {'operation_type': repository.OneOf(CHANGING), 'ended_at': None}
    columns = ('checkpoint_id', 'source_checkpoint_id')
    return sum(repository.count(models.OperationLog, *conditions, **open_ones, **{c: checkpoint_id}) for c in columns)


def read_graph(bank: Bank, checkpoint_id: str) -> str | None:
    """The text of the checkpoint's graph: from the database, else from the bank; None where neither has one."""
    row = repository.get(models.CheckpointGraph, checkpoint_id)
    if row is not None:
        return row.graph
    try:
        document = bank.get_json(layout.checkpoint_index(checkpoint_id))
    except exception.BankObjectNotFound:
        return None
    return layout.parse_index(document).get('resource_graph')


def _timestamp(row: models.CheckpointRecord) -> int:
    assert row.created_at is not None  # noqa: S101  accepting wrote it
    return int(timeutils.delta_seconds(_EPOCH, row.created_at))


_EPOCH = timeutils.normalize_time(timeutils.parse_isotime('1970-01-01T00:00:00Z'))


def _index_keys(row: models.CheckpointRecord) -> list[str]:
    assert row.created_at is not None  # noqa: S101  accepting wrote it
    date, stamp = row.created_at.date().isoformat(), _timestamp(row)
    return [
        layout.by_provider(row.provider_id, row.project_id, stamp, row.id),
        layout.by_date(date, row.project_id, stamp, row.id),
        layout.by_plan(row.plan_id, row.project_id, date, stamp, row.id),
    ]


def _document(row: models.CheckpointRecord, status: str, graph: str | None, ours: dict[str, Any]) -> dict[str, Any]:
    assert row.created_at is not None  # noqa: S101  accepting wrote it
    return layout.index_document(
        id=row.id,
        status=status,
        provider_id=row.provider_id,
        project_id=row.project_id,
        protection_plan=row.protection_plan or {},
        created_at=row.created_at.date().isoformat(),
        timestamp=_timestamp(row),
        resource_graph=graph,
        **{'extra_info': row.extend_info, **ours},
    )
