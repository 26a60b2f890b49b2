# SPDX-License-Identifier: Apache-2.0
"""What holds for every plugin."""

import contextlib
import dataclasses
import datetime
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from keystoneauth1.exceptions import Forbidden
from oslo_utils import timeutils

from karbor import clients, exception
from karbor.clients import Cloud
from karbor.plugins import tags, toolkit
from karbor.plugins.interface import State
from karbor.sandbox.cloud import Sandbox
from karbor.tests.plugins.driver import Case, Driver, cases, config_of, nothing

OPERATIONS = ('protect', 'restore')


def raised_by(service: str, call: Callable[[], Any]) -> exception.BackendFault:
    """What a tenant reads of what the call raises."""
    try:
        made = call()
    except Exception as unexpected:  # noqa: BLE001  client libraries share no class of exceptions
        return clients.fault(service, unexpected)
    pytest.fail(f'nothing was raised, but {made} answered')


def made_by(case: Case, operation: str) -> dict[str, Any]:
    return case.copies() if operation == 'protect' else case.restored()


def prepared(driver: Driver, case: Case, operation: str) -> None:
    """What has to be before the operation can begin."""
    if operation != 'protect':
        assert driver.run(case, 'protect').word == 'active'


def route(case: Case, operation: str) -> str:
    return case.copy_route if operation == 'protect' else case.restore_route


# --- the way there and back


def test_content_comes_back_byte_for_byte_when_it_has_changed(case: Case, driver: Driver) -> None:
    before = case.content(case.resource.id)
    assert driver.run(case, 'protect').word == 'active'
    copies = {id: case.content(id) for id in case.copies()}
    assert list(copies.values()) == ([before] if case.copy_route else [])

    case.change()
    assert {id: case.content(id) for id in case.copies()} == copies, 'the copy changed with the original'
    assert driver.run(case, 'verify').word == 'active'

    state = driver.run(case, 'restore', {'restore_name': 'back again'})
    assert state.word == 'active'
    if case.copy_route:
        assert state.new_id is not None and state.new_id != case.resource.id
        assert case.content(state.new_id) == before != case.content(case.resource.id)
        assert case.restored()[state.new_id].name == 'back again'
    assert {id: case.content(id) for id in case.copies()} == copies, 'the copy changed with the restore'

    if case.service == 'manila':  # a snapshot that shares were made from is of no more use to them
        assert set(case.restored()) == {state.new_id}
    assert driver.run(case, 'delete').word == 'active'
    assert case.copies() == {}


def test_delete_is_done_when_the_copy_is_gone_already(case: Case, driver: Driver) -> None:
    driver.run(case, 'protect')
    assert driver.run(case, 'delete').word == 'active'
    assert driver.run(case, 'delete').word == 'active'


def test_delete_is_done_when_nothing_was_ever_noted(case: Case, driver: Driver) -> None:
    assert driver.run(case, 'delete').word == 'active'


def test_verify_tells_when_the_copy_is_gone(real: Case, driver: Driver) -> None:
    driver.run(real, 'protect')
    driver.run(real, 'delete')
    state = driver.run(real, 'verify')
    assert state.word == 'error' and str(state.details).startswith('not_found: ')
    assert 'request req-' in str(state.details)


def test_verify_tells_when_the_copy_has_failed(real: Case, driver: Driver) -> None:
    driver.run(real, 'protect')
    (copy,) = real.copies().values()
    copy.status = 'error' if real.service == 'manila' else 'FAILED'
    state = driver.run(real, 'verify')
    assert state.word == 'error'
    assert str(state.details).startswith('failed: ')
    assert f'{copy.id} is {copy.status}' in str(state.details)


def test_verify_tells_when_the_copy_is_one_of_another_resource(real: Case, driver: Driver) -> None:
    driver.run(real, 'protect')
    noted = driver.section(real.resource).get_json('metadata')
    key = 'share_id' if real.service == 'manila' else 'instance_id'
    driver.section(real.resource).put_json('metadata', noted | {key: 'another'})
    state = driver.run(real, 'verify')
    assert state.word == 'error'
    assert str(state.details).startswith('unsafe: ')
    assert f'is {real.resource.id}, not another' in str(state.details)


