# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around an operation: plugins, bank, database, restarts. Each ends in a state with a reason."""

import logging
import threading
import uuid

import oslo_messaging as messaging
import pytest
from oslo_config import cfg
from oslo_db import exception as db_exception

from karbor import exception
from karbor.conf import opts
from karbor.context import RequestContext
from karbor.db import models, repository
from karbor.objects import operation_resource
from karbor.objects.plan import Plan
from karbor.objects.restore import Restore
from karbor.plugins.interface import Resource, State
from karbor.protection import book, run
from karbor.rpc import transport
from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.service import PROVIDER, Service
from karbor.tests.unit.protection.test_operations import checkpoint, operation, rows, until

CONF = cfg.CONF


@pytest.fixture
def backend():
    return backends.Backend()


@pytest.fixture
def make(database, backend, monkeypatch):
    """A function that makes a service whose plugin has these `Work` classes."""
    monkeypatch.setattr('karbor.protection.conductor.AGAIN_SECONDS', 0.05)
    services = []

    def made(types=('Leaf',), **works):
        plugin = backends.protection(backend, types)
        for name, work in works.items():
            setattr(plugin, name, type(work.__name__, (work,), {'backend': backend}))
        services.append(Service(backend, [plugin]))
        return services[-1]

    yield made
    for service in services:
        service.conductor.stop(2)


@pytest.fixture
def option():
    """A function that sets an option of `[protection]` for this test."""
    names = []

    def set_to(name, value):
        CONF.set_override(name, value, 'protection')
        names.append(name)

    yield set_to
    for name in names:
        CONF.clear_override(name, 'protection')


def broken(bank, monkeypatch, refuses, method='_write'):
    """Let the bank fail for the calls whose arguments ``refuses`` tells; it tells how often that was."""
    working, failures = getattr(bank, method), []

    def called(key, *arguments):
        if method == '_write':
            arguments = [b''.join(arguments[0])]
        if refuses(key, *arguments):
            failures.append(key)
            raise exception.BankUnavailable()
        return working(key, *([iter(arguments)] if method == '_write' else arguments))

    monkeypatch.setattr(bank, method, called)
    return failures


def restoring(service, backend, checkpoint_id):
    """(restore, operation) ids of a restore whose resource is being polled."""
    backend.gate = threading.Event()
    polls = backend.count('poll')
    restore, operation_id = Restore.new(provider_id=PROVIDER, checkpoint_id=checkpoint_id), str(uuid.uuid4())
    service.manager().restore(service.context, restore, operation_id)
    until(lambda: backend.count('poll') > polls + 1)
    return restore.id, operation_id


# --- what plugins answer -------------------------------------------------------------------------------


def answering(*states):
    """A `Work` that answers these, then the last one again."""

    class Answering(backends.Made):
        def poll(self, work, handle):
            self.backend.called('poll', work.resource.id)
            return states[min(self.backend.count('poll'), len(states)) - 1]

    return Answering


def test_an_unknown_word_is_shown_and_ends_when_it_lasts(make, backend, option):
    option('resource_timeout', 1)
    service = make(protect=answering(State('hibernating', 'deeply')))
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: (rows(operation_id).get('a') or models.OperationResource()).status_details == 'hibernating: deeply')
    assert rows(operation_id)['a'].status is None
    assert service.conductor.wait_idle(10)
    assert checkpoint(checkpoint_id).checkpoint_status == 'error'
    assert 'too_slow' in operation(operation_id).error_info


@pytest.mark.parametrize(
    ('told', 'shown'), [((150,), 99), ((-1,), 0), ((40, 20), 40), ((None,), None), ((40, None), 40)]
)
def test_progress_is_a_percent_that_never_falls(make, backend, told, shown):
    end = threading.Event()

    class Telling(answering(*(State('build', progress=n) for n in told))):
        def poll(self, work, handle):
            return State('available') if end.is_set() else super().poll(work, handle)

    service = make(protect=Telling)
    _, operation_id = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: backend.count('poll') > len(told) + 3)
    assert rows(operation_id)['a'].progress == shown
    end.set()
    assert service.conductor.wait_idle(10)
    assert rows(operation_id)['a'].progress == 100


def test_details_are_cut_and_cleaned(make):
    service = make(protect=answering(State('error', 'a\x00b\nc\x1b' + 'x' * 10_000)))
    _, operation_id = service.protect(('Leaf', 'a'))
    details = rows(operation_id)['a'].status_details
    assert details.startswith('a b c ')
    assert len(details) <= 4096
    assert details.isprintable()


