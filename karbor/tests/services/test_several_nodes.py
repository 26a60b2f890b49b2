# SPDX-License-Identifier: Apache-2.0
"""Two nodes with an API behind one address: whichever is asked, the answer is the same.

The first is the deployment's, of two worker processes; the second is another karbor-api of one, on the same database
and broker. Requests go to them in turn, as a balancer would send them.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from karbor.api.published import KEPT_SECONDS
from karbor.tests import databases, fixtures
from karbor.tests.services.deployment import NOOP, Deployment, Process, free_port
from karbor.tests.services.user import User, checkpoints_of, volumes

Json = dict[str, Any]
TRIGGER = {'name': 'nightly', 'type': 'time', 'properties': {'format': 'crontab', 'pattern': '30 2 * * *'}}
NEW = '00000000-0000-4000-8000-0000000000e5'


class Nodes:
    """The nodes by their addresses. ``ask`` asks the next one each time."""

    def __init__(self, urls: list[str], user: User) -> None:
        self.urls, self.user = urls, user
        self._turn = itertools.cycle(urls)

    def ask(self, verb: str, path: str, body: Any = None, url: str | None = None, **headers: str) -> requests.Response:
        """The reply of the node at ``url``, or of the next one."""
        address = f'{url or next(self._turn)}/v1/{self.user.project_id}{path}'
        headers['X-Auth-Token'] = self.user.token
        return requests.request(verb, address, json=body, headers=headers, timeout=60)

    def same(self, path: str) -> Json:
        """What all nodes answer to a GET, each worker several times."""
        replies = [self.ask('GET', path) for _ in range(6)]
        assert {reply.status_code for reply in replies} == {200}, [reply.text for reply in replies]
        # A link to the next page leads to the node that was asked, unless there is a balancer that tells its name.
        told = [(_without_address(reply, self.urls), reply.headers.get('ETag')) for reply in replies]
        assert all(one == told[0] for one in told)
        return replies[0].json()

    def done(self, verb: str, path: str, body: Any = None, **headers: str) -> Json:
        """The body of a reply of the next node, which succeeds."""
        reply = self.ask(verb, path, body, **headers)
        assert reply.status_code == 200, reply.text
        return reply.json() if reply.content else {}


def _without_address(reply: requests.Response, urls: list[str]) -> str:
    text = reply.text
    for url in urls:
        text = text.replace(url, 'http://api')
    return text


@pytest.fixture(scope='module')
def second(karbor: Deployment) -> Iterator[str]:
    """The address of the second node."""
    folder, port = karbor.folder.parent / 'second', free_port()
    folder.mkdir()
    text = (karbor.folder / 'karbor.conf').read_text()
    for name, value in (('osapi_karbor_listen_port', port), ('osapi_karbor_workers', 1), ('host', 'second')):
        (line,) = (line for line in text.splitlines() if line.startswith(f'{name} = '))
        text = text.replace(f'{line}\n', f'{name} = {value}\n', 1)
    configuration = Path(folder, 'karbor.conf')
    configuration.touch(mode=0o600)
    configuration.write_text(text)
    process, url = Process('karbor-api', folder, {}), f'http://127.0.0.1:{port}'
    process.start()
    try:
        karbor.until(lambda: _answers(url), 'the second API answers')
        yield url
    finally:
        process.stop()


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.ConnectionError):
        return requests.get(url, timeout=5).status_code == 300
    return False


@pytest.fixture
def nodes(karbor: Deployment, second: str, demo: User) -> Nodes:
    return Nodes([karbor.url, second], demo)


@pytest.fixture
def admins(karbor: Deployment, second: str, user: Any) -> Nodes:
    return Nodes([karbor.url, second], user('admin'))


def _plan(name: str) -> Json:
    return {'plan': {'name': name, 'provider_id': NOOP, 'resources': volumes(2), 'parameters': {}}}


def test_a_plan_is_the_same_on_each_node_whichever_has_written_it(nodes: Nodes) -> None:
    made = nodes.done('POST', '/plans', _plan('first'))['plan']
    path = f'/plans/{made["id"]}'
    assert nodes.same(path) == {'plan': made}
    for n in range(6):
        nodes.done('PUT', path, {'plan': {'name': f'name {n}', 'status': ('started', 'suspended')[n % 2]}})
        assert nodes.same(path)['plan']['name'] == f'name {n}'
    assert made['id'] in [plan['id'] for plan in nodes.same('/plans?limit=2&sort=created_at:desc')['plans']]
    nodes.done('DELETE', path)
    assert [nodes.ask('GET', path).status_code for _ in range(6)] == [404] * 6


def test_a_tag_of_one_node_holds_on_the_other(nodes: Nodes) -> None:
    made = nodes.done('POST', '/triggers', {'trigger_info': TRIGGER})['trigger_info']
    path = f'/triggers/{made["id"]}'
    assert nodes.same(path) == {'trigger_info': made}
    for n in range(4):
        tag = nodes.ask('GET', path).headers['ETag']
        seen = nodes.ask('GET', path, **{'If-None-Match': tag})
        assert (seen.status_code, seen.content) == (304, b'')
        nodes.ask('GET', path)  # so that another node is asked to write than has given the tag
        changed = {'trigger_info': {'name': f'name {n}'}}
        assert nodes.done('PUT', path, changed, **{'If-Match': tag})['trigger_info']['name'] == f'name {n}'
        assert nodes.ask('PUT', path, changed, **{'If-Match': tag}).status_code == 412
    found = nodes.same('/triggers?name=name 3')['triggers']
    assert [trigger['id'] for trigger in found] == [made['id']]
    nodes.done('DELETE', path)
    assert [nodes.ask('DELETE', path).status_code for _ in range(4)] == [404] * 4


def test_pages_follow_each_other_across_nodes(nodes: Nodes) -> None:
    made = [nodes.done('POST', '/plans', _plan(f'page {n}'))['plan']['id'] for n in range(5)]
    seen: list[str] = []
    path = '/plans?limit=2&name=page'
    while path:
        page = nodes.done('GET', path)
        seen += [plan['id'] for plan in page['plans']]
        links = page.get('plans_links')
        path = links[0]['href'].partition(nodes.user.project_id)[2] if links else ''
    assert seen == made[::-1]


def test_limits_set_on_one_node_hold_on_the_other(nodes: Nodes, admins: Nodes) -> None:
    quota = f'/quotas/{nodes.user.project_id}'
    used = nodes.same(f'{quota}/detail')['quota']['plans']['in_use']
    try:
        for url, other in (nodes.urls, nodes.urls[::-1]):
            used += 1
            assert admins.ask('PUT', quota, {'quota': {'plans': used}}, url=url).status_code == 200
            assert admins.same(quota)['quota']['plans'] == used
            assert nodes.ask('POST', '/plans', _plan('last'), url=other).status_code == 200
            refused = [nodes.ask('POST', '/plans', _plan('too many'), url=node) for node in (other, url)]
            assert [reply.status_code for reply in refused] == [413, 413]
            assert nodes.same(f'{quota}/detail')['quota']['plans']['in_use'] == used
    finally:
        admins.done('DELETE', quota)


def test_an_engine_disabled_on_one_node_is_disabled_on_the_other(admins: Nodes) -> None:
    listed = '/os-services?binary=karbor-operationengine'
    (engine,) = admins.done('GET', listed)['services']
    path = f'/os-services/{engine["id"]}'
    for n in range(3):
        wanted = {'status': 'disabled', 'disabled_reason': f'reason {n}'}
        assert admins.done('PUT', path, wanted)['service']['disabled_reason'] == f'reason {n}'
        shown = [admins.done('GET', listed)['services'][0] for _ in range(6)]  # its heartbeat goes on meanwhile
        assert {(one['status'], one['disabled_reason']) for one in shown} == {('disabled', f'reason {n}')}
    admins.done('PUT', path, {'status': 'enabled'})
    assert [admins.done('GET', listed)['services'][0]['status'] for _ in range(6)] == ['enabled'] * 6


def test_a_request_sent_again_to_the_other_node_is_answered_as_the_first(nodes: Nodes) -> None:
    plan = nodes.done('POST', '/plans', _plan('once'))['plan']
    body = {'checkpoint': {'plan_id': plan['id']}}
    for n, (url, other) in enumerate((nodes.urls, nodes.urls[::-1])):
        key = {'Idempotency-Key': f'{plan["id"]} {n}'}
        first = nodes.ask('POST', checkpoints_of(plan), body, url, **key)
        again = nodes.ask('POST', checkpoints_of(plan), body, other, **key)
        assert (first.status_code, again.status_code) == (200, 200)
        assert (again.content, again.headers['Idempotent-Replayed']) == (first.content, 'true')
        assert nodes.ask('POST', '/plans', _plan('other'), other, **key).status_code == 422
    found = nodes.done('GET', f'{checkpoints_of(plan)}?plan_id={plan["id"]}')['checkpoints']
    assert len(found) == 2


def test_an_operation_begun_on_one_node_is_seen_to_end_on_the_other(nodes: Nodes) -> None:
    plan = nodes.done('POST', '/plans', _plan('to protect'))['plan']
    made = nodes.done('POST', checkpoints_of(plan), {'checkpoint': {'plan_id': plan['id']}})['checkpoint']
    path = f'{checkpoints_of(plan)}/{made["id"]}'
    for url in nodes.urls:
        end = time.monotonic() + 30
        while (status := nodes.ask('GET', path, url=url).json()['checkpoint']['status']) == 'protecting':
            assert time.monotonic() < end
        assert status == 'available'
    assert nodes.same(path)['checkpoint']['id'] == made['id']
    assert nodes.same(f'/operation_logs?checkpoint_id={made["id"]}')['operation_logs'][0]['status'] == 'available'


def test_a_provider_is_known_to_each_node_a_second_after_it_was_published(karbor: Deployment, nodes: Nodes) -> None:
    before = nodes.same('/providers')
    with databases.connected(karbor.database):
        fixtures.publish_provider(NEW, 'third')
        time.sleep(KEPT_SECONDS + 0.1)
        try:
            after = nodes.same('/providers')
        finally:
            fixtures.withdraw_host('third')
    added = {found['id'] for found in after['providers']} - {found['id'] for found in before['providers']}
    assert added == {NEW}
    time.sleep(KEPT_SECONDS + 0.1)
    assert nodes.same('/providers') == before


def test_types_and_instances_are_the_same_on_each_node(nodes: Nodes) -> None:
    for type in nodes.same('/protectables')['protectable_type']:
        assert nodes.same(f'/protectables/{type}')['protectable_type']['name'] == type
        assert 'instances' in nodes.same(f'/protectables/{type}/instances')
