# SPDX-License-Identifier: Apache-2.0
"""Requests that are sent twice, at once, or again after the API died: what they ask for is done once."""

import contextlib
import datetime
import os
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import pytest
import sqlalchemy as sa
from oslo_utils import timeutils, uuidutils

from karbor.db import engine, models, purge, repository
from karbor.rpc import transport
from karbor.tests import databases, fixtures

KEY = models.IdempotencyKey
CHECKPOINTS = f'/providers/{fixtures.PROVIDER}/checkpoints'
PATTERN = {'format': 'crontab', 'pattern': '0 2 * * *', 'start_time': '2026-01-01 00:00:00'}
TRIGGER = {'trigger_info': {'name': 'nightly', 'type': 'time', 'properties': PATTERN}}
AT_ONCE, KILLED = 8, 9


@pytest.fixture(params=databases.KINDS)
def karbor(request, tmp_path) -> Iterator[fixtures.Service]:
    """A Karbor on each database."""
    with databases.temporary(request.param, tmp_path) as url, fixtures.service(url) as service:
        yield service


@pytest.fixture
def plain() -> Iterator[fixtures.Service]:
    with fixtures.service() as service:
        yield service


def post(service: fixtures.Service, path: str, body: Any, key: str = 'a key') -> Any:
    return service.post(path, body, **{'Idempotency-Key': key})


def plan_of(service: fixtures.Service) -> str:
    return service.post('/plans', fixtures.plan_body()).json['plan']['id']


def checkpoint_of(service: fixtures.Service) -> str:
    made = service.post(CHECKPOINTS, {'checkpoint': {'plan_id': plan_of(service)}}).json['checkpoint']['id']
    service.settle()
    return made


def requests_of(service: fixtures.Service) -> dict[str, tuple[str, Any]]:
    restore = {'provider_id': fixtures.PROVIDER, 'checkpoint_id': checkpoint_of(service), 'parameters': {}}
    trigger = service.post('/triggers', TRIGGER).json['trigger_info']['id']
    definition = {'plan_id': plan_of(service), 'provider_id': fixtures.PROVIDER}
    schedule = {'name': 's', 'operation_type': 'protect', 'trigger_id': trigger, 'operation_definition': definition}
    return {
        'plan': ('/plans', fixtures.plan_body(name='with a key')),
        'checkpoint': (CHECKPOINTS, {'checkpoint': {'plan_id': plan_of(service)}}),
        'restore': ('/restores', {'restore': restore}),
        'verification': ('/verifications', {'verification': restore}),
        'trigger_info': ('/triggers', TRIGGER),
        'scheduled_operation': ('/scheduled_operations', {'scheduled_operation': schedule}),
    }


def at_once(ask: Callable[[int], Any]) -> list[Any]:
    gate = threading.Barrier(AT_ONCE)

    def asked(number: int) -> Any:
        gate.wait()
        return ask(number)

    with futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(asked, range(AT_ONCE)))


# What a POST makes -> its table.
TABLES = {
    'plan': models.Plan,
    'checkpoint': models.CheckpointRecord,
    'restore': models.Restore,
    'verification': models.Verification,
    'trigger_info': models.Trigger,
    'scheduled_operation': models.ScheduledOperation,
}
OF_OPERATIONS = ('checkpoint', 'restore', 'verification')


def counts() -> dict[str, int]:
    """How many rows of each kind there are, and operations."""
    kept = (*TABLES.values(), models.OperationLog)
    return {model.__tablename__: repository.count(model) for model in kept}


@contextlib.contextmanager
def before(statement: str, act: Callable[[], None]) -> Iterator[list[str]]:
    """Within the block ``act`` is called before each statement of a writer that begins so."""
    seen: list[str] = []

    def look(connection: Any, cursor: Any, text: str, *rest: Any) -> None:
        if text.startswith(statement):
            seen.append(text)
            act()

    sa.event.listen(engine.engine(), 'before_cursor_execute', look)
    try:
        yield seen
    finally:
        sa.event.remove(engine.engine(), 'before_cursor_execute', look)


def fail() -> None:
    raise sa.exc.OperationalError('', {}, Exception('the database is away'))


def post_and_die(service: fixtures.Service, statement: str, path: str, body: Any) -> None:
    """A process sends the request to an API of its own, which ends without another word before ``statement``."""
    pid = os.fork()
    if not pid:
        try:
            with before(statement, lambda: os._exit(KILLED)):
                post(service, path, body)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == KILLED


def let_the_claim_run_out() -> None:
    past = timeutils.utcnow() - datetime.timedelta(seconds=1)
    assert repository.update_all(KEY, {'claimed_until': past}, status=None) == 1


