# SPDX-License-Identifier: Apache-2.0
"""Plugins that hang, exit or answer nonsense, banks and databases that fail at each step, workers that lose a claim."""

import contextlib
import threading
import time
import uuid

import pytest
from oslo_config import cfg

from karbor import exception
from karbor.db import engine, models, repository
from karbor.objects.restore import Restore
from karbor.plugins.interface import State, Work
from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.service import PROVIDER, Service
from karbor.tests.unit.protection.test_operations import checkpoint, operation, rows, until

CONF = cfg.CONF


@pytest.fixture
def backend():
    return backends.Backend()


@pytest.fixture
def made(database, backend, monkeypatch):
    monkeypatch.setattr('karbor.protection.conductor.AGAIN_SECONDS', 0.05)
    services = []

    def make(**members):
        plugin = backends.protection(backend)
        for name, bases in members.items():
            setattr(plugin, name, type(bases.__name__, (bases,), {'backend': backend}))
        services.append(Service(backend, [plugin]))
        return services[-1]

    yield make
    for service in services:
        service.conductor.stop(1)


def protect(service, *ids, seconds=4, **kw):
    checkpoint_id, operation_id = service.protect(*(('Leaf', id) for id in ids), wait=False, **kw)
    service.conductor.wait_idle(seconds)
    return checkpoint_id, operation_id


class SlowEmpty(backends.Made):
    def start(self, work):
        time.sleep(0.1)
        return {}

    def poll(self, work, handle):
        return State('available')

    def finish(self, work, handle):
        pass


def test_an_empty_handle_that_comes_late_is_polled(made):
    c, _ = protect(made(protect=SlowEmpty), 'a')
    assert checkpoint(c).checkpoint_status == 'available'


def test_a_checkpoint_with_skipped_resources_can_be_restored_and_deleted(made):
    service = made()
    c, _ = service.protect(('Leaf', 'a'), ('Strange', 's'), parameters={'skip_unsupported': True})
    assert checkpoint(c).checkpoint_status == 'available'
    _, o = service.restore(c)
    d = service.delete(c)
    assert (operation(o).status, operation(d).status) == ('restored', 'deleted')


def test_a_plugin_that_is_gone_at_restart_does_not_make_an_available_checkpoint(made, backend):
    service = made()
    backend.gate = threading.Event()
    c, o = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: backend.count('poll') > 1)
    service.conductor.stop(5)
    del service.provider.protections['Leaf']
    service.replace_worker()
    service.conductor.wait_idle(5)
    assert checkpoint(c).checkpoint_status == 'error'


def test_a_plugin_that_is_gone_at_restart_does_not_delete_the_record_of_what_is_left(made, backend):
    class Slow(backends.Removed):
        def start(self, work):
            return {'x': 1}

        def poll(self, work, handle):
            self.backend.called('poll', work.resource.id)
            return State('build')

    service = made(delete=Slow)
    c, _ = service.protect(('Leaf', 'a'))
    n = backend.count('poll')
    service.manager().delete(service.context, PROVIDER, c, str(uuid.uuid4()))
    until(lambda: backend.count('poll') > n + 1)
    service.conductor.stop(5)
    del service.provider.protections['Leaf']
    service.replace_worker()
    service.conductor.wait_idle(5)
    assert checkpoint(c).checkpoint_status == 'error-deleting'


@pytest.mark.parametrize('call', ['start', 'poll', 'finish'])
def test_a_plugin_that_exits_fails_its_resource(made, backend, call):
    backend.faults[call, 'a'] = SystemExit(1)
    c, _ = protect(made(), 'a')
    assert checkpoint(c).checkpoint_status == 'error'


def test_a_plugin_that_exits_in_cancel_does_not_keep_the_checkpoint_protecting(made, backend):
    backend.faults['finish', 'a'] = backends.REFUSED
    backend.faults['cancel', 'a'] = SystemExit(1)
    c, _ = protect(made(), 'a')
    assert checkpoint(c).checkpoint_status == 'error'