def test_verify_is_no_copy_when_the_bank_has_lost_it(real: Case, driver: Driver) -> None:
    driver.run(real, 'protect')
    driver.section(real.resource).delete('metadata')
    with pytest.raises(exception.BankObjectNotFound):
        driver.run(real, 'verify')


def test_verify_changes_nothing_and_can_be_repeated(sandbox: Sandbox, case: Case, driver: Driver) -> None:
    driver.run(case, 'protect')
    before = {id: case.content(id) for id in case.copies()}
    objects = dict(driver.section(case.resource).get_json('metadata')) if case.copy_route else {}
    sandbox.faults.forget_calls()
    for _ in range(2):
        assert driver.run(case, 'verify').word == 'active'
    asked = [route for calls in sandbox.faults.calls().values() for route in calls]
    assert all(route.startswith('GET ') or 'auth/tokens' in route for route in asked)
    assert {id: case.content(id) for id in case.copies()} == before
    assert not case.copy_route or driver.section(case.resource).get_json('metadata') == objects


def test_schemas_are_schemas_and_require_nothing(case: Case) -> None:
    for type in case.plugin.resource_types:
        for kind in ('options_schema', 'restore_schema', 'verify_schema', 'saved_info_schema'):
            schema = getattr(case.plugin, kind)(type)
            jsonschema.Draft202012Validator.check_schema(schema)
            jsonschema.validate({}, schema)


# --- a start happens once


@pytest.mark.parametrize('operation', OPERATIONS)
def test_find_adopts_exactly_one_when_the_answer_was_lost(
    real: Case, driver: Driver, operation: str, faults: Callable[..., Any]
) -> None:
    prepared(driver, real, operation)
    before = real.content(real.resource.id)
    work, assignment = driver.work(real, operation), driver.assignment(real, operation)
    faults(real.service, f'POST {route(real, operation)}$', 'drop_after')
    told = raised_by(real.service, lambda: work.start(assignment))
    assert (told.reason, told.transient) == ('unreachable', True)

    handle = work.find(assignment)
    assert handle is not None
    state = driver.go_on(work, assignment, handle)
    assert state.word == 'active'
    made = made_by(real, operation)
    assert len(made) == 1
    assert real.content(*made) == before
    if operation == 'protect':
        assert driver.run(real, 'restore').word == 'active', 'what find answers is enough for a restore'


@pytest.mark.parametrize('operation', OPERATIONS)
def test_find_finds_nothing_when_nothing_was_made(
    real: Case, driver: Driver, operation: str, faults: Callable[..., Any]
) -> None:
    prepared(driver, real, operation)
    work, assignment = driver.work(real, operation), driver.assignment(real, operation)
    faults(real.service, f'POST {route(real, operation)}$', 'drop_before')
    assert raised_by(real.service, lambda: work.start(assignment)).transient
    assert work.find(assignment) is None
    assert work.cancel(assignment, {}) is True
    assert made_by(real, operation) == {}


@pytest.mark.parametrize('operation', OPERATIONS)
def test_find_passes_by_what_is_not_its_own(real: Case, driver: Driver, operation: str) -> None:
    prepared(driver, real, operation)
    work, assignment = driver.work(real, operation), driver.assignment(real, operation)
    driver.go_on(work, assignment, work.start(assignment))
    (made,) = made_by(real, operation).values()
    other_attempt = driver.assignment(real, operation)
    assert work.find(other_attempt) is None

    # An object from before the operation, which somebody gave the tag.
    later = timeutils.utcnow() + datetime.timedelta(seconds=tags.CLOCK_SKEW + 60)
    again = driver.assignment(real, operation, tag=other_attempt.tag, operation_started_at=later)
    retag(made, assignment.tag, again.tag)
    assert work.find(again) is None
    assert work.find(other_attempt) is not None, 'it is the time that kept it from being adopted'

    # One whose tag is not at the end any more.
    retag(made, again.tag, f'{again.tag}] or so')
    assert work.find(other_attempt) is None


