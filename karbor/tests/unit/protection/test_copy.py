# SPDX-License-Identifier: Apache-2.0
"""Copies of checkpoints from accepting to their end: all or none, and nothing is left of one that failed."""

import threading

import orjson
import oslo_messaging as messaging
import pytest
from oslo_config import cfg

from karbor import exception, submission
from karbor.context import RequestContext
from karbor.db import models, repository
from karbor.objects.checkpoint import Checkpoint
from karbor.plugins.banks import layout
from karbor.protection import flows, recovery
from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.test_operations import checkpoint, operation, rows, until

CONF = cfg.CONF


@pytest.fixture
def checkpoint_id(service):
    """A checkpoint of a box with two leaves in it."""
    return service.protect(('Box', 'box'))[0]


def index(service, id):
    return service.provider.bank.get_json(layout.checkpoint_index(id))


def told(id):
    return orjson.loads(checkpoint(id).extend_info)


def refused(service, fault, *checkpoints, **named):
    """What is told of a copy that is refused; nothing was written."""
    tables = (models.CheckpointRecord, models.OperationLog)
    before = [repository.count(table) for table in tables]
    with pytest.raises(messaging.ExpectedException) as raised:
        service.copy(*checkpoints, wait=False, **named)
    assert isinstance(raised.value.exc_info[1], fault)
    assert [repository.count(table) for table in tables] == before
    return str(raised.value.exc_info[1])


def test_a_copy_is_a_checkpoint_of_its_own(service, backend, checkpoint_id):
    source = Checkpoint.get(checkpoint_id)
    ((copy_id, operation_id),) = service.copy(checkpoint_id)
    copy, log = Checkpoint.get(copy_id), operation(operation_id)
    assert (copy.checkpoint_status, copy.operation_id, copy.status_details) == ('available', operation_id, None)
    assert (copy.plan_id, copy.protection_plan) == (source.plan_id, source.protection_plan)
    assert copy.graph() == source.graph()
    assert (log.operation_type, log.status, log.checkpoint_id) == ('copy', 'available', copy_id)
    assert (log.source_checkpoint_id, log.error_info) == (checkpoint_id, None)
    found = rows(operation_id)
    assert {id: row.status for id, row in found.items()} == {'box': None, 'box-0': 'active', 'box-1': 'active'}
    assert len(backend.objects) == 4
    made = {row.resource_id: row.handle for row in rows(source.operation_id).values() if row.handle}
    originals = {id: handle['object'] for id, handle in made.items()}
    assert {id for call, id in backend.calls if call == 'copy'} == set(originals.values())
    for id in ('box-0', 'box-1'):
        noted = service.provider.bank.get_json(layout.resource_metadata(copy_id, id))
        assert noted == found[id].handle != {'object': originals[id]}


def test_source_and_copy_are_marked_in_the_database_and_in_the_bank(service, checkpoint_id):
    ((copy_id, _),) = service.copy(checkpoint_id)
    assert told(checkpoint_id) == {'created_by': 'manual', 'copy_status': 'finished'}
    assert told(copy_id) == {'created_by': 'manual', 'copied_from': checkpoint_id, 'copy_status': 'finished'}
    for id in (checkpoint_id, copy_id):
        document = index(service, id)
        assert orjson.loads(document['extra_info']) == told(id)
        assert document['status'] == checkpoint(id).checkpoint_status == 'available'
        assert document['resource_graph'] == Checkpoint.get(id).graph()


def test_what_the_user_had_kept_stays_with_the_copy_and_the_schedule_does_not(service, checkpoint_id):
    kept = {'created_by': 'operation-engine', 'trigger_id': 't', 'scheduled_operation_id': 's', 'label': 'nightly'}
    repository.update(models.CheckpointRecord, checkpoint_id, {'extend_info': orjson.dumps(kept).decode()})
    ((copy_id, operation_id),) = service.copy(checkpoint_id)
    assert told(copy_id)['label'] == 'nightly'
    assert told(copy_id)['created_by'] == 'manual'
    assert not {'trigger_id', 'scheduled_operation_id'} & told(copy_id).keys()
    assert told(checkpoint_id) == kept | {'copy_status': 'finished'}
    assert operation(operation_id).scheduled_operation_id is None


