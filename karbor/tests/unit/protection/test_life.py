# SPDX-License-Identifier: Apache-2.0
"""The life of operations as a model: accept, run, die anywhere, take over, fail, cancel, retry, in any order.

A worker runs in the test's own thread, and dies by not getting through: from some write, call to
the back end or write to the bank on nothing that it does has an effect. What must hold at any time:
nothing is made twice, one owner writes, every state has an exit; and in the end all can be deleted.
"""

import os
import shutil
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import oslo_messaging as messaging
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from oslo_config import cfg
from taskflow import exceptions as taskflow_exceptions

from karbor import exception, submission
from karbor.conf import opts
from karbor.db import engine, models, repository
from karbor.protection import conductor as conductors
from karbor.protection import run as runs
from karbor.statuses import CheckpointStatus, OperationType, ResourceStatus, done, failed
from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.service import Service

CONF = cfg.CONF
LOG = models.OperationLog
EXAMPLES = 500 if os.environ.get('KARBOR_TEST_ALL') else 15
NAMES = st.lists(st.sampled_from('abc'), min_size=1, max_size=3, unique=True)
OPTIONS = {'poll_first': 0.01, 'cleanup_timeout': 1, 'retry_seconds': 0, 'cancel_timeout': 5, 'lease_seconds': 60.0}


class Death:
    """Lets a worker die at the ``at``-th thing that it does; None lets it live."""

    def __init__(self):
        self.at, self._lock = None, threading.Lock()

    def near(self):
        """Called before and after everything that has an effect."""
        with self._lock:
            if self.at is None:
                return
            self.at -= 1
            if self.at <= 0:
                raise runs.LostClaim('the worker is dead')


class Mortal(backends.Backend):
    """A back end whose caller may die before the call, or before its answer."""

    def __init__(self, death):
        super().__init__()
        self.death = death
        self.polls = 1

    def called(self, call, id):
        self.death.near()
        super().called(call, id)
        self.death.near()


