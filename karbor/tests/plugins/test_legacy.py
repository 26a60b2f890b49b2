# SPDX-License-Identifier: Apache-2.0
"""Plugins written for Karbor 1.6, in a distribution of their own, run in today's engine."""

import importlib
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest
from oslo_config import cfg
from oslo_db import exception as db_exception
from stevedore import extension

from karbor import exception
from karbor.clients import Cloud
from karbor.context import RequestContext
from karbor.db import migration, models, repository
from karbor.objects.restore import Restore
from karbor.plugins.interface import Resource
from karbor.protection import run
from karbor.protection.protectables import Protectables
from karbor.protection.provider import Providers
from karbor.tests.databases import connected
from karbor.tests.unit.protection.service import Service

CONF = cfg.CONF
PACKAGE = Path(__file__).parent / 'legacy_package'
VAULT, CARTRIDGE = 'Acme::Tape::Vault', 'Acme::Tape::Cartridge'
FIRST, SECOND = str(uuid.uuid4()), str(uuid.uuid4())
FILE = """\
[provider]
id = {id}
name = {name}
{plugins}
bank = {bank}
enabled = true

[tape_plugin]
folder = {folder}/{name}
poll_interval = 0.02
"""


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """The distribution, installed as a vendor's would be: apart from Karbor, without a network."""
    target = tmp_path_factory.mktemp('site')
    options = ['--no-deps', '--no-build-isolation', '--no-index', '--disable-pip-version-check', '--quiet']
    command = [sys.executable, '-m', 'pip', 'install', *options, '--target', str(target), str(PACKAGE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sys.path.insert(0, str(target))
    importlib.invalidate_caches()
    extension.ExtensionManager.ENTRY_POINT_CACHE.clear()  # as when the service is started
    yield target
    extension.ExtensionManager.ENTRY_POINT_CACHE.clear()
    sys.path.remove(str(target))
    for name in [name for name in sys.modules if name.partition('.')[0] == 'acme_tape']:
        del sys.modules[name]


class LegacyService(Service):
    """A protection service with the plugins that provider files name."""

    def __init__(self):
        self.providers = Providers.load()
        self.provider = self.providers[FIRST]
        self.protectables = Protectables()
        self.context = RequestContext(project_id='project', user_id='user', roles=['member'], auth_token='token')
        self.conductor = self.worker()
        self.conductor.start()


@pytest.fixture(scope='module')
def empty_database(tmp_path_factory):
    """A database with all tables, to be copied: making them takes longer than most of these tests."""
    path = tmp_path_factory.mktemp('database') / 'empty.sqlite'
    with connected(f'sqlite:///{path}'):
        migration.sync()
    return path


@pytest.fixture
def database(empty_database, tmp_path):
    shutil.copy(empty_database, tmp_path / 'karbor.sqlite')
    with connected(f'sqlite:///{tmp_path}/karbor.sqlite'):
        yield


@pytest.fixture
def folder(installed, database, tmp_path):
    """The provider files, and the folder that the tape libraries are in."""
    (tmp_path / 'providers.d').mkdir()
    for id, name, bank in ((FIRST, 'first', 'karbor-memory-bank-plugin'), (SECOND, 'second', 'acme-bank-plugin')):
        plugins = '\n'.join(f'plugin = acme-{kind}-plugin' for kind in ('vault', 'cartridge'))
        text = FILE.format(id=id, name=name, plugins=plugins, bank=bank, folder=tmp_path)
        (tmp_path / 'providers.d' / f'{name}.conf').write_text(text)
    options = {'provider_config_dir': str(tmp_path / 'providers.d')}
    engine = {'poll_first': 0.01, 'claim_interval': 0.05, 'cleanup_timeout': 5}
    for name, value in options.items():
        CONF.set_override(name, value)
    for name, value in engine.items():
        CONF.set_override(name, value, 'protection')
    yield tmp_path / 'first'
    for name in options:
        CONF.clear_override(name)
    for name in (*engine, 'resume_unsafe', 'resource_timeout', 'lease_seconds'):
        CONF.clear_override(name, 'protection')


@pytest.fixture
def service(folder, monkeypatch):
    monkeypatch.setattr('karbor.protection.conductor.AGAIN_SECONDS', 0.05)
    monkeypatch.setattr('karbor.tests.unit.protection.service.PROVIDER', FIRST)
    made = LegacyService()
    yield made
    made.conductor.stop(5)


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it did not happen in time'
        time.sleep(0.01)


def rows(operation_id):
    found = repository.find(models.OperationResource, filters={'operation_id': operation_id})
    return {row.resource_id: row for row in found}


def calls(folder):
    return (folder / 'calls').read_text().splitlines() if (folder / 'calls').exists() else []


def operation(id):
    return repository.get(models.OperationLog, id)


def state(checkpoint_id):
    return repository.get(models.CheckpointRecord, checkpoint_id).checkpoint_status


# --- loading


def test_provider_files_name_plugins_of_another_distribution(service):
    assert set(service.providers) == {FIRST, SECOND}
    for provider in service.providers.values():
        assert provider.unavailable == {}
        assert set(provider.protections) == {VAULT, CARTRIDGE}
    shown = service.provider.published()
    assert shown['extended_info_schema']['options_schema'][CARTRIDGE]['properties']['label']['type'] == 'string'
    assert shown['extended_info_schema']['verify_schema'][CARTRIDGE] == {}  # it has none
    assert service.provider.protections[VAULT].verify is None


def test_protectables_are_found_and_their_faults_are_told(service):
    cloud = Cloud(lambda: None, 'project', 'user')
    assert set(service.protectables.types()) >= {VAULT, CARTRIDGE}
    assert service.protectables.dependent_types(VAULT) == [CARTRIDGE]
    assert [r.name for r in service.protectables.list(cloud, VAULT)] == ['vault of project']
    assert service.protectables.show(cloud, VAULT, 'vault2') == Resource(VAULT, 'vault2', '')
    assert [r.id for r in service.protectables.children(cloud, Resource(VAULT, 'v', ''))] == ['v-a', 'v-b']
    assert service.protectables.children(cloud, Resource(VAULT, 'empty', '')) == []
    with pytest.raises(exception.ProtectableNotFound, match=f'{VAULT} lost'):
        service.protectables.show(cloud, VAULT, 'lost')
    with pytest.raises(exception.ProtectableInvalidStatus, match='is OPEN'):
        service.protectables.show(cloud, VAULT, 'open')
    with pytest.raises(exception.ProtectableNotFound):
        service.protectables.show(cloud, CARTRIDGE, 'any')  # it answered None
    with pytest.raises(exception.ProtectableListFailed) as told:
        service.protectables.list(cloud, CARTRIDGE)
    assert 'see <address> for why' in told.value.text and '10.0.0.1' not in told.value.text


# --- operations


def test_vault_and_cartridges_are_protected_restored_and_deleted(service, folder):
    parameters = {CARTRIDGE: {'label': 'blue'}}
    checkpoint_id, operation_id = service.protect((VAULT, 'vault1'), parameters=parameters)
    assert state(checkpoint_id) == 'available'
    assert {r.status for r in rows(operation_id).values()} == {'active'}
    assert {r.handle for r in rows(operation_id).values()} == {None}
    assert {r.hooks for r in rows(operation_id).values()} == {15}
    bank = service.provider.bank
    noted = f'/checkpoints/{checkpoint_id}/resource-data/vault1-a'
    assert bank.get_json(f'{noted}/metadata') == {'copy': 'vault1-a-copy1', 'label': 'blue'}
    assert bank.get_text(f'{noted}/status') == 'available'
    job = {'tape_job': 7, 'copy': 'vault1-a-copy1'}
    assert operation(operation_id).extra_info[f'{CARTRIDGE}#vault1-a'] == job
    assert set(operation(operation_id).extra_info) == {f'{CARTRIDGE}#vault1-a', f'{CARTRIDGE}#vault1-b'}

    restore_id, restoring = service.restore(checkpoint_id)
    assert Restore.get(restore_id).status == 'success'
    found = rows(restoring)
    new = 'restored-vault1-a-copy1-copy1'
    assert (found['vault1-a'].new_id, found['vault1-a'].status) == (new, 'active')
    assert found['vault1'].new_id == f'vault of {new},restored-vault1-b-copy1-copy1-copy1'
    assert found['vault1-b'].status_details == 'checked by the vault'  # it was told of by its new id
    assert {r.status for r in found.values()} == {'active'}

    deleting = service.delete(checkpoint_id)
    assert state(checkpoint_id) == 'deleted'
    assert {r.status for r in rows(deleting).values()} == {'active'}  # the vault's, too, which has nothing to do
    assert list(bank.list('/')) == []
    assert not (folder / 'vault1-a-copy1').exists()


def test_hooks_come_in_the_order_of_the_contract(service, folder):
    service.protect((VAULT, 'vault1'))
    made = [line.split()[2:] for line in calls(folder) if 'after_main' not in line]
    place = {tuple(call): number for number, call in enumerate(made)}
    assert set(Counter(map(tuple, made)).values()) == {1} and len(made) == 12
    for child in ('vault1-a', 'vault1-b'):
        assert place['on_prepare_begin', 'vault1'] < place['on_prepare_begin', child]
        assert place['on_prepare_begin', child] < place['on_prepare_finish', child]
        assert place['on_prepare_finish', child] < place['on_prepare_finish', 'vault1']
        assert place['on_prepare_finish', child] < place['on_main', child] < place['on_complete', child]
        assert place['on_complete', child] < place['on_complete', 'vault1']


def test_a_hook_that_the_operation_does_not_have_is_not_called(service, folder):
    checkpoint_id, _ = service.protect((VAULT, 'vault1'))
    _, restoring = service.restore(checkpoint_id)
    assert {row.resource_id: row.hooks for row in rows(restoring).values()} == {
        'vault1': 8,
        'vault1-a': 12,
        'vault1-b': 12,
    }
    made = [line for line in calls(folder) if ' restore ' in line]
    assert sorted(made) == [
        *(f'cartridge restore {hook} vault1-{letter}' for hook in ('on_complete', 'on_main') for letter in 'ab'),
        'vault restore on_complete vault1',
    ]


def test_a_resource_is_active_only_after_its_last_hook(service, folder):
    checkpoint_id, _ = service.protect((CARTRIDGE, 'a'))
    folder.joinpath('hold-restored-a-copy1-copy1').touch()
    restore, restoring = Restore.new(provider_id=FIRST, checkpoint_id=checkpoint_id), str(uuid.uuid4())
    service.manager().restore(service.context, restore, restoring)
    until(lambda: rows(restoring) and rows(restoring)['a'].new_id)
    row = rows(restoring)['a']
    assert (row.status, row.new_id, row.handle['hook']) == ('build', 'restored-a-copy1-copy1', 'on_main')
    folder.joinpath('hold-restored-a-copy1-copy1').unlink()
    assert service.conductor.wait_idle(20)
    assert (rows(restoring)['a'].status, rows(restoring)['a'].status_details) == ('active', None)


def test_a_report_of_success_does_not_end_the_resource(service, folder, monkeypatch):
    seen = []
    plugin = service.provider.protections[CARTRIDGE].made
    restore = plugin.get_restore_operation

    def reporting(self, resource):
        made = restore(self, resource)

        def on_prepare_begin(checkpoint, resource, context, parameters, **kwargs):
            kwargs['restore'].update_resource_status(CARTRIDGE, resource.id, 'AVAILABLE', 'so it says')
            until(lambda: rows(kwargs['operation_log'].id)[resource.id].status_details == 'so it says')
            seen.append(rows(kwargs['operation_log'].id)[resource.id].status)

        made.on_prepare_begin = on_prepare_begin
        return made

    monkeypatch.setattr(plugin, 'get_restore_operation', reporting)
    checkpoint_id, _ = service.protect((CARTRIDGE, 'a'))
    _, restoring = service.restore(checkpoint_id)
    assert (seen, rows(restoring)['a'].status, rows(restoring)['a'].hooks) == (['build'], 'active', 13)


def test_raw_words_of_a_cloud_are_shown_in_the_right_row(service, folder):
    checkpoint_id, _ = service.protect((CARTRIDGE, 'a'), (CARTRIDGE, 'b'))
    folder.joinpath('jam-restored-b-copy1-copy1').touch()
    restore_id, restoring = service.restore(checkpoint_id)
    found = rows(restoring)
    assert Restore.get(restore_id).status == 'fail'
    assert (found['a'].status, found['b'].status) == ('active', 'error')
    assert found['b'].new_id == 'restored-b-copy1-copy1'
    assert 'Restore Tape failed: jammed' in found['b'].status_details
    assert operation(restoring).error_info.endswith(f'may be left: what was made for {CARTRIDGE} b')


def test_a_failed_protect_tells_the_plugins_reason_and_what_it_left(service, folder):
    (folder / 'jam-a-copy1').parent.mkdir(exist_ok=True)
    (folder / 'jam-a-copy1').touch()
    checkpoint_id, operation_id = service.protect((CARTRIDGE, 'a'))
    assert state(checkpoint_id) == 'error'
    log = operation(operation_id)
    assert 'Create Tape failed: the tape is jammed' in log.error_info
    assert log.error_info.endswith(f'may be left: what was made for {CARTRIDGE} a')
    assert service.provider.bank.get_text(f'/checkpoints/{checkpoint_id}/resource-data/a/status') == 'error'


def test_verify_reports_words_and_an_error_without_exception_counts(service, folder):
    checkpoint_id, _ = service.protect((CARTRIDGE, 'a'), (CARTRIDGE, 'b'))
    assert operation(service.verify(checkpoint_id)[1]).status == 'success'
    (folder / 'b-copy1').unlink()
    verifying = service.verify(checkpoint_id)[1]
    found = rows(verifying)
    assert (found['a'].status, found['b'].status) == ('active', 'error')
    assert 'the copy is not-found' in found['b'].status_details
    assert (operation(verifying).status, 'may be left' in operation(verifying).error_info) == ('fail', False)


def test_a_copy_is_made_by_the_copy_operation(service, folder):
    source, _ = service.protect((CARTRIDGE, 'a'), parameters={CARTRIDGE: {'label': 'first'}})
    ((copy, copying),) = service.copy(source, parameters={CARTRIDGE: {'label': 'second'}})
    assert (state(copy), operation(copying).status, operation(copying).error_info) == ('available', 'available', None)
    noted = {id: service.provider.bank.get_json(f'/checkpoints/{id}/resource-data/a/metadata') for id in (source, copy)}
    assert [noted[id]['label'] for id in (source, copy)] == ['first', 'second']
    assert noted[source]['copy'] != noted[copy]['copy']
    service.delete(source)
    assert operation(service.verify(copy)[1]).status == 'success'


def test_what_a_failed_copy_has_made_is_told(service, folder):
    source, _ = service.protect((CARTRIDGE, 'a'))
    (folder / 'jam-again-a-copy1-copy1').touch()
    ((copy, copying),) = service.copy(source)
    assert (state(copy), state(source)) == ('error', 'available')
    assert 'the tape is jammed' in operation(copying).error_info
    assert operation(copying).error_info.endswith(f'may be left: what was made for {CARTRIDGE} a')


def test_a_missing_getter_is_told_clearly(service, folder):
    checkpoint_id, _ = service.protect((VAULT, 'vault1'))
    verifying = service.verify(checkpoint_id)[1]
    assert operation(verifying).status == 'fail'
    assert operation(verifying).error_info.startswith(f'unsupported: no loaded plugin can verify {VAULT} vault1')


def test_a_getter_that_is_not_implemented_for_a_resource_fails_that_resource(service, folder, monkeypatch):
    checkpoint_id, _ = service.protect((CARTRIDGE, 'a'), (CARTRIDGE, 'b'))
    plugin = service.provider.protections[CARTRIDGE].made
    getter = plugin.get_restore_operation

    def refusing(self, resource):
        if resource.id == 'a':
            raise NotImplementedError
        return getter(self, resource)

    monkeypatch.setattr(plugin, 'get_restore_operation', refusing)
    _, restoring = service.restore(checkpoint_id)
    found = rows(restoring)
    assert (found['a'].status, found['b'].status) == ('error', 'active')
    assert 'does not implement get_restore_operation' in found['a'].status_details


# --- interruptions


def held(service, folder, *ids):
    """A protect whose `on_main` waits for each of the resources; (checkpoint, operation)."""
    folder.mkdir(exist_ok=True)
    for id in ids:
        (folder / f'hold-{id}-copy1').touch()
    checkpoint_id, operation_id = service.protect(*((CARTRIDGE, id) for id in (*ids, 'free')), wait=False)
    until(lambda: all(f'cartridge protect on_main {id}' in calls(folder) for id in (*ids, 'free')))
    until(lambda: rows(operation_id)['free'].hooks == 7)
    return checkpoint_id, operation_id


def release(folder, *ids):
    for id in ids:
        (folder / f'hold-{id}-copy1').unlink()


def test_a_takeover_fails_what_was_begun_and_says_why(service, folder):
    checkpoint_id, operation_id = held(service, folder, 'a')
    free = rows(operation_id)['free']  # three of its four hooks are done
    assert (free.status, free.hooks, free.handle, free.progress, free.ended_at) == ('build', 7, None, None, None)
    service.conductor.stop(10)
    assert state(checkpoint_id) == 'protecting'
    assert rows(operation_id)['a'].handle == {'hook': 'on_main', 'begun': 1}
    release(folder, 'a')
    service.replace_worker()
    assert service.conductor.wait_idle(20)
    assert state(checkpoint_id) == 'error'
    details = rows(operation_id)['a'].status_details
    assert details.startswith('interrupted: on_main was begun') and 'resume_unsafe = fail' in details
    assert calls(folder).count('cartridge protect on_main a') == 1


def test_a_takeover_fails_nothing_but_what_was_begun(service, folder):
    checkpoint_id, _ = service.protect((CARTRIDGE, 'a'), (CARTRIDGE, 'b'))
    folder.joinpath('hold-restored-a-copy1-copy1').touch()
    restore, restoring = Restore.new(provider_id=FIRST, checkpoint_id=checkpoint_id), str(uuid.uuid4())
    service.manager().restore(service.context, restore, restoring)
    until(lambda: rows(restoring) and rows(restoring)['a'].new_id and rows(restoring)['b'].hooks == 4)
    service.replace_worker()
    assert service.conductor.wait_idle(20)
    found = rows(restoring)
    assert (found['a'].status, found['b'].status) == ('error', 'active')
    assert found['a'].new_id == 'restored-a-copy1-copy1'
    assert Restore.get(restore.id).status == 'fail'
    made = Counter(line for line in calls(folder) if ' restore ' in line)
    assert made['cartridge restore on_main b'] == made['cartridge restore on_complete b'] == 1


def test_a_takeover_runs_the_hook_again_where_that_is_wanted(service, folder):
    CONF.set_override('resume_unsafe', 'rerun', 'protection')
    checkpoint_id, operation_id = held(service, folder, 'a')
    service.conductor.stop(10)
    service.replace_worker()
    until(lambda: 'run again' in (rows(operation_id)['a'].status_details or ''))
    assert 'resume_unsafe = rerun' in rows(operation_id)['a'].status_details
    release(folder, 'a')
    assert service.conductor.wait_idle(20)
    assert state(checkpoint_id) == 'available'
    made = Counter(calls(folder))
    assert made['cartridge protect on_main a'] == 2
    # What was done is not done again, and what the hook before has kept is there.
    assert made['cartridge protect on_prepare_finish a'] == made['cartridge protect on_main free'] == 1
    extra = operation(operation_id).extra_info[f'{CARTRIDGE}#a']
    assert extra == {'tape_job': 7, 'copy': 'a-copy1', 'run_again': ['on_main']}


def test_new_resources_survive_a_takeover(service, folder):
    CONF.set_override('resume_unsafe', 'rerun', 'protection')
    checkpoint_id, _ = service.protect((VAULT, 'vault1'))
    folder.joinpath('hold-restored-vault1-a-copy1-copy1').touch()
    restore, restoring = Restore.new(provider_id=FIRST, checkpoint_id=checkpoint_id), str(uuid.uuid4())
    service.manager().restore(service.context, restore, restoring)
    until(lambda: rows(restoring) and rows(restoring)['vault1-a'].new_id and rows(restoring)['vault1-b'].hooks == 4)
    service.conductor.stop(10)
    kept = rows(restoring)['vault1-b'].new_id
    folder.joinpath('hold-restored-vault1-a-copy1-copy1').unlink()
    service.replace_worker()
    assert service.conductor.wait_idle(20)
    assert Restore.get(restore.id).status == 'success'
    found = rows(restoring)
    assert found['vault1-b'].new_id == kept
    # The vault was restored by the second service, from the ids of both.
    assert found['vault1'].new_id.startswith(f'vault of {found["vault1-a"].new_id},{kept}-')


def test_a_hook_ends_when_another_service_has_taken_over(service, folder):
    """The worker loses its heartbeat in the middle of a hook: it ends it, and neither rows nor bank hear of it."""
    CONF.set_override('lease_seconds', 2.0, 'protection')
    service.replace_worker()
    checkpoint_id, operation_id = held(service, folder, 'a')
    assert rows(operation_id)['a'].handle == {'hook': 'on_main', 'begun': 1}  # written before the hook is called
    service.conductor._jobboard.leases.stop()
    other = service.worker()
    other.start()
    try:
        until(lambda: operation(operation_id).ended_at is not None)
        details = rows(operation_id)['a'].status_details
        assert details.startswith('interrupted: on_main was begun')
        until(lambda: 'cartridge protect after_main a' in calls(folder))
        until(lambda: not service.conductor._dispatched, 8)  # its slot is free again: TaskFlow could take the fault
        assert rows(operation_id)['a'].status_details == details
        assert operation(operation_id).epoch > 1 and state(checkpoint_id) == 'error'
        bank, section = service.provider.bank, f'/checkpoints/{checkpoint_id}/resource-data'
        assert bank.get_text(f'{section}/a/status') == 'protecting'
        assert (bank.exists(f'{section}/free/ended'), bank.exists(f'{section}/a/ended')) == (True, False)
    finally:
        other.stop(5)


def test_a_database_that_is_away_before_a_hook_fails_nothing(service, folder, monkeypatch):
    write, failures = run.Run._write_handle, [1] * 3

    def failing(self, position, handle):
        if failures and handle['hook'] == 'on_main':
            failures.pop()
            raise db_exception.DBConnectionError('gone')
        write(self, position, handle)

    monkeypatch.setattr(run.Run, '_write_handle', failing)
    checkpoint_id, operation_id = service.protect((CARTRIDGE, 'a'), (CARTRIDGE, 'b'))
    assert failures == []
    assert (state(checkpoint_id), operation(operation_id).epoch > 1) == ('available', True)
    assert set(Counter(calls(folder)).values()) == {1}


def test_a_hook_ends_when_the_operation_has_failed(service, folder):
    folder.mkdir(exist_ok=True)
    (folder / 'hold-a-copy1').touch()
    (folder / 'jam-b-copy1').touch()
    checkpoint_id, operation_id = service.protect((CARTRIDGE, 'a'), (CARTRIDGE, 'b'))
    assert state(checkpoint_id) == 'error'
    assert 'stopped: the operation failed' in rows(operation_id)['a'].status_details
    assert operation(operation_id).error_info.startswith(f'{CARTRIDGE} b: failed: ')


def test_a_poll_ends_with_the_time_that_a_resource_has(service, folder):
    CONF.set_override('resource_timeout', 1, 'protection')
    folder.mkdir(exist_ok=True)
    (folder / 'hold-a-copy1').touch()
    checkpoint_id, operation_id = service.protect((CARTRIDGE, 'a'))
    assert state(checkpoint_id) == 'error'
    assert 'too_slow' in rows(operation_id)['a'].status_details
    assert 'cartridge protect after_main a' in calls(folder)


# --- banks


def test_a_checkpoint_is_kept_in_a_bank_of_old(service, folder):
    service.provider.bank = service.providers[SECOND].bank
    checkpoint_id, _ = service.protect((VAULT, 'vault1'))
    assert state(checkpoint_id) == 'available'
    _, restoring = service.restore(checkpoint_id)
    assert {r.status for r in rows(restoring).values()} == {'active'}
    service.delete(checkpoint_id)
    assert state(checkpoint_id) == 'deleted'
    assert list(service.provider.bank.list('/')) == []


def test_a_bank_of_old_keeps_what_it_is_given(service):
    bank = service.providers[SECOND].bank
    names = [f'/some/name{n}' for n in range(10)]
    for name in names:
        bank.put_text(name, name)
    bank.put('/some/data', b'\xff\x00')
    assert (bank.get('/some/data'), bank.get_text(names[0])) == (b'\xff\x00', names[0])
    assert bank.list('/some/n') == names
    assert bank.list('/some/n', reverse=True, limit=2) == names[:-3:-1]
    assert bank.list('/some/n', marker=names[7]) == names[8:]
    with pytest.raises(exception.BankObjectNotFound):
        bank.get('/some/other')
    bank.delete('/some/other')
    bank._plugin.is_away = True
    with pytest.raises(exception.BankUnavailable):
        bank.get(names[0])
    with pytest.raises(exception.BankUnavailable):
        bank.put_text(names[0], 'x')
    bank._plugin.is_away = False
    for name in bank.list('/'):
        bank.delete(name)
    assert bank.list('/') == []
