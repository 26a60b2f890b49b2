# SPDX-License-Identifier: Apache-2.0
"""What a run does that finds out after a write of the bank that the operation is not its own any more."""

import threading
import time
import uuid

import pytest

from karbor.db import models, repository
from karbor.plugins.banks import layout
from karbor.protection import board, checkpoint
from karbor.tests.banks.conftest import memory


@pytest.fixture
def bank(tmp_path):
    return memory(tmp_path)


@pytest.fixture
def row(database, bank, monkeypatch):
    """A checkpoint that is available, and whose index an overtaken run has set back."""
    monkeypatch.setattr(checkpoint, 'SETTLE_SECONDS', 0.02)
    names = {'project_id': 'p', 'provider_id': str(uuid.uuid4()), 'plan_id': 'plan', 'checkpoint_id': ''}
    record = models.CheckpointRecord(
        id=str(uuid.uuid4()), checkpoint_status='available', protection_plan={}, extend_info='{}', **names
    )
    made = repository.create(record)
    checkpoint.write_index(bank, made, 'protecting', None, installation_id='i')
    return made


def post(row, owner, seconds=30.0, operation_type='protect'):
    values = {'owner': owner, 'expires_at': board.now() + seconds, 'provider_id': row.provider_id}
    log = models.OperationLog(
        id=str(uuid.uuid4()), project_id='p', operation_type=operation_type, checkpoint_id=row.id, **values
    )
    return repository.create(log).id


def settle(bank, row):
    """A thread that settles the checkpoint."""
    thread = threading.Thread(
        target=checkpoint.settle, args=(bank, row.id, threading.Event()), kwargs={'installation_id': 'i'}, daemon=True
    )
    thread.start()
    return thread


def told(bank, row):
    return layout.parse_index(bank.get_json(layout.checkpoint_index(row.id)))['status']


def test_it_waits_for_the_worker_that_took_over_and_writes_what_the_row_says(bank, row):
    id = post(row, 'other/1')
    thread = settle(bank, row)
    time.sleep(0.2)
    assert (thread.is_alive(), told(bank, row)) == (True, 'protecting')
    repository.update(models.OperationLog, id, {'ended_at': row.created_at})
    thread.join(5)
    assert (thread.is_alive(), told(bank, row)) == (False, 'available')


@pytest.mark.parametrize(('owner', 'seconds'), [('', 0.0), ('mine/1', -1.0)])
def test_it_does_not_wait_for_a_run_that_nobody_has_begun(bank, row, owner, seconds):
    """That one may be waiting for the slot in which this waits. It comes after, and writes the index itself."""
    post(row, owner, seconds)
    settle(bank, row).join(5)
    assert told(bank, row) == 'protecting'
    repository.update_all(models.OperationLog, {'ended_at': row.created_at}, checkpoint_id=row.id)
    settle(bank, row).join(5)
    assert told(bank, row) == 'available'


def test_operations_that_leave_the_checkpoint_as_it_is_are_no_reason_to_wait(bank, row):
    post(row, 'other/1', operation_type='restore')
    settle(bank, row).join(5)
    assert told(bank, row) == 'available'
