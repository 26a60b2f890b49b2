# SPDX-License-Identifier: Apache-2.0
"""Operations from accepting to their end: order, failures, interruptions. The bank and the database are real."""

import threading
import time
import uuid

import pytest
from oslo_config import cfg

from karbor import exception
from karbor.db import engine, models, repository
from karbor.objects import operation_resource
from karbor.objects.plan import Plan
from karbor.objects.restore import Restore
from karbor.plugins.interface import State
from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.service import PROVIDER, Service

CONF = cfg.CONF


def operation(id):
    return repository.get(models.OperationLog, id)


def checkpoint(id):
    return repository.get(models.CheckpointRecord, id)


def rows(operation_id):
    found = repository.find(
        models.OperationResource, filters={'operation_id': operation_id}, sort=[('position', 'asc')]
    )
    return {row.resource_id: row for row in found}


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it did not happen in time'
        time.sleep(0.01)


def test_a_checkpoint_is_available_when_every_resource_is(service, backend):
    backend.polls = 3
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'
    log = operation(operation_id)
    assert (log.status, log.operation_type, log.error_info) == ('available', 'protect', None)
    assert log.ended_at >= log.started_at
    assert log.extra_info == {'Leaf#a': {'job': 'object-1'}, 'Leaf#b': {'job': 'object-2'}} or len(log.extra_info) == 2
    for row in rows(operation_id).values():
        assert (row.status, row.status_details, row.progress) == ('active', None, 100)
        assert row.ended_at >= row.started_at
    assert service.provider.bank.get_json(f'/checkpoints/{checkpoint_id}/index.json')['status'] == 'available'


def test_it_is_protecting_while_it_runs_and_tells_how_far(service, backend):
    backend.gate = threading.Event()
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), wait=False)
    assert checkpoint(checkpoint_id).checkpoint_status == 'protecting'
    until(lambda: (rows(operation_id).get('a') or models.OperationResource()).progress == 30)
    assert rows(operation_id)['a'].status == 'build'
    backend.gate.set()
    assert service.conductor.wait_idle(10)
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'


def test_a_container_brings_its_children_and_needs_no_plugin(service):
    checkpoint_id, operation_id = service.protect(('Box', 'box'))
    found = rows(operation_id)
    assert set(found) == {'box', 'box-0', 'box-1'}
    assert found['box'].status is None
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'


def test_a_failed_start_ends_the_checkpoint_and_leaves_nothing_behind(service, backend):
    backend.faults['start', 'b'] = backends.REFUSED
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), ('Leaf', 'b'), ('Leaf', 'c'))
    log = operation(operation_id)
    assert (log.status, checkpoint(checkpoint_id).checkpoint_status) == ('error', 'error')
    assert log.error_info == 'Leaf b: refused: the service refused the request as invalid (backend, request req-1)'
    assert backend.objects == {}
    assert rows(operation_id)['b'].status == 'error'
    assert 'active' not in {row.status for row in rows(operation_id).values()}


def test_an_object_that_ends_in_error_fails_the_checkpoint(service, backend):
    backend.states['a'] = 'error_restoring'
    _, operation_id = service.protect(('Leaf', 'a'))
    assert operation(operation_id).status == 'error'
    assert rows(operation_id)['a'].status_details.startswith('failed: ')
    assert backend.objects == {}


def test_an_answer_that_was_lost_leaves_nothing_behind(service, backend):
    backend.faults['started', 'a'] = exception.BackendFault('timeout', 'backend', transient=True)
    _, operation_id = service.protect(('Leaf', 'a'))
    assert operation(operation_id).status == 'error'
    assert backend.objects == {}


class Again(backends.Made):
    repeatable = True


def test_a_start_that_meets_a_passing_fault_is_made_again(database, backend):
    service = Service(backend, [backends.protection(backend)])
    service.provider.protections['Leaf'].protect = type('Again', (Again,), {'backend': backend})
    backend.faults['started', 'a'] = exception.BackendFault('over_limit', 'backend', transient=True, retry_after=0.2)
    checkpoint_id, _ = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: backend.count('started') == 1)
    backend.faults.clear()
    assert service.conductor.wait_idle(10)
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'
    assert len(backend.objects) == backend.count('start') == 1  # the second time it was found
    service.conductor.stop(5)


def test_a_passing_fault_that_does_not_pass_ends_the_checkpoint(database, backend):
    service = Service(backend, [backends.protection(backend)])
    service.provider.protections['Leaf'].protect = type('Again', (Again,), {'backend': backend})
    backend.faults['start', 'a'] = exception.BackendFault('unavailable', 'backend', transient=True)
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'))
    assert checkpoint(checkpoint_id).checkpoint_status == 'error'
    assert backend.count('start') > 2
    assert 'unavailable' in operation(operation_id).error_info
    service.conductor.stop(5)


