# SPDX-License-Identifier: Apache-2.0
"""Handing operations over: nothing is accepted twice, and an answer that got lost is found."""

import oslo_messaging as messaging
import pytest
from oslo_config import cfg
from oslo_utils import uuidutils

from karbor import exception, submission
from karbor.db import models, repository
from karbor.objects.plan import Plan
from karbor.objects.restore import Restore
from karbor.objects.verification import Verification
from karbor.rpc import transport
from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.service import PROVIDER, Service


class Mute:
    """An end that does what it is asked and whose answer gets lost; or, ``deaf``, that never hears."""

    def __init__(self, end):
        self.end, self.deaf = end, False

    def __getattr__(self, name):
        def asked(*arguments, **named):
            if not self.deaf:
                getattr(self.end, name)(*arguments, **named)
            raise exception.ServiceUnavailable(service='karbor-protection')

        return asked


class Twice:
    """An end that every request arrives at twice, as when a broker was away for a moment."""

    def __init__(self, end):
        self.end = end

    def __getattr__(self, name):
        def asked(*arguments, **named):
            getattr(self.end, name)(*arguments, **named)
            return getattr(self.end, name)(*arguments, **named)

        return asked


class Late:
    """An end that hears a request only after its caller was told to try again."""

    def __init__(self, end):
        self.end, self.calls = end, []

    def __getattr__(self, name):
        def asked(*arguments, **named):
            self.calls.append((name, arguments, named))
            raise exception.ServiceUnavailable(service='karbor-protection')

        return asked

    def hear(self):
        while self.calls:
            name, arguments, named = self.calls.pop()
            with pytest.raises(messaging.ExpectedException) as refused:
                getattr(self.end, name)(*arguments, **named)
            assert isinstance(refused.value.exc_info[1], exception.Conflict)


@pytest.fixture
def service(database):
    backend = backends.Backend()
    made = Service(backend, [backends.protection(backend)])
    transport.init(cfg.CONF)
    cfg.CONF.set_override('transport_url', 'local://')
    yield made
    cfg.CONF.clear_override('transport_url')
    made.conductor.stop(5)


def served(end):
    transport.init(cfg.CONF)
    transport.server(cfg.CONF.protection_topic, end).start()
    return end


def plan():
    leaf = {'type': 'Leaf', 'id': 'a', 'name': 'a'}
    made = Plan.new(name='p', provider_id=PROVIDER, project_id='project', status='suspended', resources=[leaf])
    made.create()
    return made


def test_what_is_submitted_is_answered_as_accepted(service):
    served(service.manager())
    checkpoint = submission.protect(service.context, plan())
    assert checkpoint.checkpoint_status == 'protecting'
    assert checkpoint.extend_info == '{"created_by":"manual"}'
    assert checkpoint.protection_plan['resources'][0]['id'] == 'a'
    assert service.conductor.wait_idle(10)
    restore = Restore.new(provider_id=PROVIDER, checkpoint_id=checkpoint.id, parameters={})
    assert submission.restore(service.context, restore).status == 'in_progress'
    assert service.conductor.wait_idle(10)
    submission.delete(service.context, checkpoint)
    assert service.conductor.wait_idle(10)
    assert repository.get(models.CheckpointRecord, checkpoint.id).checkpoint_status == 'deleted'


def test_a_lost_answer_is_found_and_nothing_is_accepted_twice(service):
    served(Mute(service.manager()))
    checkpoint = submission.protect(service.context, plan())
    assert checkpoint.checkpoint_status in ('protecting', 'available')
    assert service.conductor.wait_idle(10)
    assert repository.count(models.OperationLog) == repository.count(models.CheckpointRecord) == 1


def test_a_service_that_never_heard_leaves_nothing_behind(service):
    served(Mute(service.manager())).deaf = True
    with pytest.raises(exception.ServiceUnavailable):
        submission.protect(service.context, plan())
    assert repository.count(models.OperationLog) == repository.count(models.CheckpointRecord) == 0


