# SPDX-License-Identifier: Apache-2.0
"""The example of the plugin guide works: loaded from a provider file, and asked through the API."""

from collections.abc import Iterator

import pytest
from oslo_config import cfg

from karbor.api import app
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
