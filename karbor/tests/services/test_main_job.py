# SPDX-License-Identifier: Apache-2.0
"""The main job over HTTP: what a member of a project does, and what others may not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from karbor.tests.services.deployment import CLOUD, NOOP, Deployment
from karbor.tests.services.user import INSTANCE, SHARE, User, checkpoints_of, volumes

Json = dict[str, Any]


class Contents:
    """The files behind shares and instances of the sandbox."""

    def __init__(self, sandbox: Any) -> None:
        self.sandbox = sandbox

    def folder(self, resource_type: str, id: str) -> Path:
        store = self.sandbox.shares.shares if resource_type == SHARE else self.sandbox.instances.instances
        return store[id].path

    def of(self, resource_type: str, id: str) -> dict[str, bytes]:
        folder = self.folder(resource_type, id)
        return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob('*') if f.is_file()}

    def spoil(self, resource_type: str, id: str) -> None:
        """Change every file, and add one."""
        folder = self.folder(resource_type, id)
        for file in [f for f in folder.rglob('*') if f.is_file()]:
            file.write_bytes(b'lost')
        (folder / 'more').write_bytes(b'more')


@pytest.fixture
def contents(karbor: Deployment) -> Contents:
    return Contents(karbor.sandbox)


@pytest.fixture
def resources(demo: User) -> list[Json]:
    """Two shares and an instance of the project demo, as a plan names them; at the time those of the inventory."""
    wanted = {SHARE: ('documents', 'photos'), INSTANCE: ('shop-db',)}
    found = [i for kind in wanted for i in demo.get(f'/protectables/{kind}/instances')['instances']]
    return [{k: i[k] for k in ('id', 'type', 'name')} for i in found if i['name'] in wanted[i['type']]]


@pytest.fixture
def intact(contents: Contents, resources: list[Json]) -> Iterator[dict[str, dict[str, bytes]]]:
    """What is in the resources, by id; put back at the end."""
    known = {r['id']: contents.of(r['type'], r['id']) for r in resources}
    yield known
    for resource in resources:
        folder = contents.folder(resource['type'], resource['id'])
        (folder / 'more').unlink(missing_ok=True)
        for name, content in known[resource['id']].items():
            (folder / name).write_bytes(content)


def test_content_is_restored_when_the_originals_have_changed(karbor, demo, contents, resources, intact):
    assert len(resources) == 3
    plan = demo.make_plan(resources, CLOUD)
    made = demo.make_checkpoint(plan)
    checkpoint = demo.ended(demo.checkpoint, made)
    assert checkpoint['status'] == 'available', checkpoint
    assert {r['status'] for r in checkpoint['resources']} == {'active'}

    for resource in resources:
        contents.spoil(resource['type'], resource['id'])
        assert contents.of(resource['type'], resource['id']) != intact[resource['id']]
    assert [p for p in karbor.bank.rglob('*') if p.is_file() and made['id'] in str(p)] != []
    asked = demo.create('restore', '/restores', provider_id=CLOUD, checkpoint_id=made['id'], parameters={})
    restore = demo.ended(demo.restore, asked)
    assert restore['status'] == 'success', restore
    restored = {r['id']: r for r in restore['resources']}
    for resource in resources:
        new = restored[resource['id']]
        assert new['new_id'] not in (None, resource['id'])
        assert contents.of(resource['type'], new['new_id']) == intact[resource['id']]

    assert demo.ask('DELETE', f'{checkpoints_of(plan)}/{made["id"]}').status_code == 200
    deleted = demo.ended(demo.checkpoint, made)
    assert deleted['status'] == 'deleted', deleted
    assert [p for p in karbor.bank.rglob('*') if p.is_file() and made['id'] in str(p)] == []
    logs = demo.get(f'/operation_logs?checkpoint_id={made["id"]}')['operation_logs']
    assert {(log['operation_type'], log['status']) for log in logs} == {
        ('protect', 'available'),
        ('restore', 'restored'),
        ('delete', 'deleted'),
    }


def test_snapshots_and_backups_are_gone_when_the_checkpoint_is_deleted(demo, resources):
    before = len(demo.manila().share_snapshots.list()), len(demo.trove().backups.list())
    plan = demo.make_plan(resources, CLOUD)
    made = demo.make_checkpoint(plan)
    assert demo.ended(demo.checkpoint, made)['status'] == 'available'
    during = len(demo.manila().share_snapshots.list()), len(demo.trove().backups.list())
    assert during == (before[0] + 2, before[1] + 1)
    demo.ask('DELETE', f'{checkpoints_of(plan)}/{made["id"]}')
    assert demo.ended(demo.checkpoint, made)['status'] == 'deleted'
    assert (len(demo.manila().share_snapshots.list()), len(demo.trove().backups.list())) == before


def test_reason_is_shown_when_a_snapshot_fails(karbor, demo, resources):
    fault = {'service': 'manila', 'match': 'POST /snapshots', 'kind': 'error_state', 'times': None}
    karbor.sandbox.faults.add(fault)
    try:
        checkpoint = demo.ended(demo.checkpoint, demo.make_checkpoint(demo.make_plan(resources[:1], CLOUD)))
    finally:
        karbor.sandbox.faults.clear()
    assert checkpoint['status'] == 'error'
    assert resources[0]['id'] in checkpoint['status_details']
    (row,) = checkpoint['resources']
    assert (row['status'], bool(row['status_details'])) == ('error', True)


def test_providers_come_from_the_database(karbor, demo, rows):
    shown = {p['id']: p['name'] for p in demo.get('/providers')['providers']}
    stored = {id: name for id, name in rows('SELECT id, name FROM providers WHERE host = :host', host=karbor.host)}
    assert shown == stored
    assert set(shown) == {NOOP, CLOUD}


def test_reader_is_refused_when_it_writes(user, demo):
    reader = user('reader')
    plan = demo.make_plan(volumes(1))
    assert plan['id'] in [p['id'] for p in reader.get('/plans')['plans']]
    new = {'plan': {'name': 'no', 'provider_id': NOOP, 'resources': volumes(1), 'parameters': {}}}
    replies = [
        reader.ask('POST', '/plans', new),
        reader.ask('PUT', f'/plans/{plan["id"]}', {'plan': {'name': 'no'}}),
        reader.ask('DELETE', f'/plans/{plan["id"]}'),
        reader.ask('POST', checkpoints_of(plan), {'checkpoint': {'plan_id': plan['id']}}),
    ]
    assert [(r.status_code, list(r.json())) for r in replies] == [(403, ['forbidden'])] * 4
    assert demo.get(f'/plans/{plan["id"]}')['plan'] == plan


def test_nothing_is_seen_when_another_project_looks(user, demo):
    plan = demo.make_plan(volumes(2))
    made = demo.make_checkpoint(plan)
    demo.ended(demo.checkpoint, made)
    (log,) = demo.get(f'/operation_logs?checkpoint_id={made["id"]}')['operation_logs']
    other = user('other')
    for path in (f'/plans/{plan["id"]}', f'{checkpoints_of(plan)}/{made["id"]}', f'/operation_logs/{log["id"]}'):
        assert demo.ask('GET', path).status_code == 200
        assert other.ask('GET', path).status_code == 404
    assert other.ask('DELETE', f'/plans/{plan["id"]}').status_code == 404
    assert other.get('/plans')['plans'] == []
    assert other.get(checkpoints_of(plan))['checkpoints'] == []
    assert other.get('/operation_logs')['operation_logs'] == []


def test_token_is_required_when_anything_is_asked_for(karbor, demo):
    url = f'{karbor.url}/v1/{demo.project_id}/plans'
    assert requests.get(url, timeout=10).status_code == 401
    assert requests.get(url, headers={'X-Auth-Token': 'forged'}, timeout=10).status_code == 401
