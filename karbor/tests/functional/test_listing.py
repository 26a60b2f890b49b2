# SPDX-License-Identifier: Apache-2.0
"""Lists, whatever the sort, the filters and the size of the pages: nothing is lost, nothing comes twice."""

import datetime
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oslo_utils import uuidutils

from karbor.api import v1
from karbor.db import engine, folding, models, repository
from karbor.tests import databases, fixtures
from karbor.tests.fixtures import OTHER, PROJECT, PROVIDER, SHARES, Service, token

BEGAN = datetime.datetime(2026, 1, 31, 23, 59, 58)
NAMES = ['a', 'b', 'b', '100%', 'a_b', 'axb']
ITEMS = 30


@pytest.fixture(scope='module', params=databases.KINDS)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Plans, checkpoints, restores, verifications and logs of two projects; several share a time, a name, a status."""
    folder = tmp_path_factory.mktemp('database')
    with databases.temporary(request.param, folder) as url, fixtures.service(url) as made:
        with engine.writing():
            for number in range(ITEMS):
                for project in (PROJECT, OTHER):
                    _fill(number, project)
        yield made


def _fill(number: int, project: str) -> None:
    at = BEGAN + datetime.timedelta(seconds=number // 4)
    common = {'project_id': project, 'provider_id': PROVIDER, 'created_at': at}
    plan = models.Plan(id=_id(), name=NAMES[number % 6], status=('suspended', 'started')[number % 2], **common)
    plan.parameters = {'OS::Manila::Share': {'force': True}}
    plan.resources = [models.Resource(resource_id=str(n), resource_type='T', resource_name='n') for n in range(3)]
    repository.create(plan)
    checkpoint = fixtures.record_checkpoint(PROVIDER, ('available', 'error', 'deleted')[number % 3], project)
    repository.update(models.CheckpointRecord, checkpoint, {'created_at': at})
    restore = models.Restore(id=_id(), checkpoint_id=checkpoint, status=('success', 'fail')[number % 2], **common)
    repository.create(restore)
    verification = models.Verification(id=_id(), checkpoint_id=checkpoint, status=restore.status, **common)
    verification.resources_status = {'T#old': 'available'}  # as Karbor 1.6 left it: without an operation
    repository.create(verification)
    log = models.OperationLog(id=_id(), operation_type='restore', restore_id=restore.id, **common)
    log.status, log.status_details, log.started_at = ('restored', 'error-restoring')[number % 2], 'first cause', at
    repository.create(log)
    _schedule(number, project, at)
    repository.create(
        models.OperationResource(
            operation_id=log.id, position=0, resource_type='T', resource_id='old', new_id='new', status='error'
        )
    )


def _schedule(number: int, project: str, at: datetime.datetime) -> None:
    common = {'name': NAMES[number % 6], 'project_id': project, 'created_at': at}
    properties = {'format': 'crontab', 'pattern': '0 2 * * *'}
    trigger = repository.create(models.Trigger(id=_id(), type='time', properties=properties, **common))
    values = {'operation_type': 'protect', 'user_id': 'user', 'operation_definition': {'plan_id': _id()}}
    repository.create(models.ScheduledOperation(id=_id(), trigger_id=trigger.id, **values, **common))


def _id() -> str:
    return uuidutils.generate_uuid()


# Lists that are not in a table of a project's: those in memory, and what has tests of its own.
OTHER_LISTS = {
    '/providers',
    '/protectables/{type}/instances',
    '/operation_logs/{operation_log_id}/resources',
    '/providers/{provider_id}/operation_logs',
}
LISTS = {
    'plans': ('/plans', ['id', 'name', 'status', 'created_at']),
    'checkpoints': (f'/providers/{PROVIDER}/checkpoints', ['id', 'name', 'status', 'created_at']),
    'restores': ('/restores', ['id', 'name', 'status', 'created_at']),
    'verifications': ('/verifications', ['id', 'name', 'status', 'created_at']),
    'operation_logs': ('/operation_logs', ['id', 'name', 'status', 'created_at']),
    'triggers': ('/triggers', ['id', 'name', 'status', 'created_at']),
    'operations': ('/scheduled_operations', ['id', 'name', 'status', 'created_at']),
}
ROUTES = {
    path.removeprefix('/v1/{project_id}')
    for verb, path, method in v1.ROUTES
    if verb == 'GET' and 'limit' in (method.query or {})
}
SHOWN_CHECKPOINTS = ITEMS - ITEMS // 3


def test_every_list_of_the_api_is_tried_here() -> None:
    assert {path.replace(PROVIDER, '{provider_id}') for path, _ in LISTS.values()} == ROUTES - OTHER_LISTS


def _pages(service: Service, key: str, path: str) -> Iterator[list[dict[str, Any]]]:
    while True:
        reply = service.get(path).json
        yield reply[key]
        if f'{key}_links' not in reply:
            return
        path = reply[f'{key}_links'][0]['href'].removeprefix('http://localhost')


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_pages_hold_what_one_page_holds_whatever_the_sort(service: Service, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(LISTS)))
    path, keys = LISTS[key]
    sort = data.draw(st.lists(st.tuples(st.sampled_from(keys), st.sampled_from(['asc', 'desc'])), max_size=3))
    query: dict[str, Any] = {'sort': ','.join(':'.join(pair) for pair in sort)} if sort else {}
    if data.draw(st.booleans()):
        query['status'] = data.draw(st.sampled_from(['suspended', 'error', 'success', 'restored']))
    whole = service.get(f'{path}?{urllib.parse.urlencode(query)}').json[key]
    query['limit'] = data.draw(st.integers(1, ITEMS))
    pages = list(_pages(service, key, f'{path}?{urllib.parse.urlencode(query)}'))
    assert [item for page in pages for item in page] == whole
    assert all(len(page) <= query['limit'] for page in pages)
    assert {item['project_id'] for item in whole if 'project_id' in item} <= {PROJECT}


@pytest.mark.parametrize('direction', ['asc', 'desc'])
@pytest.mark.parametrize('key', ['id', 'name', 'status'])
def test_a_list_is_in_the_order_that_was_asked_for(service: Service, key: str, direction: str) -> None:
    plans = service.get(f'/plans?sort_key={key}&sort_dir={direction}').json['plans']
    values = [plan[key] for plan in plans]
    # Databases differ in where a punctuation mark stands, and agree on the rest.
    plain = [value for value in values if value not in ('a_b', 'axb')]
    assert plain == sorted(plain, reverse=direction == 'desc')
    assert len(values) == ITEMS


_SECONDS = st.integers(0, 5)
_STEPS = st.lists(st.tuples(_SECONDS, st.integers(-9, 9)), max_size=6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sort=st.sampled_from([f'{key}:{way}' for key in ('id', 'name', 'status', 'created_at') for way in ('asc', 'desc')]),
    seconds=st.lists(_SECONDS, min_size=1, max_size=8),
    steps=_STEPS,
    size=st.integers(1, 4),
)
def test_what_was_there_before_is_shown_once_whatever_comes_and_goes_between_the_pages(
    service: Service, sort: str, seconds: list[int], steps: list[tuple[int, int]], size: int
) -> None:
    """Each step adds a plan, and deletes one of those that were there, or the last one that was shown."""
    made, seen, gone, left, marker = [_plan_at(second) for second in seconds], [], set(), list(steps), ''
    try:
        while page := service.get(f'/plans?sort={sort}&limit={size}&description=passing{marker}').json['plans']:
            seen += [plan['id'] for plan in page]
            marker = f'&marker={seen[-1]}'
            if left:
                second, victim = left.pop()
                _plan_at(second)
                gone.add(made[victim] if 0 <= victim < len(made) else seen[-1])
                for id in gone:
                    repository.delete(models.Plan, id)
        assert len(seen) == len(set(seen))
        assert set(made) - gone <= set(seen)
    finally:
        repository.update_all(models.Plan, {'deleted': True}, description='passing')


def _plan_at(second: int) -> str:
    at = BEGAN + datetime.timedelta(seconds=second)
    plan = models.Plan(id=_id(), name=NAMES[second], status=('suspended', 'started')[second % 2], created_at=at)
    plan.project_id, plan.provider_id, plan.description = PROJECT, PROVIDER, 'passing'
    return repository.create(plan).id


def test_an_offset_leaves_out_the_first_ones(service: Service) -> None:
    whole = service.get('/plans').json['plans']
    assert service.get('/plans?offset=7&limit=5').json['plans'] == whole[7:12]


def test_the_next_page_of_an_offset_leaves_out_nothing_more(service: Service) -> None:
    pages = list(_pages(service, 'plans', '/plans?offset=7&limit=5'))
    assert [item for page in pages for item in page] == service.get('/plans').json['plans'][7:]


def test_a_limit_is_capped_by_the_option(service: Service) -> None:
    service.config.config(osapi_max_limit=4)
    try:
        assert len(service.get('/plans?limit=100').json['plans']) == 4
        assert len(list(_pages(service, 'plans', '/plans'))) == ITEMS // 4 + 1
    finally:
        service.config.config(osapi_max_limit=1000)


def test_links_begin_with_the_base_url_when_there_is_one(service: Service) -> None:
    service.config.config(osapi_karbor_base_URL='https://public.example/data-protect/')
    try:
        href = service.get('/plans?limit=1').json['plans_links'][0]['href']
        assert href.startswith(f'https://public.example/data-protect/v1/{PROJECT}/plans?limit=1&marker=')
    finally:
        service.config.config(osapi_karbor_base_URL=None)


def test_a_marker_of_another_project_is_refused(service: Service) -> None:
    foreign = service.get(f'/v1/{OTHER}/plans?limit=1', **token(OTHER)).json['plans'][0]['id']
    assert service.get(f'/plans?marker={foreign}').status_int == 400


@pytest.mark.parametrize(('text', 'count'), [('a', 15), ('%', 5), ('_', 5), ('a_', 5), ('', 30), ('zzz', 0)])
def test_names_are_found_by_their_parts(service: Service, text: str, count: int) -> None:
    assert len(service.get(f'/plans?{urllib.parse.urlencode({"name": text})}').json['plans']) == count


def test_a_filter_given_twice_takes_both(service: Service) -> None:
    path = f'/providers/{PROVIDER}/checkpoints?status=deleted&status=error'
    found = service.get(path).json['checkpoints']
    assert {checkpoint['status'] for checkpoint in found} == {'deleted', 'error'}


def test_a_filter_that_the_operator_took_away_is_ignored_unless_an_administrator_asks(service: Service) -> None:
    service.config.config(query_plan_filters=['name'])
    try:
        assert len(service.get('/plans?status=started').json['plans']) == ITEMS
        admin = service.get('/plans?status=started', **token(PROJECT, 'admin'))
        assert len(admin.json['plans']) == ITEMS // 2
    finally:
        service.config.config(query_plan_filters=['name', 'status', 'description'])


@pytest.mark.parametrize(
    ('first', 'last', 'count'), [('01', '31', 6), ('31', None, SHOWN_CHECKPOINTS), (None, '30', 0)]
)
def test_checkpoints_are_found_by_their_days(service: Service, first: str, last: str, count: int) -> None:
    days = {'start_date': first and f'2026-01-{first}', 'end_date': last and f'2026-01-{last}'}
    query = urllib.parse.urlencode({name: day for name, day in days.items() if day})
    assert len(service.get(f'/providers/{PROVIDER}/checkpoints?{query}').json['checkpoints']) == count


def test_checkpoints_of_another_provider_are_not_listed(service: Service) -> None:
    assert service.get(f'/providers/{SHARES}/checkpoints').json['checkpoints'] == []


def test_restores_tell_what_their_operations_tell(service: Service) -> None:
    restore = service.get('/restores?limit=1').json['restores'][0]
    assert restore['status_details'] == 'first cause'
    assert restore['resource_status'] == {'T#old': 'error'}
    assert restore['resources_status'] == {'T#new': 'error'}


def test_verifications_of_karbor_1_6_tell_what_it_has_left(service: Service) -> None:
    shown = service.get('/verifications?limit=1').json['verifications'][0]
    assert (shown['resources_status'], shown['resources_reason']) == ({'T#old': 'available'}, {})
    found = service.get(f'/verifications/{shown["id"]}').json['verification']
    assert (found['resources'], found['status_details'], found['parameters']) == ([], None, {})


@contextmanager
def _statements() -> Iterator[list[str]]:
    """What this thread sends, where the API runs: the protection service looks at its board in others."""
    seen: list[str] = []
    mine = threading.get_ident()

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if threading.get_ident() == mine and not statement.startswith(('BEGIN', 'PRAGMA', 'SAVEPOINT', 'RELEASE')):
            seen.append(statement)

    sa.event.listen(sa.Engine, 'before_cursor_execute', note)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, 'before_cursor_execute', note)


@pytest.mark.parametrize('limit', [1, 15])
@pytest.mark.parametrize('key', [*LISTS, 'logs of a provider'])
def test_a_page_takes_three_statements_at_most_whatever_its_size(service: Service, key: str, limit: int) -> None:
    path = LISTS[key][0] if key in LISTS else f'/providers/{PROVIDER}/operation_logs'
    collection = key if key in LISTS else 'operation_logs'
    marker = service.get(f'{path}?limit=1').json[collection][0]['id']
    with _statements() as seen:
        reply = service.get(f'{path}?limit={limit}&marker={marker}')
    assert len(reply.json[collection]) == limit
    assert 2 <= len(seen) <= 3, '\n'.join(seen)


def test_a_list_of_checkpoints_reads_no_graph(service: Service) -> None:
    with _statements() as seen:
        service.get(f'/providers/{PROVIDER}/checkpoints')
    assert not [statement for statement in seen if 'checkpoint_graphs' in statement]


# --- operations whose resources are folded


def test_resources_read_as_before_when_their_operation_is_folded(service: Service) -> None:
    id = _operation_with_resources(service)
    paths = [
        f'/operation_logs/{id}',
        *(f'/operation_logs/{id}/resources{query}' for query in _QUERIES),
    ]
    before = {path: (service.get(path).status, service.get(path).json) for path in paths}
    assert {status for status, _ in before.values()} == {'200 OK', '400 Bad Request'}
    folding.fold(datetime.datetime(2200, 1, 1))
    assert repository.count(models.OperationResource, operation_id=id) == 0
    for path in paths:
        assert (service.get(path).status, service.get(path).json) == before[path], path


_QUERIES = (
    '',
    '?limit=3',
    '?limit=3&marker=Leaf%23leaf-4',
    '?limit=3&offset=4',
    '?status=error',
    '?sort=name:asc',
    '?sort=name:desc,id:asc&limit=4',
    '?sort=status:desc&limit=4',
    '?sort=status:asc&limit=4&marker=Leaf%23leaf-1',
    '?marker=Leaf%23nowhere',
)


def _operation_with_resources(service: Service) -> str:
    id = uuidutils.generate_uuid()
    repository.create(
        models.OperationLog(
            id=id,
            project_id=PROJECT,
            operation_type='protect',
            status='available',
            ended_at=datetime.datetime(2026, 1, 1),
        )
    )
    repository.create_many(
        models.OperationResource,
        [
            {
                'operation_id': id,
                'position': n,
                'resource_type': 'Leaf',
                'resource_id': f'leaf-{n}',
                'resource_name': None if n % 3 == 0 else f'name {9 - n}',
                'status': ('active', 'error', None)[n % 3],
                'status_details': 'why' if n % 3 == 1 else None,
                'started_at': datetime.datetime(2026, 1, 1, 0, 0, n, n),
            }
            for n in range(10)
        ],
    )
    return id