class Unwritable(backends.Made):
    def start(self, work):
        return {**super().start(work), 'bad': object()}


def test_a_handle_that_json_cannot_carry_fails_the_resource(made, backend):
    c, o = protect(made(protect=Unwritable), 'a')
    assert checkpoint(c).checkpoint_status == 'error'
    assert backend.objects == {}


class BadExtra(backends.Made):
    def poll(self, work, handle):
        return State('available', extra={'x': object()})


def test_extra_that_json_cannot_carry_fails_the_resource(made, backend):
    c, o = protect(made(protect=BadExtra), 'a')
    assert checkpoint(c).checkpoint_status == 'error'
    assert backend.objects == {}


def test_a_bank_that_is_away_ends_the_checkpoint(made, monkeypatch):
    service = made()

    def away(*_, **__):
        raise exception.BankUnavailable()

    for name in ('_write', '_open', '_list', '_delete'):
        monkeypatch.setattr(service.provider.bank, name, away)
    c, o = protect(service, 'a')
    assert checkpoint(c).checkpoint_status == 'error'


def test_what_cleanup_began_to_remove_never_becomes_available(made, backend, monkeypatch):
    service = made()
    bank = service.provider.bank
    write = bank._write
    state = {'end': False}

    def failing(key, chunks):
        data = b''.join(chunks)
        if key.endswith('index.json') and b'"available"' in data and not state['end']:
            raise exception.BankUnavailable()
        return write(key, iter([data]))

    monkeypatch.setattr(bank, '_write', failing)
    backend.faults['cancel', 'b'] = exception.BackendFault('unavailable', 'backend', transient=True)
    c, o = service.protect(('Leaf', 'a'), ('Leaf', 'b'), wait=False)
    until(lambda: backend.count('cancel') >= 2)
    service.conductor.stop(5)  # or kill -9
    backend.faults.clear()
    state['end'] = True
    service.replace_worker()
    service.conductor.wait_idle(5)
    assert checkpoint(c).checkpoint_status == 'error' and backend.objects == {}


class TooFew(backends.Made):
    def start(self, work):
        if work.resource.id == 'slow':
            time.sleep(0.6)
        return super().start(work)

    def poll_many(self, items):
        self.backend.called('poll', '*')
        return []


@pytest.mark.parametrize('answer', [[], None, [1, 2, 3]])
def test_poll_many_with_a_wrong_answer_leaves_nothing_behind(made, backend, answer):
    class Wrong(TooFew):
        def poll_many(self, items):
            return answer

    c, o = protect(made(protect=Wrong), 'a', 'slow')
    time.sleep(1)
    assert backend.objects == {}


@pytest.mark.parametrize('handle', ['text', [1], 7])
def test_a_handle_that_is_no_object_fails_only_its_resource(made, backend, handle):
    class Wrong(backends.Restored):
        def start(self, work):
            if work.resource.id == 'a':
                return handle
            time.sleep(0.3)
            return super().start(work)

    service = made(restore=Wrong)
    c, _ = service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    r, o = service.restore(c)
    time.sleep(0.5)
    assert (rows(o)['a'].status, rows(o)['b'].status) == ('error', 'active')


@pytest.mark.parametrize('state', [State('build', progress='x'), State('available', extra='abc')])  # type: ignore[arg-type]
def test_a_state_of_wrong_types_fails_only_its_resource(made, backend, state):
    class Wrong(backends.Restored):
        def poll(self, work, handle):
            if work.resource.id == 'a':
                return state
            return super().poll(work, handle)

    service = made(restore=Wrong)
    c, _ = service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    backend.polls = 3
    r, o = service.restore(c)
    assert (rows(o)['a'].status, rows(o)['b'].status) == ('error', 'active')


class Instant(Work):
    service = 'backend'

    def start(self, work):
        return {'object': self.backend.create(work.tag, work.resource.id)}

    def finish(self, work, handle):
        raise exception.BankUnavailable()

    def cancel(self, work, handle):
        self.backend.objects.pop(handle['object'], None)
        return True


