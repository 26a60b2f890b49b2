# SPDX-License-Identifier: Apache-2.0
"""Trouble on demand, and what the sandbox tells its administrator."""

import threading
import time
from typing import Any

import pytest
import requests
from keystoneauth1 import exceptions as keystone_exceptions
from manilaclient import exceptions as manila_exceptions
from troveclient import exceptions as trove_exceptions

from karbor.sandbox.cloud import Sandbox
from karbor.tests.sandbox.conftest import Cloud


def shares_named(cloud: Cloud, name: str) -> list[str]:
    return [share['status'] for share in cloud.objects()['shares'] if share['name'] == name]


def named(things: Any, name: str) -> Any:
    return next(thing for thing in things if thing.name == name)


def test_nth_calls_fail_as_often_as_asked_and_do_nothing(cloud):
    manila = cloud.manila()
    cloud.fault('manila', 'POST /shares$', 'status', nth=2, times=2, status=503, message='out of order')
    manila.shares.create('NFS', 1, name='counted')
    for _ in range(2):
        with pytest.raises(manila_exceptions.ServiceUnavailable, match='out of order'):
            manila.shares.create('NFS', 1, name='counted')
    manila.shares.create('NFS', 1, name='counted')
    assert len(shares_named(cloud, 'counted')) == 2
    (fault,) = cloud.get('admin', '/faults').json()['faults']
    assert (fault['hits'], fault['fired']) == (4, 2)


def test_every_call_fails_until_the_faults_are_cleared_when_times_is_null(cloud):
    manila = cloud.manila()
    cloud.fault('manila', '* /', 'status', times=None)
    for _ in range(3):
        with pytest.raises(manila_exceptions.InternalServerError):
            manila.shares.list()
    assert cloud.get('admin', '/faults', 'DELETE').status_code == 204
    assert manila.shares.list()
    assert cloud.get('admin', '/faults').json() == {'faults': []}


def test_too_many_requests_say_when_to_come_back(cloud):
    cloud.fault('trove', 'GET /instances', 'status', status=429, retry_after=3)
    project = cloud.users['demo']['project_id']
    reply = cloud.get('demo', f'/database/v1.0/{project}/instances')
    assert (reply.status_code, reply.headers['Retry-After']) == (429, '3')
    assert reply.json()['overLimit']['code'] == 429
    assert reply.headers['x-openstack-request-id'].startswith('req-')


def test_keystone_fails_in_its_own_words(cloud):
    cloud.fault('keystone', 'POST /auth/tokens', 'status', status=500)
    reply = requests.post(f'{cloud.sandbox.auth_url}/auth/tokens', json={}, timeout=5)
    assert reply.json()['error']['title'] == 'Internal Server Error'
    cloud.login('demo').get_token()


def test_things_end_in_error_when_an_error_state_is_asked_for(cloud, until):
    manila, trove = cloud.manila(), cloud.trove()
    share, instance = named(manila.shares.list(), 'documents'), named(trove.instances.list(), 'shop-db')
    for service, match in (
        ('manila', 'POST /shares$'),
        ('manila', 'POST /snapshots$'),
        ('trove', 'POST /instances$'),
        ('trove', 'POST /backups$'),
    ):
        assert cloud.fault(service, match, 'error_state').status_code == 201
    until(manila.shares, manila.shares.create('NFS', 1), 'error')
    until(manila.share_snapshots, manila.share_snapshots.create(share.id), 'error')
    broken = until(trove.instances, trove.instances.create('x', '1', volume={'size': 1}), 'ERROR')
    assert broken.fault['message']
    until(trove.backups, trove.backups.create('x', instance.id), 'FAILED')
    until(trove.instances, instance, 'ACTIVE')


def test_deletions_and_reverts_end_in_error_when_an_error_state_is_asked_for(cloud, until):
    manila, trove = cloud.manila(), cloud.trove()
    share = until(manila.shares, manila.shares.create('NFS', 1), 'available')
    snapshot = until(manila.share_snapshots, manila.share_snapshots.create(share.id), 'available')
    cloud.fault('manila', 'POST /shares/[^/]+/action', 'error_state')
    manila.shares.revert_to_snapshot(share, snapshot)
    until(manila.shares, share, 'reverting_error')
    cloud.fault('manila', 'DELETE /snapshots', 'error_state')
    snapshot.delete()
    until(manila.share_snapshots, snapshot, 'error_deleting')
    instance = named(trove.instances.list(), 'shop-db')
    backup = until(trove.backups, trove.backups.create('x', instance.id), 'COMPLETED')
    cloud.fault('trove', 'DELETE /backups', 'error_state')
    trove.backups.delete(backup.id)
    until(trove.backups, backup, 'DELETE_FAILED')


def test_slow_call_is_done_late(cloud):
    manila = cloud.manila()
    manila.shares.list()
    cloud.fault('manila', 'GET /shares/detail', 'slow', seconds=0.4)
    start = time.monotonic()
    assert manila.shares.list()
    assert time.monotonic() - start >= 0.4
    start = time.monotonic()
    assert manila.shares.list()
    assert time.monotonic() - start < 0.3


@pytest.mark.parametrize(('kind', 'made'), [('drop_before', 0), ('drop_after', 1), ('timeout', 0)])
def test_connection_is_closed_without_an_answer(cloud, kind, made):
    manila = cloud.manila()
    cloud.fault('manila', 'POST /shares$', kind, seconds=0.1)
    with pytest.raises(keystone_exceptions.ConnectFailure):
        manila.shares.create('NFS', 1, name=kind)
    assert len(shares_named(cloud, kind)) == made
    manila.shares.create('NFS', 1, name=kind)
    assert len(shares_named(cloud, kind)) == made + 1