def retag(made: Any, old: str, new: str) -> None:
    """Change the tag wherever the service keeps it, as a user could."""
    if hasattr(made, 'metadata'):
        made.metadata = {key: value.replace(old, new) for key, value in made.metadata.items()}
    made.description = getattr(made, 'description', None) and made.description.replace(old, new)
    made.name = made.name and new if getattr(made, 'volume_size', None) else made.name


def test_find_passes_by_a_copy_of_another_resource_that_has_the_tag(
    real: Case, driver: Driver, sandbox: Sandbox
) -> None:
    name = 'share' if real.service == 'manila' else 'database'
    other = cases(sandbox)[name]()
    work, theirs = driver.work(other, 'protect'), driver.assignment(other, 'protect')
    driver.go_on(work, theirs, work.start(theirs))
    assert work.find(theirs) is not None
    assert work.find(driver.assignment(real, 'protect', tag=theirs.tag)) is None


# --- undoing


@pytest.mark.parametrize('operation', OPERATIONS)
@pytest.mark.parametrize('waited', [False, True], ids=['while it is made', 'after it was made'])
def test_cancel_removes_what_was_made(real: Case, driver: Driver, operation: str, waited: bool) -> None:
    prepared(driver, real, operation)
    copies = real.copies() if operation == 'restore' else {}
    work, assignment = driver.work(real, operation), driver.assignment(real, operation)
    handle = work.start(assignment)
    if waited:
        driver.go_on(work, assignment, handle)
    assert len(made_by(real, operation)) == 1
    assert work.cancel(assignment, handle) is False, 'True means that it is gone'
    driver.cancelled(work, assignment, handle)
    assert made_by(real, operation) == {}
    assert real.copies() == copies
    assert work.cancel(assignment, handle) is True


def test_cancel_removes_what_ended_in_an_error_state(real: Case, driver: Driver, faults: Callable[..., Any]) -> None:
    faults(real.service, f'POST {real.copy_route}$', 'error_state')
    work, assignment = driver.work(real, 'protect'), driver.assignment(real, 'protect')
    handle = work.start(assignment)
    assert driver.go_on(work, assignment, handle).word == 'error'
    driver.cancelled(work, assignment, handle)
    assert real.copies() == {}


def test_cancel_does_not_ask_again_at_once_when_the_removal_fails(
    real: Case, driver: Driver, faults: Callable[..., Any], sandbox: Sandbox
) -> None:
    work, assignment = driver.work(real, 'protect'), driver.assignment(real, 'protect')
    handle = work.start(assignment)
    driver.go_on(work, assignment, handle)
    faults(real.service, f'DELETE {real.copy_route}/', 'error_state', times=None)
    sandbox.faults.forget_calls()
    answers = [work.cancel(assignment, handle) for _ in range(20)]
    assert answers == [False] * 20
    assert sandbox.faults.calls()[real.service][f'DELETE {real.copy_route}/{{id}}'] == 1


# --- reasons


@pytest.mark.parametrize('operation', OPERATIONS)
def test_an_error_state_gives_a_reason_that_a_tenant_may_read(
    real: Case, driver: Driver, operation: str, faults: Callable[..., Any]
) -> None:
    prepared(driver, real, operation)
    faults(real.service, f'POST {route(real, operation)}$', 'error_state')
    state = driver.run(real, operation)
    assert state.word == 'error'
    assert re.fullmatch(rf'failed: .+ \({real.service}, request req-[0-9a-f-]{{36}}\)', str(state.details))
    assert 'http' not in str(state.details)
    (made,) = made_by(real, operation)
    assert made in str(state.details)
    assert state.new_id == (made if operation == 'restore' else None)


