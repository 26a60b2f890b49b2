# SPDX-License-Identifier: Apache-2.0
"""The `sql` job board on the servers: the same promises as on SQLite, and what a look costs with many waiting."""

import inspect
import time
import uuid

import pytest
import sqlalchemy as sa
from oslo_config import cfg
from oslo_utils import timeutils

from karbor.db import engine, migration, models, repository
from karbor.protection import board
from karbor.tests import databases
from karbor.tests.unit.protection import test_board as promises
from karbor.tests.unit.protection.jobboards import Boards
from karbor.tests.unit.protection.service import PROVIDER
from karbor.tests.unit.protection.test_board import limit

__all__ = ['limit']
CONF = cfg.CONF
SERVERS = [pytest.param(kind, marks=pytest.mark.services) for kind in databases.SERVERS]
PROMISES = [
    promises.test_of_many_that_claim_at_once_one_wins,
    promises.test_what_ran_out_is_claimed_by_the_next_and_the_epoch_tells_them_apart,
    promises.test_a_heartbeat_keeps_a_claim,
    promises.test_a_claim_that_was_lost_is_not_kept_by_a_heartbeat,
    promises.test_what_is_given_back_is_there_for_the_next_at_once,
    promises.test_what_needs_the_token_in_memory_stays_with_its_host_while_that_lives,
    promises.test_the_oldest_is_first_and_priority_goes_before,
    promises.test_a_project_at_its_limit_is_passed_over_and_hides_nobody,
    promises.test_without_a_limit_the_oldest_go_first_whosever_they_are,
    promises.test_what_ran_out_counts_no_more_for_the_limit,
    promises.test_two_workers_that_claim_at_once_stay_within_a_limit_together,
    promises.test_what_is_to_be_cancelled_goes_before_all_and_past_the_limit,
    promises.test_a_worker_is_told_what_it_runs_and_has_to_cancel,
]


@pytest.fixture(scope='module', params=SERVERS)
def server(request, tmp_path_factory):
    """A database of each server, with all tables, that the process uses."""
    with (
        databases.temporary(request.param, tmp_path_factory.mktemp('board')) as url,
        databases.connected(url),
    ):
        migration.sync()
        CONF.set_override('lease_seconds', 1.0, 'protection')
        yield request.param
        CONF.clear_override('lease_seconds', 'protection')


@pytest.fixture
def boards(server):
    with engine.writing() as session:
        session.execute(sa.delete(models.OperationLog))
    made = Boards('sql')
    yield made
    made.close()


@pytest.mark.parametrize('promise', PROMISES, ids=lambda promise: promise.__name__[5:])
def test_it_is_so(request, boards, promise):
    promise(**{name: request.getfixturevalue(name) for name in inspect.signature(promise).parameters})


WAITING, SECONDS = 5_000, 2.0  # it takes a few hundredths of a second


def test_a_look_is_quick_when_thousands_wait(boards, limit):
    """Ten projects at their limit, and one that waits behind all of them."""
    limit(2)
    known = {'operation_type': 'protect', 'provider_id': PROVIDER} | board.posted(True)
    at = timeutils.utcnow()
    projects = [f'p{n % 10}' for n in range(WAITING)]
    rows = [{'id': str(uuid.uuid4()), 'project_id': p, 'created_at': at, 'deleted': False, **known} for p in projects]
    repository.create_many(models.OperationLog, rows)
    with engine.writing() as session:
        running = {'owner': 'other/1', 'expires_at': board.now() + 60}
        for id in [row['id'] for row in rows[:20]]:
            session.execute(sa.update(models.OperationLog).where(models.OperationLog.id == id).values(**running))
    last = boards.post(project_id='last')
    b = boards.make()
    began = time.monotonic()
    assert [job.uuid for job in b.iterjobs()] == [last]
    assert time.monotonic() - began < SECONDS