def test_of_requests_with_one_key_that_come_at_once_one_is_done(karbor):
    for kind, (path, body) in requests_of(karbor).items():
        known = counts()
        replies = at_once(lambda n, kind=kind, path=path, body=body: post(karbor, path, body, kind))
        assert {reply.status_int for reply in replies} <= {200, 409}
        done = {reply.json[kind]['id'] for reply in replies if reply.status_int == 200}
        assert len(done) == 1
        assert {reply.headers['Retry-After'] for reply in replies if reply.status_int == 409} <= {'1'}
        assert post(karbor, path, body, kind).json[kind]['id'] in done
        karbor.settle()
        more = {table: count - known[table] for table, count in counts().items()}
        made = {TABLES[kind].__tablename__, *(['operation_logs'] if kind in OF_OPERATIONS else [])}
        assert more == {table: int(table in made) for table in known}


@pytest.mark.parametrize('kind', TABLES)
def test_what_a_request_made_is_found_when_the_api_died_before_it_answered(karbor, kind):
    path, body = requests_of(karbor)[kind]
    known = counts()
    post_and_die(karbor, 'UPDATE idempotency_keys', path, body)
    karbor.settle()
    made = counts()
    assert sum(made.values()) > sum(known.values())
    waiting = post(karbor, path, body)
    assert (waiting.status_int, waiting.headers['Retry-After']) == (409, '1')
    let_the_claim_run_out()
    found = post(karbor, path, body)
    assert found.status_int == 200
    karbor.settle()
    assert counts() == made
    assert karbor.get(f'{path}/{found.json[kind]["id"]}').status_int == 200
    again = post(karbor, path, body)
    assert again.headers['Idempotent-Replayed'] == 'true'
    assert again.json == found.json


def test_nothing_is_lost_when_the_api_died_before_it_began(plain):
    path, body = requests_of(plain)['checkpoint']
    known = counts()['operation_logs']
    post_and_die(plain, 'INSERT INTO checkpoint_records', path, body)
    let_the_claim_run_out()
    assert post(plain, path, body).status_int == 200
    plain.settle()
    assert counts()['operation_logs'] == known + 1


def test_a_key_may_be_tried_again_at_once_when_a_service_did_not_answer(karbor):
    for kind, (path, body) in requests_of(karbor).items():
        if kind not in OF_OPERATIONS:
            continue
        known = counts()
        ends, transport._bus.ends = transport._bus.ends, {}
        try:
            for _ in range(2):  # what the first rules out must not be what the second asks for
                assert post(karbor, path, body, kind).status_int == 503
        finally:
            transport._bus.ends = ends
        assert counts() == known
        assert post(karbor, path, body, kind).status_int == 200
        assert post(karbor, path, body, kind).headers['Idempotent-Replayed'] == 'true'
        karbor.settle()
        assert counts()['operation_logs'] == known['operation_logs'] + 1


def test_a_refusal_is_looked_at_anew(plain):
    path, body = '/plans', fixtures.plan_body()
    plain.config.config(quota_plans=0)
    assert post(plain, path, body).status_int == 413
    assert repository.count(KEY) == 0
    plain.config.config(quota_plans=1)
    assert post(plain, path, body).status_int == 200
    assert post(plain, path, body).status_int == 200
    assert repository.count(models.Plan) == 1


def test_a_refusal_does_not_forget_what_an_earlier_attempt_may_have_made(plain):
    path, body = requests_of(plain)['checkpoint']
    post_and_die(plain, 'UPDATE idempotency_keys', path, body)
    plain.settle()
    made = counts()
    let_the_claim_run_out()
    plan_id = body['checkpoint']['plan_id']
    repository.update(models.Plan, plan_id, {'deleted': True})
    assert post(plain, path, body).status_int == 404
    repository.update(models.Plan, plan_id, {'deleted': False}, deleted=True)
    assert post(plain, path, body).status_int == 200
    assert counts() == made


def test_a_request_is_answered_when_its_answer_cannot_be_kept(plain):
    with before('UPDATE idempotency_keys', fail) as seen:
        assert post(plain, '/plans', fixtures.plan_body()).status_int == 200
    assert seen
    let_the_claim_run_out()
    assert post(plain, '/plans', fixtures.plan_body()).status_int == 200
    assert repository.count(models.Plan) == 1


def test_a_claim_is_its_own_when_the_answer_to_its_insert_got_lost(plain, monkeypatch):
    post(plain, '/plans', fixtures.plan_body())
    source, later = uuidutils.generate_uuid(), timeutils.utcnow() + datetime.timedelta(minutes=1)
    repository.update_all(KEY, {'source': source, 'status': None, 'claimed_until': later})
    assert post(plain, '/plans', fixtures.plan_body()).status_int == 409
    monkeypatch.setattr(uuidutils, 'generate_uuid', lambda: source)
    assert post(plain, '/plans', fixtures.plan_body()).status_int == 200


def test_a_key_is_new_after_a_day(karbor):
    first = post(karbor, '/plans', fixtures.plan_body()).json['plan']['id']
    old = timeutils.utcnow() - purge.KEPT - datetime.timedelta(seconds=1)
    repository.update_all(KEY, {'created_at': old})
    second = post(karbor, '/plans', fixtures.plan_body(name='another'))
    assert second.status_int == 200
    assert second.json['plan']['id'] != first
    assert repository.count(KEY) == 1