@pytest.mark.parametrize('answer', [None, 'available', 7])
def test_a_poll_that_answers_no_state_fails_its_resource_only(make, backend, answer):
    class Odd(backends.Restored):
        def poll(self, work, handle):
            return answer if work.resource.id == 'a' else super().poll(work, handle)

    service = make(restore=Odd)
    checkpoint_id, _ = service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    before = set(backend.objects)
    _, operation_id = service.restore(checkpoint_id)
    found = rows(operation_id)
    assert (found['a'].status, found['b'].status) == ('error', 'active')
    assert found['a'].status_details.startswith('internal: ')
    assert set(backend.objects) - before == {found['b'].handle['object']}


def test_a_start_that_answers_nothing_has_an_empty_handle(make, backend):
    class Silent(backends.Made):
        def start(self, work):
            self.backend.called('start', work.resource.id)

        def poll(self, work, handle):
            assert handle == {}
            return State('available')

        def finish(self, work, handle):
            self.backend.called('finish', work.resource.id)

    checkpoint_id, _ = make(protect=Silent).protect(('Leaf', 'a'))
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'


# --- plans of odd shapes ----------------------------------------------------------------------------------


def test_a_plan_without_resources_makes_an_available_checkpoint_that_can_be_deleted(make):
    service = make()
    checkpoint_id, _ = service.protect()
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'
    service.delete(checkpoint_id)
    assert list(service.provider.bank.list('/')) == []


def test_a_resource_of_many_parents_is_protected_once(make, backend):
    service = make()
    service.protectables.plugins['Leaf'].children = lambda cloud, parent: [Resource('Leaf', 'shared', 'shared')]
    _, operation_id = service.protect(*(('Box', f'box{n}') for n in range(20)), ('Leaf', 'shared'))
    assert backend.count('start') == 1
    assert len(rows(operation_id)) == 21


def test_resources_of_one_id_and_two_types_are_kept_apart(make, backend):
    service = make(('Leaf', 'Branch'))
    service.protectables.plugins['Leaf'].children = lambda cloud, parent: []
    checkpoint_id, _ = service.protect(('Leaf', 'same'), ('Branch', 'same'))
    kept = [key for key in service.provider.bank.list('/') if key.endswith('/metadata')]
    assert len(kept) == 2
    assert len({service.provider.bank.get(key) for key in kept}) == 2
    service.delete(checkpoint_id)
    assert backend.objects == {}


# --- the bank fails ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'where',
    [
        lambda key, data: key.endswith('index.json') and b'"protecting"' in data,
        lambda key, data: key.startswith('/indices/by-plan'),
        lambda key, data: key.endswith('/metadata'),
        lambda key, data: key.endswith('index.json') and b'"available"' in data,
    ],
    ids=['begin', 'index', 'finish', 'end'],
)
def test_a_bank_that_takes_nothing_ends_the_checkpoint_and_leaves_nothing_behind(make, backend, monkeypatch, where):
    service = make()
    failures = broken(service.provider.bank, monkeypatch, where)
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    assert failures
    assert checkpoint(checkpoint_id).checkpoint_status == 'error'
    assert 'bank: the bank cannot be read or written (karbor)' in operation(operation_id).error_info
    assert backend.objects == {}


def test_a_delete_can_be_repeated_when_the_bank_failed(make, backend, monkeypatch):
    service = make()
    checkpoint_id, _ = service.protect(('Leaf', 'a'))
    with monkeypatch.context() as patched:
        failures = broken(service.provider.bank, patched, lambda key: key.endswith('/metadata'), '_delete')
        operation_id = service.delete(checkpoint_id)
    assert failures
    assert checkpoint(checkpoint_id).checkpoint_status == 'error-deleting'
    assert operation(operation_id).error_info.startswith('bank: ')
    service.delete(checkpoint_id)
    assert checkpoint(checkpoint_id).checkpoint_status == 'deleted'
    assert list(service.provider.bank.list('/')) == []


# --- the database fails --------------------------------------------------------------------------------------


def test_a_deadlock_repeats_the_group_of_writes(make, monkeypatch):
    update, failures = book._update, [db_exception.DBDeadlock()] * 3

    def deadlocking(*arguments):
        if failures:
            raise failures.pop()
        update(*arguments)

    monkeypatch.setattr(book, '_update', deadlocking)
    checkpoint_id, operation_id = make().protect(('Leaf', 'a'))
    assert failures == []
    assert (checkpoint(checkpoint_id).checkpoint_status, operation(operation_id).epoch) == ('available', 1)


