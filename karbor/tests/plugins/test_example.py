# SPDX-License-Identifier: Apache-2.0
"""The example of the plugin guide works: loaded from a provider file, and asked through the API."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import webob
from oslo_config import cfg

from karbor.api import app
from karbor.plugins.interface import Assignment, State
from karbor.plugins.project import Projects
from karbor.protection.protectables import Protectables
from karbor.protection.service import ProtectionService
from karbor.tests import fixtures
from karbor.tests.plugins import example

CONF = cfg.CONF
PROVIDER = '6659007d-6f66-4a0f-9cb4-17d6aded0bb9'
FILE = """\
[provider]
id = {id}
name = Notes
plugin = karbor.tests.plugins.example.NotesProtection
bank = karbor-fs-bank-plugin
enabled = true

[notes_plugin]
copies_path = {folder}/copies

[file_system_bank_plugin]
file_system_bank_path = {folder}/bank
"""


@pytest.fixture
def service() -> Iterator[fixtures.Service]:
    """Karbor with the example, and a project with one note in it."""
    with fixtures.configured(auth_strategy='noauth') as (config, folder):
        (folder / 'providers.d').mkdir()
        (folder / 'providers.d' / 'notes.conf').write_text(FILE.format(id=PROVIDER, folder=folder))
        notes = folder / 'notes' / fixtures.PROJECT
        notes.mkdir(parents=True)
        (notes / 'shopping').write_text('bread')
        protection = ProtectionService(Protectables([Projects(), example.Notes()]))
        protection.start()
        try:
            headers = {'X-Auth-Token': f'user:{fixtures.PROJECT}'}
            yield fixtures.Service(app.load_app(CONF), folder, config, protection, headers)
        finally:
            protection.stop()


def protected(service: fixtures.Service) -> str:
    """The id of a checkpoint of the whole project."""
    resources = [{'id': fixtures.PROJECT, 'type': 'OS::Keystone::Project', 'name': 'project'}]
    body = fixtures.plan_body(provider_id=PROVIDER, resources=resources)
    plan = service.post('/plans', body).json['plan']['id']
    url = f'/providers/{PROVIDER}/checkpoints'
    checkpoint = service.post(url, {'checkpoint': {'plan_id': plan}}).json['checkpoint']['id']
    service.settle()
    return checkpoint


def test_note_is_as_it_was_when_it_is_restored(service: fixtures.Service) -> None:
    checkpoint = protected(service)
    url = f'/providers/{PROVIDER}/checkpoints/{checkpoint}'
    assert service.get(url).json['checkpoint']['status'] == 'available'
    note = example.folder_of(fixtures.PROJECT) / 'shopping'
    note.write_text('nothing')

    wanted = {
        'provider_id': PROVIDER,
        'checkpoint_id': checkpoint,
        'parameters': {example.TYPE: {'restore_name': 'back'}},
    }
    restore = service.post('/restores', {'restore': wanted}).json['restore']['id']
    service.settle()
    found = service.get(f'/restores/{restore}').json['restore']
    assert (found['status'], found['status_details']) == ('success', None)
    assert found['resources_status'] == {f'{example.TYPE}#back': 'available'}
    assert (note.with_name('back').read_text(), note.read_text()) == ('bread', 'nothing')

    assert service.request('DELETE', url).status_code == 200
    service.settle()
    assert service.get(url).json['checkpoint']['status'] == 'deleted'
    assert not list((service.folder / 'copies').iterdir())


def test_reason_names_the_note_when_it_is_gone(service: fixtures.Service) -> None:
    resources = [{'id': 'lost', 'type': example.TYPE, 'name': 'lost'}]
    plan = service.post('/plans', fixtures.plan_body(provider_id=PROVIDER, resources=resources)).json['plan']['id']
    url = f'/providers/{PROVIDER}/checkpoints'
    checkpoint = service.post(url, {'checkpoint': {'plan_id': plan}}).json['checkpoint']['id']
    service.settle()
    found = service.get(f'{url}/{checkpoint}').json['checkpoint']
    assert found['status'] == 'error'
    assert found['status_details'] == f'{example.TYPE} lost: not_found: note lost does not exist (notes)'


def copied(service: fixtures.Service, checkpoint: str, **more: object) -> webob.Response:
    """What the API says to a copy of the plan of the checkpoint."""
    shown = service.get(f'/providers/{PROVIDER}/checkpoints/{checkpoint}').json['checkpoint']
    body = {'copy': {'plan_id': shown['protection_plan']['id'], **more}}
    return service.post(f'/providers/{PROVIDER}/checkpoints/action', body)


def test_note_comes_back_from_the_copy_of_a_checkpoint_that_is_gone(service: fixtures.Service) -> None:
    checkpoint = protected(service)
    reply = copied(service, checkpoint)
    assert reply.status_code == 200
    told = reply.json['copy']
    (pair,) = told.pop('checkpoint_id')
    assert pair['checkpoint_protect_id'] == checkpoint
    plan = service.get('/plans').json['plans'][0]['id']
    assert told == {'project_id': fixtures.PROJECT, 'provider_id': PROVIDER, 'plan_id': plan, 'parameters': {}}
    service.settle()
    url = f'/providers/{PROVIDER}/checkpoints'
    copy = service.get(f'{url}/{pair["checkpoint_copy_id"]}').json['checkpoint']
    assert (copy['status'], copy['resource_graph']) == ('available', shown_graph(service, checkpoint))
    assert orjson.loads(copy['extra_info']) == {
        'created_by': 'manual',
        'copied_from': checkpoint,
        'copy_status': 'finished',
    }
    assert {resource['id']: resource['status'] for resource in copy['resources']}['shopping'] == 'active'
    logs = service.get('/operation_logs?operation_type=copy').json['operation_logs']
    assert [(log['checkpoint_id'], log['status']) for log in logs] == [(copy['id'], 'available')]

    assert service.request('DELETE', f'{url}/{checkpoint}').status_code == 200
    service.settle()
    assert len(list((service.folder / 'copies').iterdir())) == 1
    wanted = {'provider_id': PROVIDER, 'checkpoint_id': copy['id']}
    verification = service.post('/verifications', {'verification': wanted}).json['verification']['id']
    restore = service.post('/restores', {'restore': wanted | {'parameters': {example.TYPE: {'restore_name': 'back'}}}})
    service.settle()
    assert service.get(f'/verifications/{verification}').json['verification']['status'] == 'success'
    assert service.get(f'/restores/{restore.json["restore"]["id"]}').json['restore']['status'] == 'success'
    assert (example.folder_of(fixtures.PROJECT) / 'back').read_text() == 'bread'


def shown_graph(service: fixtures.Service, checkpoint: str) -> str:
    return service.get(f'/providers/{PROVIDER}/checkpoints/{checkpoint}').json['checkpoint']['resource_graph']


def test_what_has_a_copy_is_passed_over(service: fixtures.Service) -> None:
    checkpoint = protected(service)
    assert len(copied(service, checkpoint).json['copy']['checkpoint_id']) == 1
    service.settle()
    reply = copied(service, checkpoint)
    assert (reply.status_code, reply.json['copy']['checkpoint_id']) == (200, [])
    assert service.rows()['checkpoint_records'] == 2


def test_copy_goes_on_in_another_service(service: fixtures.Service, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = protected(service)
    first, held = service.protection, threading.Event()
    poll = example.CopyAgain.poll

    def slow(self: example.CopyAgain, work: Assignment, handle: dict[str, Any]) -> State:
        return poll(self, work, handle) if held.is_set() else State('copying')

    monkeypatch.setattr(example.CopyAgain, 'poll', slow)
    (pair,) = copied(service, checkpoint).json['copy']['checkpoint_id']
    url = f'/providers/{PROVIDER}/checkpoints'
    end = time.monotonic() + 10
    while len(list((service.folder / 'copies').iterdir())) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    for blocked in (
        service.request('DELETE', f'{url}/{checkpoint}'),
        service.request('PUT', f'{url}/{checkpoint}', {'os-resetState': {'state': 'error'}}),
        copied(service, checkpoint),
    ):
        assert blocked.status_code == 409
        assert 'in use by copy operation' in blocked.json['conflictingRequest']['message']
    first.stop()
    held.set()
    second = ProtectionService(Protectables([Projects(), example.Notes()]))
    second.start()
    try:
        assert second.conductor.wait_idle(20)
        found = service.get(f'{url}/{pair["checkpoint_copy_id"]}').json['checkpoint']
        assert found['status'] == 'available', found
        assert len(list((service.folder / 'copies').iterdir())) == 2
    finally:
        second.stop()


def test_a_verification_names_the_copy_that_is_gone(service: fixtures.Service) -> None:
    checkpoint = protected(service)
    (copy,) = (service.folder / 'copies').iterdir()
    copy.unlink()
    wanted = {'provider_id': PROVIDER, 'checkpoint_id': checkpoint}
    made = service.post('/verifications', {'verification': wanted}).json['verification']['id']
    service.settle()
    found = service.get(f'/verifications/{made}').json['verification']
    assert (found['status'], found['resources_status']) == ('fail', {f'{example.TYPE}#shopping': 'error'})
    assert f'copy {copy.name} does not exist any more' in found['resources_reason'][f'{example.TYPE}#shopping']