def test_old_answers_are_removed(karbor):
    for key in ('old', 'new'):
        post(karbor, '/plans', fixtures.plan_body(), key)
    row = repository.find(KEY, ['id'], limit=1)[0]
    old = timeutils.utcnow() - purge.KEPT - datetime.timedelta(minutes=1)
    repository.update(KEY, row.id, {'created_at': old})
    assert purge.purge(timeutils.utcnow() - datetime.timedelta(days=365)) == {'idempotency_keys': 1}
    assert repository.count(KEY) == 1


def test_nothing_of_the_token_is_kept(plain):
    post(plain, '/plans', fixtures.plan_body())
    with engine.reading() as session:
        row = session.execute(sa.select(KEY.__table__)).one()
    assert 'a token' not in str(tuple(row))
    assert 'a key' not in str(tuple(row))


def test_a_request_without_a_key_costs_no_statement_more(plain):
    with before('', lambda: None) as seen:
        assert plain.post('/plans', fixtures.plan_body()).status_int == 200
    assert seen
    assert not [statement for statement in seen if 'idempotency_keys' in statement]


# -- writes that depend on what was seen


def test_of_writers_that_have_seen_the_same_one_wins(karbor):
    plan_id = plan_of(karbor)
    for _ in range(3):
        tag = karbor.get(f'/plans/{plan_id}').headers['ETag']

        def write(number: int, tag: str = tag) -> Any:
            return karbor.request('PUT', f'/plans/{plan_id}', {'plan': {'name': f'{number}'}}, **{'If-Match': tag})

        replies = at_once(write)
        assert sorted(reply.status_int for reply in replies) == [200] + [412] * (AT_ONCE - 1)
        (won,) = (reply for reply in replies if reply.status_int == 200)
        shown = karbor.get(f'/plans/{plan_id}')
        assert shown.json == won.json
        assert shown.headers['ETag'] == won.headers['ETag'] != tag


def test_of_a_writer_and_a_deleter_that_have_seen_the_same_one_wins(karbor):
    plan_id = plan_of(karbor)
    tag = karbor.get(f'/plans/{plan_id}').headers['ETag']

    def write(number: int) -> Any:
        asked = ('PUT', {'plan': {'name': f'{number}'}}) if number % 2 else ('DELETE', None)
        return karbor.request(asked[0], f'/plans/{plan_id}', asked[1], **{'If-Match': tag}).status_int

    statuses = at_once(write)
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 404, 412}


def test_a_tag_differs_from_that_of_a_row_whose_writer_had_a_clock_ahead(plain):
    plan_id = plan_of(plain)
    ahead = timeutils.utcnow() + datetime.timedelta(hours=1)
    repository.update(models.Plan, plan_id, {'updated_at': ahead})
    tag = plain.get(f'/plans/{plan_id}').headers['ETag']
    with_tag = {'If-Match': tag}
    assert plain.request('PUT', f'/plans/{plan_id}', {'plan': {'name': 'a'}}, **with_tag).status_int == 200
    assert plain.request('PUT', f'/plans/{plan_id}', {'plan': {'name': 'b'}}, **with_tag).status_int == 412
    assert repository.get(models.Plan, plan_id).updated_at > ahead


def test_two_users_who_change_different_fields_keep_both(plain):
    from karbor.objects.plan import Plan

    plan_id = plan_of(plain)
    first, second = Plan.get(plan_id), Plan.get(plan_id)
    first.name, second.description = 'named', 'described'
    assert first.save()
    assert second.save()
    shown = plain.get(f'/plans/{plan_id}').json['plan']
    assert (shown['name'], shown['description']) == ('named', 'described')


# -- deleting twice


def test_a_plan_that_is_deleted_by_many_at_once_is_deleted_once(karbor):
    plan_id = plan_of(karbor)
    replies = at_once(lambda n: karbor.request('DELETE', f'/plans/{plan_id}'))
    assert sorted(reply.status_int for reply in replies) == [200] + [404] * (AT_ONCE - 1)


def test_a_checkpoint_that_is_deleted_by_many_at_once_is_deleted_by_one_operation(karbor):
    path = f'{CHECKPOINTS}/{checkpoint_of(karbor)}'
    replies = at_once(lambda n: karbor.request('DELETE', path))
    assert sorted(reply.status_int for reply in replies) == [200] + [409] * (AT_ONCE - 1)
    (operation,) = repository.find(models.OperationLog, ['id'], {'operation_type': 'delete'})
    for reply in replies:
        if reply.status_int == 409:
            told = reply.json['conflictingRequest']['message']
            assert f'delete operation {operation.id}' in told or 'is deleted' in told
    karbor.settle()
    gone = karbor.request('DELETE', path)
    assert gone.status_int == 409
    assert 'is deleted' in gone.json['conflictingRequest']['message']
    assert repository.count(models.OperationLog, operation_type='delete') == 1