class RemovedByHandle(backends.Removed):
    """Removes what a failed protect noted nowhere but in its row."""

    def start(self, work):
        self.backend.objects.pop((work.protected or {}).get('object'), None)
        return {}


def test_a_delete_knows_what_a_failed_protect_could_not_remove(database, backend):
    service = Service(backend, [backends.protection(backend)])
    service.provider.protections['Leaf'].delete = type('ByHandle', (RemovedByHandle,), {'backend': backend})
    backend.faults['finish', 'a'] = backends.REFUSED
    backend.faults['cancel', 'a'] = backends.REFUSED
    checkpoint_id, _ = service.protect(('Leaf', 'a'))
    assert checkpoint(checkpoint_id).checkpoint_status == 'error'
    assert len(backend.objects) == 1
    service.delete(checkpoint_id)
    assert backend.objects == {}
    service.conductor.stop(5)


def test_what_cannot_be_removed_is_told(service, backend):
    backend.faults['start', 'b'] = backends.REFUSED
    backend.faults['cancel', 'a'] = backends.REFUSED
    backend.gate = threading.Event()
    _, operation_id = service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    assert operation(operation_id).error_info.endswith('may be left: what was made for Leaf a')


def test_faults_while_polling_are_borne_for_a_while(service, backend):
    fault = exception.BackendFault('unavailable', 'backend', transient=True)
    backend.faults['poll', 'a'] = fault
    checkpoint_id, _ = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: backend.count('poll') >= 3)
    del backend.faults['poll', 'a']
    assert service.conductor.wait_idle(10)
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'


def test_faults_while_polling_end_the_resource_when_they_go_on(service, backend):
    backend.faults['poll', 'a'] = exception.BackendFault('unavailable', 'backend', 'req-9', transient=True)
    _, operation_id = service.protect(('Leaf', 'a'))
    assert 'unavailable' in operation(operation_id).error_info
    assert 'req-9' in operation(operation_id).error_info


def test_a_resource_that_never_gets_ready_ends_in_error(service, backend):
    CONF.set_override('resource_timeout', 1, 'protection')
    backend.gate = threading.Event()
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'))
    CONF.clear_override('resource_timeout', 'protection')
    assert checkpoint(checkpoint_id).checkpoint_status == 'error'
    assert 'too_slow' in operation(operation_id).error_info


def test_a_listing_that_fails_fails_the_checkpoint_without_telling_addresses(service):
    checkpoint_id, operation_id = service.protect(('Box', 'broken'))
    assert checkpoint(checkpoint_id).checkpoint_status == 'error'
    assert 'Leaf' in operation(operation_id).error_info
    assert 'http' not in operation(operation_id).error_info
    assert rows(operation_id) == {}


def test_a_type_without_plugin_fails_the_checkpoint_naming_it(service):
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), ('Strange', 's'))
    assert checkpoint(checkpoint_id).checkpoint_status == 'error'
    assert 'Strange s' in operation(operation_id).error_info


def test_a_type_without_plugin_is_listed_when_it_may_be_skipped(service):
    service.provider.skip_unsupported = True
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), ('Strange', 's'))
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'
    assert rows(operation_id)['s'].status is None
    assert 'unsupported' in rows(operation_id)['s'].status_details


def test_a_bug_of_a_plugin_is_told_without_its_text(service, backend):
    backend.faults['start', 'a'] = KeyError('/etc/secret')
    _, operation_id = service.protect(('Leaf', 'a'))
    assert 'secret' not in operation(operation_id).error_info
    assert operation(operation_id).status == 'error'


def test_a_restore_tells_the_new_ids(service):
    checkpoint_id, _ = service.protect(('Leaf', 'a'))
    restore_id, operation_id = service.restore(checkpoint_id)
    assert Restore.get(restore_id).status == 'success'
    assert operation(operation_id).status == 'restored'
    shown = operation_resource.maps(operation_resource.of_operations([operation_id]), 'restore')
    new_id = rows(operation_id)['a'].new_id
    assert shown['resources_status'] == {f'Leaf#{new_id}': 'available'}
    assert shown['resource_status'] == {'Leaf#a': 'available'}
    assert shown['resources_reason'] == {}


class Talking(backends.Restored):
    """Reports as plugins of Karbor 1.6 do: with raw words, and the new id."""

    def start(self, work):
        work.restore.update_resource_status(work.resource.type, work.resource.id, 'restoring')
        handle = super().start(work)
        work.restore.update_resource_status(work.resource.type, 'new-one', 'hibernating', 'a\x00b')
        return handle

    def poll(self, work, handle):
        self.backend.called('poll', work.resource.id)
        return State('creating') if not self.backend.gate.is_set() else State('available')