@pytest.mark.parametrize(
    'status, reason, transient',
    [
        (400, 'refused', False),
        (401, 'unauthorized', False),
        (403, 'forbidden', False),
        (404, 'not_found', False),
        (409, 'conflict', False),
        (413, 'over_limit', False),
        (429, 'over_limit', True),
        (500, 'unavailable', True),
        (503, 'unavailable', True),
        (504, 'timeout', True),
    ],
)
def test_a_fault_is_told_by_code_service_and_request_when_the_service_answers_with_one(
    real: Case, driver: Driver, faults: Callable[..., Any], status: int, reason: str, transient: bool
) -> None:
    work, assignment = driver.work(real, 'protect'), driver.assignment(real, 'protect')
    # keystoneauth logs in again and asks once more when a token is refused.
    fault = {'status': status, 'retry_after': 7, 'message': 'http://inner/x', 'times': 2}
    faults(real.service, f'POST {real.copy_route}$', 'status', **fault)
    told = raised_by(real.service, lambda: work.start(assignment))
    # With the time to come back a 413 is a rate limit, no quota.
    assert (told.reason, told.transient) == (reason, transient or status == 413)
    assert told.wait == 7.0
    assert re.fullmatch(rf'{reason}: [^:/]+ \({real.service}, request req-[0-9a-f-]{{36}}\)', told.text)
    assert real.copies() == {}