def test_a_copy_is_restored_verified_and_deleted_without_its_source(service, backend, checkpoint_id):
    ((copy_id, _),) = service.copy(checkpoint_id)
    service.delete(checkpoint_id)
    assert len(backend.objects) == 2
    _, verifying = service.verify(copy_id)
    assert operation(verifying).status == 'success'
    _, restoring = service.restore(copy_id)
    assert operation(restoring).status == 'restored'
    service.delete(copy_id)
    assert checkpoint(copy_id).checkpoint_status == 'deleted'
    assert service.provider.bank.list(layout.checkpoint_prefix(copy_id)) == []
    assert len(backend.objects) == 2  # what was restored


def test_it_waits_then_copies_and_holds_up_its_source(service, backend, checkpoint_id):
    service.conductor.stop(5)
    ((copy_id, operation_id),) = service.copy(checkpoint_id, wait=False)
    assert checkpoint(copy_id).checkpoint_status == operation(operation_id).status == 'wait_copying'
    backend.gate = threading.Event()
    service.conductor = service.worker()
    service.conductor.start()
    until(lambda: backend.count('copy') == 2)
    assert checkpoint(copy_id).checkpoint_status == operation(operation_id).status == 'copying'
    assert index(service, copy_id)['status'] == 'copying'
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'
    manager, provider = service.manager(), service.provider.id
    for call in (
        lambda: service.delete(checkpoint_id, wait=False),
        lambda: manager.reset_state(service.context, provider, checkpoint_id, 'error'),
        lambda: manager.reset_state(service.context, provider, copy_id, 'error'),
        lambda: service.copy(checkpoint_id, wait=False),
    ):
        with pytest.raises(messaging.ExpectedException) as raised:
            call()
        assert isinstance(raised.value.exc_info[1], exception.CheckpointInUse)
        assert f'copy operation {operation_id}' in str(raised.value.exc_info[1])
    with pytest.raises(messaging.ExpectedException) as raised:
        service.delete(copy_id, wait=False)
    assert isinstance(raised.value.exc_info[1], exception.CheckpointInUse)
    backend.gate.set()
    assert service.conductor.wait_idle(10)
    assert checkpoint(copy_id).checkpoint_status == 'available'


def test_a_failed_copy_ends_in_error_and_leaves_nothing_behind(service, backend, checkpoint_id):
    before = dict(backend.objects)
    backend.faults['start', 'box-1'] = backends.REFUSED
    ((copy_id, operation_id),) = service.copy(checkpoint_id)
    assert checkpoint(copy_id).checkpoint_status == operation(operation_id).status == 'error'
    assert checkpoint(copy_id).status_details.startswith('Leaf box-1: refused: ')
    assert backend.objects == before
    assert 'active' not in {row.status for row in rows(operation_id).values()}
    assert told(checkpoint_id) == {'created_by': 'manual'}
    assert orjson.loads(index(service, checkpoint_id)['extra_info']) == {'created_by': 'manual'}
    assert index(service, copy_id)['status'] == 'error'
    backend.faults.clear()
    ((again, _),) = service.copy(checkpoint_id)
    assert checkpoint(again).checkpoint_status == 'available'
    service.delete(copy_id)
    assert checkpoint(copy_id).checkpoint_status == 'deleted'
    assert len(backend.objects) == 4


def test_a_copy_that_is_cancelled_at_the_last_moment_marks_nothing(service, backend, checkpoint_id, monkeypatch):
    before, write = dict(backend.objects), flows.checkpoint.write_index

    def cancelled_meanwhile(bank, row, status, *more, **ours):
        write(bank, row, status, *more, **ours)
        if row.id == checkpoint_id and 'copy_status' in (ours.get('extra_info') or ''):
            open_ones = repository.find(models.OperationLog, ['id'], {'ended_at': None})
            submission.cancel(open_ones[0].id)

    monkeypatch.setattr(flows.checkpoint, 'write_index', cancelled_meanwhile)
    ((copy_id, operation_id),) = service.copy(checkpoint_id)
    assert (operation(operation_id).status, operation(operation_id).error_info) == ('error', 'cancelled')
    assert checkpoint(copy_id).checkpoint_status == 'error'
    assert backend.objects == before
    for extra_info in (checkpoint(checkpoint_id).extend_info, index(service, checkpoint_id)['extra_info']):
        assert orjson.loads(extra_info) == {'created_by': 'manual'}