def test_instant_work_whose_finish_fails_is_cancelled(made, backend):
    c, o = protect(made(protect=Instant), 'a')
    assert backend.objects == {}


class Nested(backends.Made):
    def start(self, work):
        return {'job': {'step': 0}, **super().start(work)}

    def poll(self, work, handle):
        handle['job']['step'] += 1
        return super().poll(work, handle)


def test_what_a_poll_changes_deep_in_the_handle_is_recorded(made, backend):
    backend.polls = 3
    c, o = protect(made(protect=Nested), 'a')
    assert rows(o)['a'].handle['job']['step'] == 3


def test_handles_with_numbers_as_keys_are_written_for_many_as_for_one(made, backend):
    class Keys(backends.Made):
        def start(self, work):
            return {1: work.resource.id, **super().start(work)}

    c, o = protect(made(protect=Keys), 'a', 'b')
    assert checkpoint(c).checkpoint_status == 'available'


def test_a_call_that_never_returns_ends_the_resource(made, backend):
    CONF.set_override('resource_timeout', 1, 'protection')
    ever = threading.Event()

    class Hung(backends.Made):
        def start(self, work):
            ever.wait(20)
            return super().start(work)

    try:
        c, o = protect(made(protect=Hung), 'a', seconds=5)
        assert checkpoint(c).checkpoint_status == 'error'
    finally:
        ever.set()
        CONF.clear_override('resource_timeout', 'protection')


def test_a_cancel_that_never_returns_is_given_up_after_the_time_out(made, backend):
    CONF.set_override('cleanup_timeout', 1, 'protection')
    ever = threading.Event()

    class Hung(backends.Made):
        def cancel(self, work, handle):
            ever.wait(20)
            return True

    backend.faults['finish', 'a'] = backends.REFUSED
    try:
        c, o = protect(made(protect=Hung), 'a', seconds=5)
        assert checkpoint(c).checkpoint_status == 'error'
    finally:
        ever.set()


def test_a_worker_that_lost_its_claim_does_not_claim_again(made, backend):
    service = made()
    backend.gate = threading.Event()
    c, o = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: backend.count('poll') > 1)
    repository.update(models.OperationLog, o, {'epoch': 50, 'owner': 'another-host'})
    backend.gate.set()
    service.conductor.wait_idle(5)
    assert (operation(o).epoch, operation(o).owner) == (50, 'another-host')


def test_a_restore_is_not_failed_by_a_stop_that_ran_out_of_time(made, backend):
    go = threading.Event()

    class Slow(backends.Restored):
        def poll(self, work, handle):
            self.backend.called('poll', work.resource.id)
            go.wait(5)
            return super().poll(work, handle)

    service = made(restore=Slow)
    c, _ = service.protect(('Leaf', 'a'))
    n = backend.count('poll')
    restore = Restore.new(provider_id=PROVIDER, checkpoint_id=c, parameters={})
    service.manager().restore(service.context, restore, o := str(uuid.uuid4()))
    until(lambda: backend.count('poll') > n)
    service.conductor.stop(0.2)
    go.set()
    service.conductor.wait_idle(5)
    assert operation(o).ended_at is None


def test_reset_state_keeps_the_owner_in_the_bank(made):
    service = made()
    c, _ = service.protect(('Leaf', 'a'))
    key = f'/checkpoints/{c}/index.json'
    before = service.provider.bank.get_json(key)
    service.manager().reset_state(service.context, PROVIDER, c, 'error')
    after = service.provider.bank.get_json(key)
    assert after == before | {'status': 'error'}


