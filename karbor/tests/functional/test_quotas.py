# SPDX-License-Identifier: Apache-2.0
"""Quotas, when many ask at once: exactly as many get in as there is room for, on each database."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import webob

from karbor import quota
from karbor.tests import databases, fixtures
from karbor.tests.fixtures import PROJECT, PROVIDER, Service, token

LIMIT, LOWER, ASKED = 10, 4, 50
ADMIN = token(PROJECT, 'admin')
QUOTA = f'/quotas/{PROJECT}'
CHECKPOINTS = f'/providers/{PROVIDER}/checkpoints'
Create = Callable[[], webob.Response]


@pytest.fixture(params=databases.KINDS)
def karbor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    with databases.temporary(request.param, tmp_path) as url, fixtures.service(url) as service:
        yield service
        service.settle()


@pytest.fixture(params=quota.RESOURCES)
def resource(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def create(karbor: Service, resource: str) -> Create:
    """Asks the API for one more of the resource."""
    if resource == 'plans':
        return lambda: karbor.post('/plans', fixtures.plan_body())
    plan = karbor.post('/plans', fixtures.plan_body()).json['plan']
    return lambda: karbor.post(CHECKPOINTS, {'checkpoint': {'plan_id': plan['id']}})


def _set(karbor: Service, **limits: Any) -> None:
    assert karbor.request('PUT', QUOTA, {'quota': limits}, **ADMIN).status_int == 200


def _in_use(karbor: Service, resource: str) -> int:
    return karbor.get(f'{QUOTA}/detail').json['quota'][resource]['in_use']


def test_exactly_the_limit_gets_in_when_fifty_ask_at_once(karbor: Service, resource: str, create: Create) -> None:
    _set(karbor, **{resource: LIMIT})
    with ThreadPoolExecutor(ASKED) as pool:
        replies = [future.result() for future in [pool.submit(create) for _ in range(ASKED)]]
    assert Counter(reply.status_int for reply in replies) == {200: LIMIT, 413: ASKED - LIMIT}
    refused = [reply for reply in replies if reply.status_int == 413]
    assert {reply.headers['Retry-After'] for reply in refused} == {'0'}
    told = f'Quota exceeded: {LIMIT} of {LIMIT} {resource} are in use.'
    fault = {'overLimit': {'code': 413, 'message': told, 'retryAfter': '0'}}
    assert all(reply.json == fault for reply in refused)
    assert _in_use(karbor, resource) == LIMIT


def test_no_more_than_the_higher_limit_get_in_when_it_is_lowered_meanwhile(
    karbor: Service, resource: str, create: Create
) -> None:
    _set(karbor, **{resource: LIMIT})
    with ThreadPoolExecutor(ASKED) as pool:
        before = [pool.submit(create) for _ in range(ASKED // 2)]
        lowered = pool.submit(_set, karbor, **{resource: LOWER})
        during = [pool.submit(create) for _ in range(ASKED // 2)]
        lowered.result()
        statuses = Counter(future.result().status_int for future in [*before, *during])
    assert statuses.keys() <= {200, 413}
    assert LOWER <= statuses[200] == _in_use(karbor, resource) <= LIMIT
    assert create().status_int == 413
    assert karbor.get(QUOTA).json['quota'][resource] == LOWER


def test_the_limits_are_those_of_one_of_them_when_many_set_them_at_once(karbor: Service) -> None:
    with ThreadPoolExecutor(20) as pool:
        for _ in pool.map(lambda n: _set(karbor, plans=n, checkpoints=n), range(20)):
            pass
    found = karbor.get(QUOTA).json['quota']
    assert found['plans'] == found['checkpoints'] in range(20)
    assert karbor.rows()['quotas'] == 2


def test_a_checkpoint_that_cannot_be_accepted_takes_no_quota(karbor: Service) -> None:
    _set(karbor, checkpoints=1)
    plan = karbor.post('/plans', fixtures.plan_body()).json['plan']
    wanted = {'checkpoint': {'plan_id': plan['id']}}
    karbor.protection.server.stop()
    assert karbor.post(CHECKPOINTS, wanted).status_int == 503
    assert _in_use(karbor, 'checkpoints') == 0
    karbor.protection.server.start()
    assert karbor.post(CHECKPOINTS, wanted).status_int == 200
    assert karbor.post(CHECKPOINTS, wanted).status_int == 413
    assert _in_use(karbor, 'checkpoints') == 1


def test_a_deleted_checkpoint_makes_room(karbor: Service) -> None:
    _set(karbor, checkpoints=1)
    plan = karbor.post('/plans', fixtures.plan_body()).json['plan']
    wanted = {'checkpoint': {'plan_id': plan['id']}}
    made = karbor.post(CHECKPOINTS, wanted).json['checkpoint']
    karbor.settle()
    assert karbor.request('DELETE', f'{CHECKPOINTS}/{made["id"]}').status_int == 200
    karbor.settle()
    assert _in_use(karbor, 'checkpoints') == 0
    assert karbor.post(CHECKPOINTS, wanted).status_int == 200