def test_a_request_that_arrives_twice_is_accepted_once(service):
    served(Twice(service.manager()))
    checkpoint = submission.protect(service.context, plan())
    assert service.conductor.wait_idle(10)
    submission.restore(service.context, Restore.new(provider_id=PROVIDER, checkpoint_id=checkpoint.id, parameters={}))
    assert service.conductor.wait_idle(10)
    verification = Verification.new(provider_id=PROVIDER, checkpoint_id=checkpoint.id, parameters={})
    assert submission.verify(service.context, verification).status == 'in_progress'
    assert service.conductor.wait_idle(10)
    copies = submission.copy(service.context, Plan.get(checkpoint.plan_id), [checkpoint.id], {})
    assert list(copies) == [checkpoint.id]
    assert service.conductor.wait_idle(10)
    submission.delete(service.context, checkpoint)
    assert service.conductor.wait_idle(10)
    known = repository.find(models.OperationLog, ['operation_type', 'status'], sort=[('operation_type', 'asc')])
    assert [tuple(row) for row in known] == [
        ('copy', 'available'),
        ('delete', 'deleted'),
        ('protect', 'available'),
        ('restore', 'restored'),
        ('verify', 'success'),
    ]
    assert repository.count(models.CheckpointRecord) == 2


def test_several_copies_whose_answer_was_lost_are_found_and_accepted_once(service):
    end = served(Mute(service.manager()))
    plan_ = plan()
    sources = [submission.protect(service.context, plan_).id for _ in range(2)]
    assert service.conductor.wait_idle(10)
    copies = submission.copy(service.context, plan_, sources, {})
    assert service.conductor.wait_idle(10)
    found = [repository.get(models.CheckpointRecord, id).checkpoint_status for id in copies.values()]
    assert found == ['available', 'available']
    assert submission.copy(service.context, plan_, [], {}) == {}
    end.deaf = True
    with pytest.raises(exception.ServiceUnavailable):
        submission.copy(service.context, plan_, sources, {})
    assert repository.count(models.CheckpointRecord) == 4


def test_copies_that_are_asked_for_again_are_those_of_the_first_time(service):
    served(service.manager())
    plan_, id = plan(), uuidutils.generate_uuid()
    sources = [submission.protect(service.context, plan_).id for _ in range(2)]
    assert service.conductor.wait_idle(10)
    copies = submission.copy(service.context, plan_, sources, {}, id)
    assert service.conductor.wait_idle(10)
    assert submission.copy(service.context, plan_, [], {}, id, again=True) == copies
    assert set(copies) == set(sources)
    assert repository.count(models.CheckpointRecord) == 4


def test_several_copies_that_come_too_late_are_none(service):
    plan_ = plan()
    sources = [service.protect(('Leaf', name))[0] for name in 'ab']
    late = served(Late(service.manager()))
    with pytest.raises(exception.ServiceUnavailable):
        submission.copy(service.context, plan_, sources, {})
    late.hear()
    assert repository.count(models.CheckpointRecord) == repository.count(models.OperationLog) == 2


def test_a_request_that_was_refused_is_not_accepted_when_it_arrives_late(service):
    served(service.manager())
    checkpoint = submission.protect(service.context, plan())
    assert service.conductor.wait_idle(10)
    late = served(Late(service.manager()))
    refused = [
        lambda: submission.protect(service.context, plan()),
        lambda: submission.restore(
            service.context, Restore.new(provider_id=PROVIDER, checkpoint_id=checkpoint.id, parameters={})
        ),
        lambda: submission.delete(service.context, checkpoint),
    ]
    for submit in refused:
        with pytest.raises(exception.ServiceUnavailable):
            submit()
        late.hear()
        assert service.conductor.wait_idle(10)
    assert repository.count(models.OperationLog) == repository.count(models.CheckpointRecord) == 1
    assert repository.count(models.Restore) == 0
    assert repository.get(models.CheckpointRecord, checkpoint.id).checkpoint_status == 'available'


def test_the_schedule_that_made_a_checkpoint_is_noted(service):
    served(service.manager())
    told = {'created_by': 'operation-engine', 'scheduled_operation_id': 'schedule'}
    checkpoint = submission.protect(service.context, plan(), told)
    assert checkpoint.create_by == 'operation-engine'
    assert repository.get(models.OperationLog, checkpoint.operation_id).scheduled_operation_id == 'schedule'
    assert service.conductor.wait_idle(10)


def test_anothers_checkpoint_cannot_be_found(service):
    served(service.manager())
    checkpoint = submission.protect(service.context, plan())
    assert service.conductor.wait_idle(10)
    service.context.project_id = 'other'
    with pytest.raises(exception.CheckpointNotFound):
        submission.delete(service.context, checkpoint)
    with pytest.raises(exception.CheckpointNotFound):
        submission.restore(service.context, Restore.new(provider_id=PROVIDER, checkpoint_id=checkpoint.id))
    with pytest.raises(exception.CheckpointNotFound):
        submission.reset_state(service.context, checkpoint, 'error')