def test_a_plugin_reports_through_the_restore(database, backend):
    service = Service(backend, [backends.protection(backend, restored=Talking)])
    checkpoint_id, _ = service.protect(('Leaf', 'a'))
    backend.gate = threading.Event()
    restore = Restore.new(provider_id=PROVIDER, checkpoint_id=checkpoint_id, parameters={})
    operation_id = str(uuid.uuid4())
    service.manager().restore(service.context, restore, operation_id)
    until(lambda: (rows(operation_id).get('a') or models.OperationResource()).new_id == 'new-one')
    backend.gate.set()
    assert service.conductor.wait_idle(10)
    shown = operation_resource.maps(operation_resource.of_operations([operation_id]), 'restore')
    assert shown['resources_status'] == {'Leaf#new-one': 'available'}
    assert shown['resource_status'] == {'Leaf#a': 'available'}
    service.conductor.stop(5)


def test_a_report_outside_of_a_run_is_written_at_once(service):
    checkpoint_id, _ = service.protect(('Leaf', 'a'))
    restore_id, operation_id = service.restore(checkpoint_id)
    Restore.get(restore_id).update_resource_status('Leaf', 'a', 'error', 'x' * 5000)
    row = rows(operation_id)['a']
    assert (row.status, len(row.status_details)) == ('error', 4096)
    Restore.get(restore_id).update_resource_status('Leaf', row.new_id, 'sleeping')
    assert (rows(operation_id)['a'].status, rows(operation_id)['a'].status_details) == (None, 'sleeping')


def test_a_restore_goes_on_past_a_failed_resource_and_removes_its_half(service, backend):
    checkpoint_id, _ = service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    before = set(backend.objects)
    backend.states['a'] = 'error'
    restore_id, operation_id = service.restore(checkpoint_id)
    assert Restore.get(restore_id).status == 'fail'
    assert operation(operation_id).status == 'error-restoring'
    assert operation(operation_id).error_info.startswith('Leaf a: failed')
    found = rows(operation_id)
    assert (found['a'].status, found['b'].status) == ('error', 'active')
    assert set(backend.objects) - before == {found['b'].handle['object']}
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'


def test_what_depends_on_a_failed_resource_is_not_started(database, backend):
    late = backends.protection(backend, ('Branch',), backends.RestoredLast, name='Branches')
    service = Service(backend, [backends.protection(backend), late])
    checkpoint_id, _ = service.protect(('Branch', 'branch'))
    backend.faults['start', 'branch-0'] = backends.REFUSED
    _, operation_id = service.restore(checkpoint_id)
    found = rows(operation_id)
    assert found['branch'].status == 'error'
    assert found['branch'].status_details.startswith('not started')
    assert operation(operation_id).error_info.startswith('Leaf branch-0: refused')
    service.conductor.stop(5)


def test_parents_are_completed_after_their_children(database, backend):
    late = backends.protection(backend, ('Branch',), backends.RestoredLast, name='Branches')
    service = Service(backend, [backends.protection(backend, restored=backends.RestoredLast), late])
    checkpoint_id, _ = service.protect(('Branch', 'branch'))
    backend.calls.clear()
    service.restore(checkpoint_id)
    finished = [id for call, id in backend.calls if call in ('finish', 'start')]
    assert finished.index('branch') > max(finished.index('branch-0'), finished.index('branch-1'))
    service.conductor.stop(5)


def test_a_deleted_checkpoint_leaves_no_object_and_stays_readable(service, backend):
    checkpoint_id, _ = service.protect(('Leaf', 'a'))
    operation_id = service.delete(checkpoint_id)
    assert backend.objects == {}
    assert list(service.provider.bank.list('/')) == []
    assert checkpoint(checkpoint_id).checkpoint_status == 'deleted'
    assert (operation(operation_id).operation_type, operation(operation_id).status) == ('delete', 'deleted')


def test_a_failed_delete_can_be_repeated(service, backend):
    checkpoint_id, _ = service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    backend.faults['remove', 'a'] = backends.REFUSED
    operation_id = service.delete(checkpoint_id)
    assert checkpoint(checkpoint_id).checkpoint_status == 'error-deleting'
    assert operation(operation_id).status == 'error-deleting'
    backend.faults.clear()
    service.delete(checkpoint_id)
    assert checkpoint(checkpoint_id).checkpoint_status == 'deleted'