def test_a_fault_is_a_timeout_when_no_answer_comes(
    real: Case, driver: Driver, faults: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = driver.cloud.client(real.service).client.session
    monkeypatch.setattr(session, 'timeout', 0.2)
    faults(real.service, f'POST {real.copy_route}$', 'timeout', seconds=1)
    work, assignment = driver.work(real, 'protect'), driver.assignment(real, 'protect')
    told = raised_by(real.service, lambda: work.start(assignment))
    assert (told.reason, told.transient) == ('timeout', True)
    assert told.text == f'timeout: the service did not answer in time ({real.service})'


def test_the_state_is_an_error_when_the_copy_vanishes(real: Case, driver: Driver) -> None:
    work, assignment = driver.work(real, 'protect'), driver.assignment(real, 'protect')
    handle = work.start(assignment)
    driver.cancelled(work, assignment, handle)
    state = work.poll(assignment, handle)
    assert state.word == 'error' and str(state.details).startswith('vanished: ')


@pytest.mark.parametrize('operation', ['protect', 'restore', 'verify', 'delete'])
def test_another_project_reads_and_changes_nothing(
    real: Case, driver: Driver, operation: str, login: Callable[[str], Cloud]
) -> None:
    assert driver.run(real, 'protect').word == 'active'
    copies = real.copies()
    work, assignment = driver.work(real, operation), driver.assignment(real, operation)
    assignment.cloud = login('other')
    if operation in OPERATIONS:
        told = raised_by(real.service, lambda: work.start(assignment))
        assert told.reason in ('not_found', 'refused')
    else:
        state = driver.go_on(work, assignment, work.start(assignment))
        assert state.word == ('error' if operation == 'verify' else 'active')
    assert real.copies() == copies
    assert len(real.restored()) == 0


@pytest.mark.parametrize('user', ['other', 'admin'])
def test_protect_finds_no_resource_of_another_project(
    real: Case, driver: Driver, user: str, login: Callable[[str], Cloud]
) -> None:
    driver.cloud = login(user)
    assert raised_by(real.service, lambda: driver.run(real, 'protect')).reason == 'not_found'
    assert real.copies() == {}


# --- many at once


@pytest.mark.parametrize('operation', ['protect', 'restore', 'delete', 'verify'])
def test_poll_many_answers_what_poll_answers_with_fewer_calls(
    sandbox: Sandbox, driver: Driver, operation: str, request: pytest.FixtureRequest, real: Case
) -> None:
    name = 'share' if real.service == 'manila' else 'database'
    group = [cases(sandbox)[name]() for _ in range(8)]
    for case in group:
        prepared(driver, case, operation)
    work = driver.work(real, operation)
    assert isinstance(work, toolkit.OneThing)
    items = []
    for case in group:
        assignment = driver.assignment(case, operation)
        items.append((assignment, work.start(assignment)))
    while any(word == 'build' for word, *_ in comparable(work.poll_many(items))):
        pass
    # One that is gone, and one that does not exist and never did.
    items[3][1][work.id_key] = 'gone'
    alone: list[State | Exception] = [work.poll(*item) for item in items]
    sandbox.faults.forget_calls()
    assert comparable(work.poll_many(items)) == comparable(alone)
    calls = sum(n for route, n in sandbox.faults.calls()[real.service].items() if route.startswith('GET'))
    assert calls <= (6 if operation != 'delete' else 12)


def comparable(states: Any) -> list[Any]:
    return [(s.word, s.progress, s.new_id, re.sub('req-[0-9a-f-]+', 'ID', s.details or '')) for s in states]


def test_poll_many_tells_each_its_own_fault(real: Case, driver: Driver, faults: Callable[..., Any]) -> None:
    work, assignment = driver.work(real, 'protect'), driver.assignment(real, 'protect')
    assert isinstance(work, toolkit.OneThing)
    handle = work.start(assignment)
    faults(real.service, f'GET {real.copy_route}/gone', 'status', status=503)
    first, second = work.poll_many([(assignment, handle), (assignment, {**handle, work.id_key: 'gone'})])
    assert isinstance(first, State) and first.word in ('build', 'active')
    assert isinstance(second, Exception)
    assert clients.fault(real.service, second).reason == 'unavailable'


# --- what was left over


@pytest.mark.parametrize('operation', OPERATIONS)
def test_what_was_made_is_told_by_its_tag_and_can_be_removed(real: Case, driver: Driver, operation: str) -> None:
    prepared(driver, real, operation)
    installation = str(uuid.uuid4())
    tag = f'{installation}/{uuid.uuid4()}/{real.resource.id}/1'
    plugin = real.plugin(config_of(real.plugin))
    work, assignment = driver.work(real, operation), driver.assignment(real, operation, tag=tag)
    assert list(plugin.tagged(driver.cloud, installation)) == []
    handle = work.start(assignment)
    before = timeutils.utcnow()

    (left,) = plugin.tagged(driver.cloud, installation)
    assert (left.tag, left.is_copy) == (tag, operation == 'protect')
    assert left.id in made_by(real, operation)
    assert abs((before - left.created_at).total_seconds()) < 60
    assert list(plugin.tagged(driver.cloud, str(uuid.uuid4()))) == []

    assert plugin.remove_leftover(driver.cloud, dataclasses.replace(left, tag=f'{tag}0')) is False
    assert left.id in made_by(real, operation)
    end = time.monotonic() + 10
    while operation == 'protect' and work.poll(assignment, handle).word == 'build':
        assert time.monotonic() < end
    while left.id in made_by(real, operation):
        with contextlib.suppress(*toolkit.BUSY, Forbidden):  # what is new may be too busy to go
            plugin.remove_leftover(driver.cloud, left)
        assert time.monotonic() < end
        time.sleep(0.01)
    assert plugin.remove_leftover(driver.cloud, left) is False


def test_leftovers_are_not_told_when_their_service_fails(
    real: Case, driver: Driver, faults: Callable[..., Any]
) -> None:
    faults(real.service, f'GET {real.restore_route}', 'status', status=503)
    plugin = real.plugin(config_of(real.plugin))
    told = raised_by(real.service, lambda: list(plugin.tagged(driver.cloud, 'installation')))
    assert told.reason == 'unavailable'


def test_a_plugin_without_tags_has_no_leftovers(driver: Driver) -> None:
    plugin = nothing().plugin(config_of(nothing().plugin))
    assert list(plugin.tagged(driver.cloud, 'installation')) == []