@pytest.mark.parametrize('after', range(6))
def test_a_connection_lost_in_any_guarded_write_starts_nothing_twice(make, backend, monkeypatch, after):
    matched, calls = repository.matched, []

    def failing(session, query, **named):
        if query.table.name == 'operation_logs' and 'beat' in str(query):
            calls.append(1)
            if len(calls) == after + 1:
                raise db_exception.DBConnectionError('gone')
        return matched(session, query, **named)

    monkeypatch.setattr(run.repository, 'matched', failing)
    backend.polls = 4
    checkpoint_id, _ = make().protect(('Leaf', 'a'), ('Leaf', 'b'))
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'
    assert len(backend.objects) == backend.count('start') == 2


# --- restarts -----------------------------------------------------------------------------------------------------


def reopen(operation_id, checkpoint_id, word):
    """The rows as a crash between the last write to the bank and that to the database leaves them."""
    given_back = {'owner': '', 'expires_at': 0.0}
    repository.update(models.OperationLog, operation_id, {'ended_at': None, 'status': word} | given_back)
    repository.update(models.CheckpointRecord, checkpoint_id, {'checkpoint_status': word})


def test_a_protect_that_crashed_before_its_last_row_is_finished(make, backend):
    service = make()
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'))
    reopen(operation_id, checkpoint_id, 'protecting')
    service.replace_worker()
    assert service.conductor.wait_idle(10)
    assert (checkpoint(checkpoint_id).checkpoint_status, backend.count('start')) == ('available', 1)
    assert service.provider.bank.get_json(f'/checkpoints/{checkpoint_id}/index.json')['status'] == 'available'


def test_a_delete_that_crashed_before_its_last_row_is_finished(make, backend):
    service = make()
    checkpoint_id, _ = service.protect(('Box', 'box'))
    operation_id = service.delete(checkpoint_id)
    reopen(operation_id, checkpoint_id, 'deleting')
    service.replace_worker()
    assert service.conductor.wait_idle(10)
    assert (checkpoint(checkpoint_id).checkpoint_status, backend.count('remove')) == ('deleted', 2)
    assert list(service.provider.bank.list('/')) == []


def test_a_restore_that_crashed_before_its_last_row_keeps_its_new_ids(make, backend):
    service = make()
    checkpoint_id, _ = service.protect(('Leaf', 'a'))
    restore_id, operation_id = service.restore(checkpoint_id)
    starts, new_id = backend.count('start'), rows(operation_id)['a'].new_id
    repository.update(models.OperationLog, operation_id, {'ended_at': None, 'owner': '', 'expires_at': 0.0})
    repository.update(models.Restore, restore_id, {'status': 'in_progress'})
    service.replace_worker()
    assert service.conductor.wait_idle(10)
    assert (Restore.get(restore_id).status, backend.count('start')) == ('success', starts)
    assert rows(operation_id)['a'].new_id == new_id


def test_a_stop_while_a_failed_checkpoint_is_cleaned_up_lets_the_next_run_do_it(make, backend):
    backend.faults['finish', 'b'] = backends.REFUSED
    backend.faults['cancel', 'a'] = exception.BackendFault('unavailable', 'backend', transient=True)
    service = make()
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), ('Leaf', 'b'), wait=False)
    until(lambda: backend.count('cancel') > 1)
    service.conductor.stop(5)
    assert operation(operation_id).ended_at is None
    del backend.faults['cancel', 'a']
    service.replace_worker()
    assert service.conductor.wait_idle(10)
    assert checkpoint(checkpoint_id).checkpoint_status == 'error'
    assert operation(operation_id).error_info.startswith('Leaf b: refused')
    assert backend.objects == {}


def test_an_operation_whose_provider_is_gone_ends_with_the_reason(make, backend):
    service = make()
    checkpoint_id, _ = service.protect(('Leaf', 'a'))
    restore_id, operation_id = restoring(service, backend, checkpoint_id)
    service.conductor.stop(5)
    service.providers.clear()
    service.replace_worker()
    assert service.conductor.wait_idle(10)
    assert Restore.get(restore_id).status == 'fail'
    assert operation(operation_id).error_info.startswith('unsupported: ')
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'