def test_a_delete_that_fails_keeps_the_graph_in_the_bank(made):
    service = made()
    c, _ = service.protect(('Leaf', 'a'))
    key = f'/checkpoints/{c}/index.json'
    assert service.provider.bank.get_json(key)['resource_graph']
    with engine.writing() as session:
        session.execute(models.CheckpointGraph.__table__.delete())
    bank, opened = service.provider.bank, service.provider.bank._open
    fails = [1]

    def once(key):
        if fails:
            fails.pop()
            raise exception.BankUnavailable()
        return opened(key)

    bank._open = once
    o = service.delete(c)
    assert operation(o).status == 'error-deleting'
    assert service.provider.bank.get_json(key).get('resource_graph')


def test_resources_of_an_operation_without_provider_do_not_stay_in_build(made, backend):
    service = made()
    c, _ = service.protect(('Leaf', 'a'))
    backend.gate = threading.Event()
    restore = Restore.new(provider_id=PROVIDER, checkpoint_id=c, parameters={})
    n = backend.count('poll')
    service.manager().restore(service.context, restore, o := str(uuid.uuid4()))
    until(lambda: backend.count('poll') > n + 1)
    service.conductor.stop(5)
    service.providers.clear()
    service.replace_worker()
    service.conductor.wait_idle(5)
    assert Restore.get(restore.id).status == 'fail'
    assert rows(o)['a'].status == 'error'


def test_a_row_does_not_say_removed_of_what_is_left(made, backend):
    service = made()
    backend.faults['start', 'b'] = backends.REFUSED
    backend.faults['cancel', 'a'] = backends.REFUSED
    backend.gate = threading.Event()
    _, o = service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    assert 'may be left: what was made for Leaf a' in operation(o).error_info
    assert 'removed again' not in rows(o)['a'].status_details


def test_an_accept_whose_commit_was_not_confirmed_is_run(made):
    import sqlalchemy as sa
    from oslo_db import exception as db_exception
    from sqlalchemy import orm

    service = made()
    failures = [1]

    def lost(session):
        if failures and any(isinstance(o, models.OperationLog) for o in session.identity_map.values()):
            failures.pop()
            raise db_exception.DBConnectionError('gone')

    sa.event.listen(orm.Session, 'after_commit', lost)
    try:
        with contextlib.suppress(Exception):  # whatever the caller is told, the operation has to be run
            service.protect(('Leaf', 'a'), wait=False)
        service.conductor.wait_idle(3)
        time.sleep(1)
    finally:
        sa.event.remove(orm.Session, 'after_commit', lost)
    found = repository.find(models.CheckpointRecord)
    assert not found or found[0].checkpoint_status == 'available'


def test_repeated_begins_again_after_a_lost_connection(database):
    from oslo_db import exception as db_exception

    tries = []

    @engine.repeated
    def transaction():
        tries.append(1)
        if len(tries) < 2:
            raise db_exception.DBConnectionError('gone')
        return True

    assert transaction()


def test_the_heartbeat_goes_on_after_a_full_pool(database, monkeypatch):
    from sqlalchemy import exc

    from karbor.heartbeat import Heartbeat

    beats = []

    def beat():
        beats.append(1)
        raise exc.TimeoutError('QueuePool limit')

    CONF.set_override('report_interval', 1)
    monkeypatch.setattr(threading, 'excepthook', lambda *_: None)
    h = Heartbeat('b', 't', beat)
    h.start()
    time.sleep(2.6)
    h.stop()
    CONF.clear_override('report_interval')
    assert len(beats) >= 2


def test_a_bug_in_the_failure_path_ends_the_operation(made, backend):
    service = made()
    c, _ = service.protect(('Leaf', 'a'))
    repository.update(models.CheckpointRecord, c, {'created_at': None})
    o = str(uuid.uuid4())
    service.manager().delete(service.context, PROVIDER, c, o)
    service.conductor.wait_idle(4)
    assert operation(o).ended_at is not None


def test_a_report_after_the_last_call_is_written(made, backend):
    kept = []

    class Late(backends.Restored):
        def start(self, work):
            kept.append(work.restore)
            return super().start(work)

    service = made(restore=Late)
    c, _ = service.protect(('Leaf', 'a'))
    _, o = service.restore(c)
    kept[0].update_resource_status('Leaf', 'a', 'error', 'late')
    assert rows(o)['a'].status_details == 'late'


