# SPDX-License-Identifier: Apache-2.0
"""The daily task of protection services."""

import datetime
import threading
import uuid

import pytest
from oslo_config import cfg
from oslo_utils import timeutils

from karbor.db import models, repository
from karbor.protection import housekeeping
from karbor.tests.unit.protection.test_operations import until

CONF = cfg.CONF
NAMES = ('interval_hours', 'fold_after_days', 'purge_after_days', 'unused_trust_days')


@pytest.fixture
def options(database):
    yield lambda **values: [CONF.set_override(name, value, 'housekeeping') for name, value in values.items()]
    for name in NAMES:
        CONF.clear_override(name, 'housekeeping')


def ended(days, **values):
    at = timeutils.utcnow() - datetime.timedelta(days=days)
    id = str(uuid.uuid4())
    repository.create(
        models.OperationLog(id=id, project_id='p', operation_type='protect', checkpoint_id=id, ended_at=at, **values)
    )
    repository.create(models.OperationResource(operation_id=id, position=0, resource_type='t', resource_id='1'))
    return id


def test_it_folds_and_purges_by_age(options):
    ids = [ended(10), ended(40), ended(400)]
    assert housekeeping.tidy() == {
        'folded operations': 2,
        'operation_logs': 1,
        'folded_resources': 1,
        'ended trusts': 0,
    }
    found = {row.id: row.folded for row in repository.find(models.OperationLog)}
    assert found == {ids[0]: False, ids[1]: True}


def test_what_is_set_to_0_is_left_out(options):
    ended(4000)
    options(fold_after_days=0, purge_after_days=0, unused_trust_days=0)
    assert housekeeping.tidy() == {}
    assert repository.count(models.OperationResource) == 1


def test_of_many_services_one_does_it_and_again_when_it_is_due(options):
    won, gate = [], threading.Barrier(8)

    def claim():
        gate.wait()
        won.append(housekeeping.claim())

    def all_claim():
        won.clear()
        threads = [threading.Thread(target=claim) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(won)

    assert [all_claim(), all_claim()] == [1, 0]
    (row,) = repository.find(models.Installation)
    before = row.tidied_at - datetime.timedelta(hours=24, seconds=1)
    repository.update(models.Installation, row.id, {'tidied_at': before})
    assert [all_claim(), all_claim()] == [1, 0]


def test_a_service_does_it_after_its_start_and_survives_its_faults(options, monkeypatch):
    monkeypatch.setattr(housekeeping, 'FIRST_LOOK', 0.0)
    monkeypatch.setattr(housekeeping, 'HOUR', 0.01)
    faults = [RuntimeError('once')]
    tidy = housekeeping.tidy

    def failing():
        if faults:
            raise faults.pop()
        return tidy()

    monkeypatch.setattr(housekeeping, 'tidy', failing)
    options(interval_hours=0.01)
    id = ended(40)
    monkeypatch.setattr(housekeeping, 'claim', lambda: True)
    housekeeper = housekeeping.Housekeeper()
    housekeeper.start()
    until(lambda: repository.get(models.OperationLog, id).folded)
    housekeeper.stop()
    housekeeper._thread.join(10)
    assert not housekeeper._thread.is_alive()


def test_no_service_does_it_when_the_interval_is_0(options):
    options(interval_hours=0)
    housekeeper = housekeeping.Housekeeper()
    housekeeper.start()
    assert not housekeeper._thread.is_alive()
    housekeeper.stop()
