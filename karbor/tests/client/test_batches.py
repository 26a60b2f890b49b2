# SPDX-License-Identifier: Apache-2.0
"""Commands of both shells that take several ids, one of them bad: which go on with the next id, and which stop.

What the shells do is in the client's code. doc/source/user/clients.rst tells it to users.
"""

import pytest


@pytest.fixture(params=['karbor', 'openstack'])
def run(request, karbor):
    """run('plan', 'delete', …, user=…) is what the command did, in either shell."""

    def call(noun, verb, *ids, user='demo'):
        words = [noun, *verb.split()]
        if request.param == 'karbor':
            words = ['-'.join(words)]
        return karbor.preloaded(request.param, *words, *ids, user=user)

    return call


@pytest.fixture
def make_trigger(karbor):
    """make_trigger() is a new trigger, deleted at the end unless the test did."""
    triggers, made = karbor.client().triggers, []

    def make():
        made.append(triggers.create('of a batch', 'time', {'format': 'crontab', 'pattern': '0 2 * * *'}))
        return made[-1]

    yield make
    for id in {trigger.id for trigger in triggers.list()} & {trigger.id for trigger in made}:
        triggers.delete(id)


def test_deletes_of_checkpoints_go_on_when_one_is_missing(karbor, run, noop, make_checkpoint, nowhere):
    first, last = make_checkpoint(), make_checkpoint()
    done = run('checkpoint', 'delete', noop.id, first.id, nowhere, last.id)
    assert done.status == 0
    assert f"Failed to delete '{nowhere}'; checkpoint not found" in done.output + done.errors
    assert [karbor.ended_checkpoint(noop.id, one.id).status for one in (first, last)] == ['deleted', 'deleted']


def test_deletes_of_checkpoints_stop_when_the_state_of_one_forbids_it(karbor, run, noop, make_checkpoint):
    first, gone, last = make_checkpoint(), make_checkpoint(), make_checkpoint()
    karbor.client().checkpoints.delete(noop.id, gone.id)
    assert karbor.ended_checkpoint(noop.id, gone.id).status == 'deleted'
    done = run('checkpoint', 'delete', noop.id, first.id, gone.id, last.id)
    assert (done.status, 'HTTP 409' in done.errors) == (1, True)
    assert f'Checkpoint {gone.id} is deleted' in done.errors
    assert karbor.ended_checkpoint(noop.id, first.id).status == 'deleted'
    assert karbor.client().checkpoints.get(noop.id, last.id).status == 'available'


def test_deletes_of_checkpoints_stop_when_one_is_no_id(karbor, run, noop, make_checkpoint):
    first, last = make_checkpoint(), make_checkpoint()
    done = run('checkpoint', 'delete', noop.id, first.id, 'no-id', last.id)
    assert (done.status, 'checkpoint_id: must be a UUID' in done.errors) == (1, True)
    assert karbor.ended_checkpoint(noop.id, first.id).status == 'deleted'
    assert karbor.client().checkpoints.get(noop.id, last.id).status == 'available'


def test_resets_go_on_when_one_is_missing_or_cannot_be_reset_or_is_no_id(karbor, run, noop, make_checkpoint, nowhere):
    first, gone, last = make_checkpoint(), make_checkpoint(), make_checkpoint()
    karbor.client().checkpoints.delete(noop.id, gone.id)
    assert karbor.ended_checkpoint(noop.id, gone.id).status == 'deleted'
    for bad, told in ((nowhere, 'checkpoint not found'), (gone.id, 'invalid input'), ('no-id', 'invalid input')):
        karbor.client().checkpoints.reset_state(noop.id, last.id, 'available')
        done = run('checkpoint', 'reset state', noop.id, first.id, bad, last.id)
        assert done.status == 0
        assert f"Failed to reset state of '{bad}'; {told}" in done.output + done.errors
        assert [karbor.client().checkpoints.get(noop.id, one.id).status for one in (first, last)] == ['error', 'error']


def test_resets_go_on_when_they_are_not_allowed(karbor, run, noop, make_checkpoint):
    ids = [make_checkpoint().id for _ in range(3)]
    done = run('checkpoint', 'reset state', noop.id, *ids, user='reader')
    assert done.status == 1
    told = done.output + done.errors
    assert all(f"Failed to reset state of '{id}'; not allowed" in told for id in ids)
    assert [karbor.client().checkpoints.get(noop.id, id).status for id in ids] == ['available'] * 3


@pytest.mark.parametrize('kind', ['plan', 'trigger'])
def test_other_deletes_stop_when_one_is_neither_an_id_nor_a_name(karbor, run, make_plan, make_trigger, nowhere, kind):
    make, manager = {
        'plan': (make_plan, karbor.client().plans),
        'trigger': (make_trigger, karbor.client().triggers),
    }[kind]
    first, last = make(), make()
    done = run(kind, 'delete', first.id, nowhere, last.id)
    assert (done.status, f"No {kind} with a name or ID of '{nowhere}' exists" in done.errors) == (1, True)
    left = {one.id for one in manager.list()}
    assert (first.id in left, last.id in left) == (False, True)


def test_deletes_of_scheduled_operations_stop_when_one_is_neither_an_id_nor_a_name(
    karbor, run, noop, make_plan, make_trigger, nowhere
):
    operations = karbor.client().scheduled_operations
    definition = {'provider_id': noop.id, 'plan_id': make_plan(provider_id=noop.id).id}
    first, last = (operations.create('of a batch', 'protect', make_trigger().id, definition) for _ in range(2))
    done = run('scheduledoperation', 'delete', first.id, nowhere, last.id)
    assert (done.status, f"with a name or ID of '{nowhere}' exists" in done.errors) == (1, True)
    left = {one.id for one in operations.list()}
    assert (first.id in left, last.id in left) == (False, True)
    operations.delete(last.id)


def test_deletes_of_triggers_stop_when_one_is_used(karbor, run, noop, make_plan, make_trigger):
    first, used, last = make_trigger(), make_trigger(), make_trigger()
    definition = {'provider_id': noop.id, 'plan_id': make_plan(provider_id=noop.id).id}
    operation = karbor.client().scheduled_operations.create('of a batch', 'protect', used.id, definition)
    done = run('trigger', 'delete', first.id, used.id, last.id)
    assert (done.status, operation.id in done.errors, 'HTTP 409' in done.errors) == (1, True, True)
    left = {one.id for one in karbor.client().triggers.list()}
    assert (first.id in left, used.id in left, last.id in left) == (False, True, True)
    karbor.client().scheduled_operations.delete(operation.id)