def test_another_worker_goes_on_with_it(service, backend, checkpoint_id):
    backend.gate = threading.Event()
    ((copy_id, operation_id),) = service.copy(checkpoint_id, wait=False)
    until(lambda: sum(row.handle is not None for row in rows(operation_id).values()) == 2)
    service.replace_worker()
    backend.gate.set()
    assert service.conductor.wait_idle(20)
    assert checkpoint(copy_id).checkpoint_status == 'available'
    assert (operation(operation_id).epoch, backend.count('copy'), len(backend.objects)) == (2, 2, 4)
    assert told(checkpoint_id)['copy_status'] == 'finished'


def test_one_that_the_operator_ends_is_an_error(service, checkpoint_id):
    service.conductor.stop(5)
    ((copy_id, operation_id),) = service.copy(checkpoint_id, wait=False)
    repository.update(models.OperationLog, operation_id, {'expires_at': 0.0})
    recovery.recover(operation_id, end=True)
    assert checkpoint(copy_id).checkpoint_status == operation(operation_id).status == 'error'
    assert told(checkpoint_id) == {'created_by': 'manual'}


# --- accepting


def test_several_are_accepted_together(service, backend):
    sources = [service.protect(('Leaf', name))[0] for name in 'abc']
    made = service.copy(*sources)
    assert {checkpoint(id).checkpoint_status for id, _ in made} == {'available'}
    assert [told(id)['copied_from'] for id, _ in made] == sources
    assert len(backend.objects) == 6


def test_all_are_refused_when_one_cannot_be_had(service, backend, checkpoint_id):
    other, _ = service.protect(('Leaf', 'a'))
    repository.update(models.CheckpointRecord, other, {'checkpoint_status': 'error'})
    assert 'is error' in refused(service, exception.CheckpointInvalidState, checkpoint_id, other)
    refused(service, exception.CheckpointNotFound, checkpoint_id, context=of_another_project())
    backend.gate = threading.Event()
    service.restore(checkpoint_id, wait=False)
    assert 'restore operation' in refused(service, exception.CheckpointInUse, checkpoint_id)
    backend.gate.set()


def of_another_project():
    return RequestContext(project_id='another', user_id='user', roles=['member'], auth_token='token')


def test_what_has_a_copy_is_not_copied_again_and_no_copy_is_copied(service, checkpoint_id):
    ((copy_id, _),) = service.copy(checkpoint_id)
    for id in (checkpoint_id, copy_id):
        assert 'has a copy already, or is one' in refused(service, exception.CheckpointCopied, id)


def test_types_that_no_plugin_copies_are_named_before_anything_is_made(service, backend, checkpoint_id):
    other, _ = service.protect(('Branch', 'big'))
    service.provider.protections['Branch'].copy = None
    text = refused(service, exception.CopyUnsupported, checkpoint_id, other)
    assert (
        text == f'Checkpoint {other} cannot be copied: provider {service.provider.id} has no plugin that copies Branch.'
    )
    del service.provider.protections['Leaf'], service.provider.protections['Branch']
    assert 'that copies Leaf.' in refused(service, exception.CopyUnsupported, checkpoint_id)


def test_what_was_left_out_of_a_checkpoint_is_left_out_of_its_copy(service, backend):
    lost = service.provider.protections.pop('Branch')
    made, _ = service.protect(('Leaf', 'a'), ('Branch', 'big'), parameters={'skip_unsupported': True})
    assert checkpoint(made).checkpoint_status == 'available'
    refused(service, exception.CopyUnsupported, made)
    ((copy_id, operation_id),) = service.copy(made, parameters={'skip_unsupported': True})
    assert checkpoint(copy_id).checkpoint_status == 'available'
    assert rows(operation_id)['big'].status is None
    assert lost is not None


def test_copies_count_against_the_quota(service):
    sources = [service.protect(('Leaf', name))[0] for name in 'ab']
    CONF.set_override('quota_checkpoints', 3)
    try:
        refused(service, exception.OverQuota, *sources)
        service.copy(sources[0])
        refused(service, exception.OverQuota, sources[1])
    finally:
        CONF.clear_override('quota_checkpoints')