def test_an_operation_whose_checkpoint_is_gone_ends_with_the_reason(make, backend):
    service = make()
    checkpoint_id, _ = service.protect(('Leaf', 'a'))
    restore_id, operation_id = restoring(service, backend, checkpoint_id)
    service.conductor.stop(5)
    repository.delete(models.CheckpointRecord, checkpoint_id)
    service.replace_worker()
    assert service.conductor.wait_idle(10)
    assert Restore.get(restore_id).status == 'fail'
    assert checkpoint_id in operation(operation_id).error_info


def test_an_operation_that_is_submitted_twice_runs_once(make, backend):
    backend.gate = threading.Event()
    service = make()
    _, operation_id = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: backend.count('poll') > 0)
    for _ in range(5):
        service.conductor.post(operation_id)
    backend.gate.set()
    assert service.conductor.wait_idle(10)
    service.conductor.post(operation_id)
    assert service.conductor.wait_idle(10)
    assert (backend.count('start'), operation(operation_id).epoch) == (1, 1)


# --- what is told, and to whom ------------------------------------------------------------------------------------


def test_no_token_is_logged(make, backend, caplog):
    caplog.set_level(logging.DEBUG)
    service = make()
    service.context.auth_token = 'a-very-secret-token'
    backend.faults['start', 'b'] = RuntimeError('boom')
    service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    assert caplog.text
    assert 'a-very-secret-token' not in caplog.text


def test_reasons_name_no_class_path_or_address(make, backend):
    backend.faults['start', 'a'] = OSError(2, 'No such file', '/var/lib/karbor/x')
    backend.faults['cancel', 'a'] = ValueError('http://inside.example:8786/v2')
    service = make()
    _, operation_id = service.protect(('Leaf', 'a'))
    told = [operation(operation_id).error_info, rows(operation_id)['a'].status_details]
    assert all(text and not any(word in text for word in ('Error', '/', 'http', 'file')) for text in told)


def test_reports_of_one_resource_leave_the_others_alone(make):
    service = make()
    checkpoint_id, _ = service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    restore_id, operation_id = service.restore(checkpoint_id)
    Restore.get(restore_id).update_resource_status('Leaf', 'a', 'error', 'reason')
    assert (rows(operation_id)['a'].status, rows(operation_id)['b'].status) == ('error', 'active')
    maps = operation_resource.maps(operation_resource.of_operations([operation_id]), 'restore')
    assert maps['resource_reason'] == {'Leaf#a': 'reason'}


class Refusing:
    """An RPC end that raises what it is told."""

    target = messaging.Target(version='1.0')

    @transport.expected
    def refuse(self, context, name, fields):
        raise getattr(exception, name)(**fields)


@pytest.fixture
def remote():
    """An end behind oslo.messaging's own driver."""
    opts.register()
    CONF([], project='karbor', default_config_files=[])
    transport.init(CONF)
    CONF.set_override('transport_url', 'fake://')
    transport.init(CONF)
    server = transport.server('refusing', Refusing())
    server.start()
    yield
    server.stop()
    server.wait()
    CONF.clear_override('transport_url')


@pytest.mark.parametrize(
    ('name', 'fields'),
    [
        (
            'CheckpointInUse',
            {'id': 'c', 'state': 's', 'operation_type': 'restore', 'operation_id': 'o', 'action': 'delete'},
        ),
        ('OverQuota', {'in_use': 1, 'limit': 1, 'resource': 'checkpoints'}),
        ('ProtectableListFailed', {'type': 'T', 'reason': '100% broken, %s'}),
        ('ServiceUnavailable', {'service': 'bank'}),
    ],
)
def test_a_fault_crosses_rpc_with_its_class_and_text_alone(remote, name, fields):
    context = RequestContext(project_id='p', user_id='u', auth_token='token', overwrite=False)
    known = getattr(exception, name)
    with pytest.raises(known) as raised:
        transport.call('refusing', context, 'refuse', 5, name=name, fields=fields)
    assert type(raised.value) is known
    assert raised.value.text == known(**fields).text
    assert str(raised.value) == raised.value.text


def test_an_operation_ends_while_another_one_waits(make, backend):
    backend.gate = threading.Event()
    service = make()
    service.protect(('Leaf', 'a'), wait=False)
    until(lambda: backend.count('poll') > 0)
    plan = Plan.new(name='plan', provider_id=PROVIDER, project_id='project', resources=[])
    service.manager().protect(service.context, plan, checkpoint_id := str(uuid.uuid4()), str(uuid.uuid4()), {})
    until(lambda: checkpoint(checkpoint_id).checkpoint_status == 'available')
    backend.gate.set()
    assert service.conductor.wait_idle(10)
