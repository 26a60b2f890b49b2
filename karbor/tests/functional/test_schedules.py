# SPDX-License-Identifier: Apache-2.0
"""What triggers and scheduled operations leave in the database, and what happens when several ask at once."""

import datetime
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from oslo_utils import timeutils, uuidutils

from karbor.db import models, repository
from karbor.tests import databases, fixtures
from karbor.tests.fixtures import PROJECT, PROVIDER, Service

CRONTAB = {'format': 'crontab', 'pattern': '0 2 * * *', 'start_time': '2026-01-01 00:00:00'}


@pytest.fixture
def service() -> Iterator[Service]:
    with fixtures.service() as made:
        yield made


def _trigger(service: Service, **properties: Any) -> str:
    body = {'trigger_info': {'name': 'nightly', 'type': 'time', 'properties': CRONTAB | properties}}
    return service.post('/triggers', body).json['trigger_info']['id']


def _plan(service: Service) -> str:
    return service.post('/plans', fixtures.plan_body()).json['plan']['id']


def _operation(trigger: str, plan: str, **definition: Any) -> dict[str, Any]:
    about = {'plan_id': plan, 'provider_id': PROVIDER} | definition
    values = {'operation_type': 'retention_protect', 'trigger_id': trigger, 'operation_definition': about}
    return {'scheduled_operation': {'name': 'nightly'} | values}


def _due(id: str) -> datetime.datetime | None:
    row = repository.get(models.Trigger, id)
    assert row is not None
    return row.next_run_at


def test_a_trigger_is_due_at_its_next_run_as_soon_as_it_is_written(service: Service) -> None:
    id = _trigger(service)
    due, now = _due(id), timeutils.utcnow()
    assert due is not None
    assert (due.hour, due.minute) == (2, 0)
    assert now < due <= now + datetime.timedelta(days=1)


def test_a_trigger_is_due_anew_when_its_properties_change_and_not_when_its_name_does(service: Service) -> None:
    id = _trigger(service)
    first = _due(id)
    assert first is not None
    kept = first - datetime.timedelta(days=1)
    repository.update(models.Trigger, id, {'next_run_at': kept})
    service.request('PUT', f'/triggers/{id}', {'trigger_info': {'name': 'other', 'properties': {}}})
    assert _due(id) == kept
    changed = {'trigger_info': {'properties': CRONTAB | {'pattern': '0 3 * * *'}}}
    service.request('PUT', f'/triggers/{id}', changed)
    due = _due(id)
    assert due is not None and due > timeutils.utcnow() and due.hour == 3


def test_a_trigger_that_is_over_is_never_due(service: Service) -> None:
    assert _due(_trigger(service, end_time='2026-01-02 00:00:00')) is None


def test_a_scheduled_operation_is_its_users_and_enabled(service: Service) -> None:
    body = _operation(_trigger(service), _plan(service), max_backups='3', retention_duration=None, more=[1, None])
    id = service.post('/scheduled_operations', body).json['scheduled_operation']['id']
    row = repository.get(models.ScheduledOperation, id)
    assert row is not None
    assert (row.user_id, row.project_id, row.enabled) == ('user', PROJECT, True)
    definition = body['scheduled_operation']['operation_definition']
    expected = {'plan_id': definition['plan_id'], 'provider_id': PROVIDER, 'max_backups': 3, 'more': [1, None]}
    assert row.operation_definition == expected


def test_rows_of_karbor_1_6_are_shown_as_they_are(service: Service) -> None:
    properties = {'format': 'whatever', 'pattern': 'BEGIN:VEVENT\nRRULE:FREQ=DAILY\nEND:VEVENT', 'window': '900'}
    definition = {'plan_id': uuidutils.generate_uuid(), 'provider_id': PROVIDER, 'max_backups': '3'}
    common = {'id': uuidutils.generate_uuid(), 'name': 'old', 'project_id': PROJECT}
    repository.create(models.Trigger(type='time', properties=properties, **common))
    values = {'operation_type': 'retention_protect', 'user_id': 'user', 'trigger_id': common['id']}
    repository.create(models.ScheduledOperation(operation_definition=definition, **(common | values)))
    assert service.get(f'/triggers/{common["id"]}').json['trigger_info']['properties'] == properties
    renamed = service.request('PUT', f'/triggers/{common["id"]}', {'trigger_info': {'name': 'new'}}).json
    assert renamed['trigger_info'] == {'id': common['id'], 'name': 'new', 'type': 'time', 'properties': properties}
    (operation,) = service.get('/scheduled_operations').json['operations']
    assert operation['operation_definition'] == definition


def _at_once(*asks: Callable[[], Any]) -> list[Any]:
    answers: list[Any] = [None] * len(asks)
    ready = threading.Barrier(len(asks))

    def run(place: int) -> None:
        ready.wait(10)
        answers[place] = asks[place]()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(asks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


@pytest.mark.parametrize('kind', databases.KINDS)
@pytest.mark.parametrize('what', ['triggers', 'plans'])
def test_nothing_is_scheduled_on_what_is_deleted_meanwhile(what: str, kind: str, tmp_path: Path) -> None:
    with databases.temporary(kind, tmp_path) as url, fixtures.service(url) as service:
        for _ in range(12):
            ids = {'triggers': _trigger(service), 'plans': _plan(service)}
            body = _operation(ids['triggers'], ids['plans'])
            made, deleted = _at_once(
                partial(service.post, '/scheduled_operations', body),
                partial(service.request, 'DELETE', f'/{what}/{ids[what]}'),
            )
            refused = 404 if what == 'triggers' else 400
            assert (made.status_int, deleted.status_int) in ((200, 409), (refused, 200))