def test_delete_and_reset_wait_for_what_uses_the_checkpoint(service, backend):
    checkpoint_id, _ = service.protect(('Leaf', 'a'))
    backend.gate = threading.Event()
    restore = Restore.new(provider_id=PROVIDER, checkpoint_id=checkpoint_id, parameters={})
    manager = service.manager()
    manager.restore(service.context, restore, str(uuid.uuid4()))
    with pytest.raises(Exception) as refused:
        manager.delete(service.context, PROVIDER, checkpoint_id, str(uuid.uuid4()))
    assert isinstance(refused.value.exc_info[1], exception.CheckpointInUse)
    with pytest.raises(Exception) as refused:
        manager.reset_state(service.context, PROVIDER, checkpoint_id, 'error')
    assert isinstance(refused.value.exc_info[1], exception.CheckpointInUse)
    backend.gate.set()
    assert service.conductor.wait_idle(10)
    manager.reset_state(service.context, PROVIDER, checkpoint_id, 'error')
    assert checkpoint(checkpoint_id).checkpoint_status == 'error'
    assert service.provider.bank.get_json(f'/checkpoints/{checkpoint_id}/index.json')['status'] == 'error'


def test_accepting_twice_makes_one_operation(service):
    plan = Plan.new(name='plan', provider_id=PROVIDER, project_id='project', resources=[])
    ids = str(uuid.uuid4()), str(uuid.uuid4())
    for _ in range(2):
        service.manager().protect(service.context, plan, *ids, {})
    assert service.conductor.wait_idle(10)
    assert repository.count(models.CheckpointRecord) == repository.count(models.OperationLog) == 1


def test_a_restarted_worker_polls_on_and_starts_nothing_again(service, backend):
    backend.gate = threading.Event()
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), ('Leaf', 'b'), wait=False)
    until(lambda: [r.handle for r in rows(operation_id).values()].count(None) == 0 and backend.count('poll') > 2)
    service.conductor.stop(5)
    assert checkpoint(checkpoint_id).checkpoint_status == 'protecting'
    backend.gate.set()
    service.replace_worker()
    assert service.conductor.wait_idle(10)
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'
    assert backend.count('start') == 2
    assert operation(operation_id).epoch == 2


def test_a_start_whose_handle_was_lost_is_found_again(service, backend):
    """The worker dies between the back end's answer and the record: the next one adopts the object by its tag."""
    backend.gate = threading.Event()
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: (rows(operation_id).get('a') or models.OperationResource()).handle is not None)
    service.conductor.stop(5)
    repository.update(models.OperationResource, (operation_id, 0), {'handle': None, 'status': None})
    backend.gate.set()
    service.replace_worker()
    assert service.conductor.wait_idle(10)
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'
    assert len(backend.objects) == backend.count('start') == 1


def test_a_worker_whose_operation_was_taken_over_writes_nothing_more(service, backend):
    backend.gate = threading.Event()
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), wait=False)
    until(lambda: backend.count('poll') > 1)
    before = {k: v for k, v in vars(rows(operation_id)['a']).items() if not k.startswith('_')}
    repository.update(models.OperationLog, operation_id, {'epoch': 50, 'ended_at': operation(operation_id).started_at})
    backend.gate.set()
    assert service.conductor.wait_idle(15)
    after = {k: v for k, v in vars(rows(operation_id)['a']).items() if not k.startswith('_')}
    assert after == before
    assert checkpoint(checkpoint_id).checkpoint_status == 'protecting'


def test_an_operation_of_karbor_1_6_is_not_taken_up(service):
    repository.create(models.OperationLog(id='old', project_id='p', operation_type='protect', status='protecting'))
    service.replace_worker()
    assert service.conductor.wait_idle(5)
    assert operation('old').status == 'protecting'


def test_a_lost_database_interrupts_and_the_operation_goes_on(service, backend, monkeypatch):
    from oslo_db import exception as db_exception

    from karbor.protection.book import Book

    write, failures = Book.write, [3]

    def failing(self, **told):
        if failures[0]:
            failures[0] -= 1
            raise db_exception.DBConnectionError('gone')
        write(self, **told)

    monkeypatch.setattr(Book, 'write', failing)
    monkeypatch.setattr('karbor.protection.conductor.AGAIN_SECONDS', 0.01)
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'
    assert len(backend.objects) == 2
    assert operation(operation_id).epoch > 1


def test_no_token_is_written_to_the_database(service, tmp_path):
    service.context.auth_token = 'a-very-secret-token'
    service.protect(('Leaf', 'a'))
    for path in tmp_path.glob('karbor.sqlite*'):
        assert b'a-very-secret-token' not in path.read_bytes()


def test_many_resources_cost_few_statements_each(service, backend):
    import sqlalchemy as sa

    statements = []
    sa.event.listen(engine.engine(), 'before_cursor_execute', lambda *a: statements.append(a[2]))
    _, operation_id = service.protect(*(('Leaf', f'leaf{n}') for n in range(300)))
    assert len(rows(operation_id)) == 300
    assert len(statements) < 0.5 * 300