# children_of SystemExit
def test_a_protectable_that_exits_ends_the_checkpoint(made, monkeypatch):
    service = made()

    def children(cloud, parent):
        raise SystemExit(1)

    monkeypatch.setattr(service.protectables.plugins['Leaf'], 'children', children)
    c, o = service.protect(('Box', 'x'), wait=False)
    service.conductor.wait_idle(3)
    assert checkpoint(c).checkpoint_status == 'error'


# skip_unsupported at provider: delete with plugin gone
def test_a_delete_without_the_plugin_does_not_forget_what_was_protected(made, backend):
    service = made()
    service.provider.skip_unsupported = True
    c, _ = service.protect(('Leaf', 'a'))
    service.provider.protections.pop('Leaf')
    service.delete(c)
    assert checkpoint(c).checkpoint_status == 'error-deleting'


def test_a_restore_without_the_plugin_is_no_success(made, backend):
    service = made()
    service.provider.skip_unsupported = True
    c, _ = service.protect(('Leaf', 'a'))
    service.provider.protections.pop('Leaf')
    _, o = service.restore(c)
    assert operation(o).status == 'error-restoring'


class NoFind(backends.Made):
    def find(self, work):
        return None

    def start(self, work):
        return {**super().start(work), 'bad': object()}


def test_a_handle_that_json_cannot_carry_starts_nothing_again(made, backend):
    c, o = protect(made(protect=NoFind), 'a', seconds=3)
    assert len(backend.objects) <= 1


class Surrogate(backends.Made):
    def poll(self, work, handle):
        return State('available', new_id='\ud800')


def test_error_info_is_cut_and_cleaned(made, backend):
    backend.faults['start', 'a'] = exception.BackendFault('refused', 'backend', detail='a\x00b' + 'x' * 10_000)
    c, o = protect(made(), 'a')
    assert '\x00' not in operation(o).error_info
    assert len(operation(o).error_info) < 5000


def test_a_listing_reason_that_the_database_refuses_ends_the_operation(made, backend, monkeypatch):
    service = made()

    def children(cloud, parent):
        raise exception.BackendFault('refused', 'backend', detail='\x00\x1b')

    monkeypatch.setattr(service.protectables.plugins['Leaf'], 'children', children)
    c, o = service.protect(('Box', 'x'), wait=False)
    service.conductor.wait_idle(3)
    assert checkpoint(c).checkpoint_status == 'error'


def test_the_count_of_done_resources_is_right(made, backend):
    import sqlalchemy as sa

    service = made()
    told = []
    sa.event.listen(
        engine.engine(),
        'before_cursor_execute',
        lambda *a: told.extend(x for x in a[3] if isinstance(x, str) and 'resources done' in x),
    )
    c, o = service.protect(('Box', 'x'))
    assert told[-1] == 'protecting: 2 of 2 resources done'


def test_a_database_fault_in_cleanup_does_not_bring_removed_objects_back(made, backend, monkeypatch):
    from oslo_db import exception as db_exception

    from karbor.protection import cleanup

    service = made()
    bank = service.provider.bank
    write, fails, db = bank._write, [1], [1]

    def failing(key, chunks):
        data = b''.join(chunks)
        if key.endswith('index.json') and b'"available"' in data and fails:
            fails.pop()
            raise exception.BankUnavailable()
        return write(key, iter([data]))

    monkeypatch.setattr(bank, '_write', failing)
    update_all = repository.update_all

    def lost(*a, **k):
        if db:
            db.pop()
            raise db_exception.DBConnectionError('gone')
        return update_all(*a, **k)

    monkeypatch.setattr(cleanup.repository, 'update_all', lost)
    c, o = protect(service, 'a')
    assert checkpoint(c).checkpoint_status == 'error'