class Life(RuleBasedStateMachine):
    checkpoints, operations = Bundle('checkpoints'), Bundle('operations')

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix='karbor-life-'))
        shutil.copy(self.migrated, self.folder / 'karbor.sqlite')
        CONF.set_override('connection', f'sqlite:///{self.folder}/karbor.sqlite', 'database')
        engine.configure(CONF)
        self.death = Death()
        self.backend = Mortal(self.death)
        self.service = Service(self.backend, [backends.protection(self.backend)], starts=False)
        self.bank = self.service.provider.bank
        for name in ('_write', '_delete'):
            setattr(self.bank, name, self._mortal(getattr(self.bank, name)))
        self.worker = self.service.worker()
        self.worker._jobboard.connect()
        self.dead = []  # runs of workers that died, as they may come back
        self.run = None

    def teardown(self):
        self.worker._jobboard.close()
        self.worker.pools.close()
        engine.dispose()
        CONF.clear_override('connection', 'database')
        shutil.rmtree(self.folder)

    def _mortal(self, call):
        def called(*arguments):
            self.death.near()
            call(*arguments)
            self.death.near()

        return called

    # -- what users do

    @initialize(target=operations, names=NAMES)
    def begin(self, names):
        return self.protect(names)

    @rule(target=operations, names=NAMES)
    def protect(self, names):
        return self.service.protect(*(('Leaf', name) for name in names), wait=False)[1]

    @rule(target=operations, operation=operations)
    def restore(self, operation):
        return self._accepted(lambda: self.service.restore(self._checkpoint(operation), wait=False)[1]) or operation

    @rule(target=operations, operation=operations)
    def delete(self, operation):
        return self._accepted(lambda: self.service.delete(self._checkpoint(operation), wait=False)) or operation

    @rule(operation=operations)
    def cancel(self, operation):
        is_open = self._row(operation).ended_at is None
        try:
            submission.cancel(operation)
        except exception.OperationInvalidState:
            assert not is_open
        else:
            assert is_open

    @rule(operation=operations)
    def retry(self, operation):
        before = self._row(operation)
        if self._accepted(lambda: self.service.manager().retry(self.service.context, operation) or True):
            assert before.operation_type in (OperationType.RESTORE, OperationType.DELETE)
            assert before.status == failed(before.operation_type)

    @staticmethod
    def _accepted(ask):
        """What was accepted; None for what was refused as a conflict."""
        try:
            return ask()
        except messaging.ExpectedException as refused:
            assert isinstance(refused.exc_info[1], exception.Conflict)
            return None

    # -- what back ends do

    @rule(name=st.sampled_from('abc'), call=st.sampled_from(['start', 'poll', 'finish', 'remove', 'cancel']))
    def break_down(self, name, call):
        self.backend.faults[call, name] = backends.REFUSED

    @rule()
    def repair(self):
        self.backend.faults.clear()

    # -- what workers do

    @rule()
    def work(self):
        self._work()

    @rule(at=st.integers(1, 40))
    def work_and_die(self, at):
        self._work(at)

    @rule(at=st.integers(1, 40))
    def work_and_be_taken_over(self, at):
        if self._work(at):
            self.lease_ends()
            self._work()
            self.the_dead_come_back()

    @rule(at=st.integers(1, 40), after=st.integers(1, 40))
    def work_and_be_cancelled_meanwhile(self, at, after):
        """Nobody but the next worker hears of it, and may die, too, while it cleans up."""
        if self._work(at):
            repository.update_all(LOG, {'cancel_requested': True}, ended_at=None)
            self.lease_ends()
            self._work(after)

    @rule()
    def lease_ends(self):
        with engine.writing():
            repository.update_all(LOG, {'expires_at': 0.0}, ended_at=None, owner=repository.Not(None))

    @rule()
    def the_dead_come_back(self):
        """A worker that was only frozen writes once more."""
        for run in self.dead:
            if self._row(run.id).epoch != run.operation.epoch:
                run.is_owner = lambda: True  # it had looked at its clock before it was frozen
                with pytest.raises(runs.LostClaim), run.guarded(status='nonsense'):
                    pass

    def _work(self, dies_at=None):
        """Claim what is first on the board, and run it: to its end, or until the worker dies."""
        board = self.worker._jobboard
        for job in board.iterjobs():
            try:
                board.claim(job, self.worker._name)
            except taskflow_exceptions.UnclaimableJob:
                continue
            self.death.at = dies_at
            try:
                self.worker._run(job)
                died = False
            except runs.Interrupted:
                died = True
            finally:
                self.death.at = None
            assert not died or dies_at is not None, 'nobody had killed it'
            board.leases.drop(job.uuid, job.epoch)
            if died:
                self.dead.append(self.run)
            else:
                assert self._row(job.uuid).ended_at is not None
            return True
        return False

    # -- what must hold

    @invariant()
    def nothing_is_made_twice(self):
        tags = [made['tag'] for made in self.backend.objects.values()]
        assert len(tags) == len(set(tags))

    @invariant()
    def ended_operations_tell_how(self):
        for row in repository.find(LOG):
            has_failed, is_done = row.status == failed(row.operation_type), row.status == done(row.operation_type)
            assert (has_failed or is_done) == (row.ended_at is not None)
            if has_failed:
                assert row.error_info
            if is_done:
                assert {r.status for r in self._resources(row.id)} <= {ResourceStatus.ACTIVE}

    @invariant()
    def a_failed_protect_keeps_nothing_but_what_it_tells(self):
        for row in repository.find(LOG, filters={'operation_type': OperationType.PROTECT, 'status': 'error'}):
            left = [made for made in self.backend.objects.values() if f'/{row.id}/' in made['tag']]
            assert len(left) <= (row.error_info or '').partition('may be left: ')[2].count('Leaf')

    def check_exits(self):
        """Everything can be brought to its end, and then be deleted."""
        self.backend.faults.clear()
        self.lease_ends()
        while self._work():
            pass
        for checkpoint in repository.find(models.CheckpointRecord):
            if checkpoint.checkpoint_status != CheckpointStatus.DELETED:
                self.service.delete(checkpoint.id, wait=False)
                assert self._work()
        words = {row.checkpoint_status for row in repository.find(models.CheckpointRecord)}
        assert words <= {CheckpointStatus.DELETED}
        assert repository.count(LOG, ended_at=None) == 0
        protects = [row.id for row in repository.find(LOG, filters={'operation_type': OperationType.PROTECT})]
        left = [made for made in self.backend.objects.values() if any(f'/{id}/' in made['tag'] for id in protects)]
        assert not left, left
        assert not list(self.bank.list('/checkpoints'))

    def _checkpoint(self, operation):
        return self._row(operation).checkpoint_id

    @staticmethod
    def _row(id):
        return repository.get(LOG, id)

    @staticmethod
    def _resources(id):
        return repository.find(models.OperationResource, filters={'operation_id': id})


@pytest.fixture
def life(migrated, monkeypatch):
    opts.register()
    CONF([], project='karbor', default_config_files=[])
    for name, value in OPTIONS.items():
        CONF.set_override(name, value, 'protection')
    guarded = runs.Run.guarded

    @contextmanager
    def mortal(run, **told):
        run.death.near()
        with guarded(run, **told) as session:
            yield session
        run.death.near()

    monkeypatch.setattr(runs.Run, 'guarded', mortal)

    class Watched(Life):
        pass

    Watched.migrated = migrated
    prepare = conductors.Conductor._prepare

    def watched(self, operation):
        run = prepare(self, operation)
        machine = self.machine
        if run is not None:
            run.death, machine.run = machine.death, run
        return run

    monkeypatch.setattr(conductors.Conductor, '_prepare', watched)
    yield Watched
    CONF.reset()
    for name in OPTIONS:
        CONF.clear_override(name, 'protection')


@pytest.mark.timeout(3600 if os.environ.get('KARBOR_TEST_ALL') else 300)
def test_no_order_of_things_leaves_a_state_without_an_exit(life):
    class Exits(life):
        def __init__(self):
            super().__init__()
            self.worker.machine = self

        def teardown(self):
            try:
                self.check_exits()
            finally:
                super().teardown()

    health = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    told = settings(max_examples=EXAMPLES, stateful_step_count=15, deadline=None, suppress_health_check=health)
    run_state_machine_as_test(Exits, settings=told)