@pytest.mark.usefixtures('slow')
def test_dropped_backup_is_made_nevertheless(cloud):
    trove = cloud.trove()
    instance = named(trove.instances.list(), 'wiki-db')
    cloud.fault('trove', 'POST /backups', 'drop_after')
    with pytest.raises(keystone_exceptions.ConnectFailure):
        trove.backups.create('lost', instance.id, description='tag')
    assert [b['description'] for b in cloud.objects()['backups'] if b['name'] == 'lost'] == ['tag']
    with pytest.raises(trove_exceptions.UnprocessableEntity):
        trove.backups.create('again', instance.id)


@pytest.mark.parametrize('name', ['demo', 'reader', 'karbor'])
def test_only_the_clouds_administrator_may_ask(cloud, name):
    for method, url in (('GET', 'faults'), ('DELETE', 'faults'), ('GET', 'calls'), ('GET', 'objects')):
        assert cloud.get(name, f'/{url}', method).status_code == 403
    wanted = {'service': 'manila', 'match': 'GET /', 'kind': 'status'}
    assert cloud.get(name, '/faults', 'POST', json=wanted).status_code == 403
    assert requests.get(cloud.sandbox.faults_url, timeout=5).status_code == 401
    assert cloud.get('admin', '/faults').json() == {'faults': []}


@pytest.mark.parametrize(
    'wrong',
    [
        {'service': 'nova'},
        {'kind': 'fire'},
        {'match': 'GET /('},
        {'nth': 'x'},
        {'seconds': -1},
        {'surprise': 1},
        {'match': None},
    ],
)
def test_fault_is_refused_when_it_is_none(cloud, wrong):
    wanted = {'service': 'manila', 'match': 'GET /', 'kind': 'status', **wrong}
    reply = cloud.get('admin', '/faults', 'POST', json=wanted)
    assert (reply.status_code, list(reply.json())) == (400, ['badRequest'])
    assert cloud.get('admin', '/faults').json() == {'faults': []}


def test_calls_are_counted_by_route_and_the_faulty_ones_too(cloud):
    manila = cloud.manila()
    for share in manila.shares.list():
        manila.shares.get(share.id)
        manila.shares.get(share.id)
    number = 2 * len(manila.shares.list())
    cloud.fault('manila', 'GET /types', 'status')
    with pytest.raises(manila_exceptions.InternalServerError):
        manila.share_types.list()
    calls = cloud.get('admin', '/calls').json()['calls']
    assert calls['manila']['GET /shares/{id}'] == number
    assert (calls['manila']['GET /shares/detail'], calls['manila']['GET /types']) == (2, 1)
    assert calls['keystone']['POST /auth/tokens'] >= 1
    assert cloud.get('admin', '/calls', 'DELETE').status_code == 204
    assert cloud.get('admin', '/calls').json()['calls']['manila'] == {}


def test_objects_show_tags_of_every_project(cloud):
    share = cloud.manila().shares.create('NFS', 1, name='tagged', metadata={'karbor': 'x'})
    cloud.manila('other').shares.create('NFS', 1, name='tagged', description='karbor')
    found = [s for s in cloud.objects()['shares'] if s['name'] == 'tagged']
    assert {s['project_id'] for s in found} == {cloud.users[n]['project_id'] for n in ('demo', 'other')}
    assert next(s for s in found if s['id'] == share.id)['metadata'] == {'karbor': 'x'}
    assert set(cloud.objects()) == {'shares', 'snapshots', 'instances', 'backups', 'trusts'}


def test_many_clients_at_once_get_no_error(cloud):
    tokens = [str(cloud.login('demo').get_token()) for _ in range(2)]
    before, seen = len(cloud.objects()['shares']), []

    def work(token: str) -> None:
        client = requests.Session()
        client.headers['X-Auth-Token'] = token
        body = {'share': {'share_proto': 'NFS', 'size': 1}}
        for _ in range(10):
            made = client.post(f'{cloud.sandbox.url}/share/v2/shares', json=body, timeout=10)
            seen.append(made.status_code)
            url = f'{cloud.sandbox.url}/share/v2/shares/{made.json()["share"]["id"]}'
            seen.append(client.get(url, timeout=10).status_code)

    threads = [threading.Thread(target=work, args=(tokens[n % 2],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [200] * 160
    assert len(cloud.objects()['shares']) == before + 80


def test_stop_does_not_wait_for_slow_calls(tmp_path):
    with Sandbox(tmp_path) as sandbox:
        cloud = Cloud(sandbox)
        token = str(cloud.login('demo').get_token())
        cloud.fault('manila', 'GET /shares', 'timeout', seconds=60)

        def call() -> None:
            with pytest.raises(requests.ConnectionError):
                requests.get(f'{sandbox.url}/share/v2/shares', headers={'X-Auth-Token': token}, timeout=30)

        thread = threading.Thread(target=call)
        thread.start()
        while not sandbox.faults.all()[0]['hits']:
            time.sleep(0.01)
        start = time.monotonic()
    assert time.monotonic() - start < 4
    thread.join(5)
    assert not thread.is_alive()
    assert list(tmp_path.iterdir()) == []
