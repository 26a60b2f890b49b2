# SPDX-License-Identifier: Apache-2.0
"""Provider files, what is loaded from them and published, and the registry of protectables."""

import os
import uuid

import pytest
from oslo_config import cfg
from oslo_db import exception as db_exception

from karbor import exception
from karbor.db import engine, models, repository
from karbor.plugins.banks.file_system import FileSystemBank
from karbor.plugins.banks.memory import MemoryBank
from karbor.plugins.interface import Protectable, Protection, Resource
from karbor.plugins.noop import Noop
from karbor.plugins.share import ManilaSnapshot
from karbor.protection import provider as providers
from karbor.protection.protectables import Protectables

CONF = cfg.CONF
ID = 'b766f37c-d011-4026-8228-28730d734a3f'
SHARE = 'OS::Manila::Share'
HERE = 'karbor.tests.unit.test_provider'


class Opted(Protection):
    """A plugin with options, of a type of its own and one that another plugin has, too."""

    resource_types = ('Own', SHARE)
    OPTIONS = {'opted_plugin': [cfg.IntOpt('poll_interval', default=15)]}

    @classmethod
    def options_schema(cls, resource_type):
        return {'title': f'options of {resource_type}'}


class Raising(Protection):
    """A plugin that is broken when it is made."""

    resource_types = ('Broken',)

    def __init__(self, config):
        raise RuntimeError('no connection to http://inside.example/')


@pytest.fixture
def folder(database, tmp_path):
    """An empty folder of provider files that the configuration names."""
    made = tmp_path / 'providers.d'
    made.mkdir()
    CONF.set_override('provider_config_dir', str(made))
    CONF.set_override('host', 'here')
    yield made
    CONF.clear_override('provider_config_dir')
    CONF.clear_override('host')


@pytest.fixture
def write(folder):
    """Call it with the lines of `[provider]` to change; None takes one out, a list repeats it."""

    def written(file='one', rest='', **lines):
        told = {
            'id': ID,
            'name': 'a name',
            'description': 'what it is for',
            'plugin': ['karbor-share-protection-plugin'],
            'bank': 'karbor-memory-bank-plugin',
            'enabled': 'true',
        } | lines
        text = '[provider]\n'
        for key, values in told.items():
            for value in [values] if isinstance(values, str) else values or ():
                text += f'{key} = {value}\n'
        path = folder / f'{file}.conf'
        path.write_text(text + rest)
        return path

    return written


# --- files -------------------------------------------------------------------------------------------


def test_a_provider_is_what_its_file_says_when_it_is_enabled(write):
    path = write(plugin=['karbor-share-protection-plugin', 'karbor-noop-protection-plugin'])
    loaded = providers.load(path)
    assert (loaded.id, loaded.name, loaded.description) == (ID, 'a name', 'what it is for')
    assert isinstance(loaded.bank, MemoryBank)
    assert isinstance(loaded.protections[SHARE], ManilaSnapshot | Noop)
    assert set(loaded.protections) == {*ManilaSnapshot.resource_types, *Noop.resource_types}
    assert (loaded.unavailable, loaded.skip_unsupported) == ({}, False)


@pytest.mark.parametrize('enabled', ['false', None])
def test_a_provider_does_not_exist_when_it_is_not_enabled(write, enabled):
    assert providers.load(write(enabled=enabled)) is None
    assert providers.Providers.load() == {}


@pytest.mark.parametrize(
    'lines',
    [{'id': None}, {'id': ''}, {'bank': None}, {'bank': ''}, {'plugin': None}, {'plugin': ['']}, {'plugin': ['', '']}],
)
def test_a_file_is_left_out_and_the_others_loaded_when_it_lacks_something(write, lines):
    path = write('1-bad', **lines)
    write('2-good', id='good')
    with pytest.raises(exception.ConfigurationError, match='id, bank and at least one plugin are required'):
        providers.load(path)
    assert list(providers.Providers.load()) == ['good']


@pytest.mark.parametrize(
    'lines',
    [
        {'bank': 'karbor-no-such-bank-plugin'},
        {'bank': 'no.such.module.Bank'},
        {'bank': 'karbor.plugins.banks.memory.NoSuchBank'},
        {'bank': 'karbor-fs-bank-plugin'},  # without its folder
        {'enabled': 'perhaps'},
        {'skip_unsupported': 'perhaps'},
    ],
)
def test_a_file_is_left_out_and_the_others_loaded_when_its_bank_or_an_option_is_unusable(write, lines):
    write('1-bad', **lines)
    write('2-good', id='good')
    assert list(providers.Providers.load()) == ['good']


@pytest.mark.parametrize(
    'content', [b'no section', b'[provider', b'[provider]\nid', b'\xff\xfe\0', b'', b'[other]\nid = x\n']
)
def test_a_file_is_left_out_and_the_others_loaded_when_it_is_broken(write, folder, content):
    (folder / '1-bad.conf').write_bytes(content)
    write('2-good', id='good')
    assert list(providers.Providers.load()) == ['good']


def test_a_file_is_left_out_and_the_others_loaded_when_it_is_not_there(write, folder):
    (folder / '1-bad.conf').symlink_to(folder / 'none')
    (folder / '2-bad.conf').mkdir()
    write('3-good', id='good')
    assert list(providers.Providers.load()) == ['good']


def test_only_conf_files_are_providers_when_others_lie_beside(write, folder):
    os.rename(write('one'), folder / 'one.conf.bak')
    assert providers.Providers.load() == {}


# --- plugins -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('karbor-no-such-plugin', 'NoMatches'),
        ('no.such.module.Plugin', 'ModuleNotFoundError'),
        (f'{HERE}.NoSuchClass', 'ImportError'),
        (f'{HERE}:Raising', 'RuntimeError'),
    ],
)
def test_a_provider_stays_up_and_tells_why_when_a_plugin_cannot_be_loaded(write, name, reason):
    write(plugin=[name, 'karbor-share-protection-plugin'])
    loaded = providers.Providers.load()[ID]
    assert loaded.unavailable == {name: f'the plugin cannot be loaded ({reason})'}
    assert set(loaded.protections) == set(ManilaSnapshot.resource_types)
    assert 'inside.example' not in str(loaded.published())


@pytest.mark.parametrize('name', ['karbor-no-such-plugin', 'no.such.module.Plugin', f'{HERE}.NoSuchClass'])
def test_a_missing_plugin_is_one_line_of_the_log_and_a_broken_one_has_its_traceback(write, name, caplog):
    write(plugin=[name])
    providers.Providers.load()
    (missing,) = [record for record in caplog.records if not record.name.startswith('stevedore')]  # it is quiet
    assert missing.getMessage().startswith(f'The plugin {name} of provider {ID} cannot be loaded: ')
    assert not missing.exc_info
    write(plugin=[f'{HERE}:Raising'])
    providers.Providers.load()
    assert caplog.records[-1].exc_info


def test_a_provider_stays_up_when_none_of_its_plugins_can_be_loaded(write):
    write(plugin=['karbor-no-such-plugin'])
    loaded = providers.Providers.load()[ID]
    assert loaded.protections == {}
    assert list(loaded.unavailable) == ['karbor-no-such-plugin']


def test_the_later_plugin_wins_when_two_have_a_type(write):
    ours = f'{HERE}.Opted'
    first = providers.load(write('1', plugin=[ours, 'karbor-share-protection-plugin']))
    assert isinstance(first.protections[SHARE], ManilaSnapshot)
    assert type(first.protections['Own']).__name__ == 'Opted'
    second = providers.load(write('2', plugin=['karbor-share-protection-plugin', ours]))
    assert type(second.protections[SHARE]).__name__ == 'Opted'


def test_options_of_plugin_and_bank_come_from_the_file_when_it_has_them(write, tmp_path):
    rest = f'[file_system_bank_plugin]\nfile_system_bank_path = {tmp_path}/bank\n[opted_plugin]\npoll_interval = 3\n'
    write('1', rest, plugin=[f'{HERE}.Opted'], bank='karbor-fs-bank-plugin')
    write('2', id='other', plugin=[f'{HERE}.Opted'])
    loaded = providers.Providers.load()
    assert isinstance(loaded[ID].bank, FileSystemBank)
    assert loaded[ID].bank.root == tmp_path / 'bank/karbor'
    assert loaded[ID].protections['Own'].config.opted_plugin.poll_interval == 3
    assert loaded['other'].protections['Own'].config.opted_plugin.poll_interval == 15
    assert 'opted_plugin' not in CONF


# --- a bank that was used ----------------------------------------------------------------------------


@pytest.fixture
def shelf(write, tmp_path):
    """A provider with a bank in the folder `bank`, for as many workers as load it."""
    rest = f'[file_system_bank_plugin]\nfile_system_bank_path = {tmp_path}/bank\n'
    write('one', rest, bank='karbor-fs-bank-plugin')
    return rest


def remember(status, provider_id=ID, graph=False):
    """A checkpoint of the catalogue."""
    id = str(uuid.uuid4())
    known = {'checkpoint_id': id, 'provider_id': provider_id, 'project_id': 'p', 'plan_id': 'plan'}
    repository.create(models.CheckpointRecord(id=id, checkpoint_status=status, **known))
    if graph:
        repository.create(models.CheckpointGraph(checkpoint_id=id, graph='[]'))


def is_away(bank):
    try:
        bank.put('/checkpoints/c/index.json', b'{}')
    except exception.BankUnavailable:
        return True
    return False


@pytest.mark.parametrize('graph', [True, False])
def test_a_bank_with_checkpoints_is_away_for_every_worker_when_its_folder_is_not_there(shelf, write, tmp_path, graph):
    before, idle, reloaded = (providers.Providers.load() for _ in range(3))
    for used in (before, reloaded):
        assert not is_away(used[ID].bank)
    remember('deleted' if graph else 'available', graph=graph)
    (tmp_path / 'bank').rename(tmp_path / 'bank.away')
    write('one', shelf + '# a comment\n', bank='karbor-fs-bank-plugin')
    reloaded.reload()
    started = providers.Providers.load()
    for worker in (before, idle, reloaded, started):
        assert is_away(worker[ID].bank)
    assert not (tmp_path / 'bank').exists()
    (tmp_path / 'bank.away').rename(tmp_path / 'bank')
    for worker in (before, idle, reloaded, started):
        assert not is_away(worker[ID].bank)


def test_a_bank_is_new_when_nothing_has_ever_got_into_it(shelf, tmp_path):
    for status in ('protecting', 'error', 'deleted'):
        remember(status)
    remember('available', 'another provider')
    assert not is_away(providers.Providers.load()[ID].bank)


def test_a_bank_that_providers_share_is_away_when_one_of_them_has_used_it(shelf, write, tmp_path):
    write('two', shelf, id='other', bank='karbor-fs-bank-plugin')
    write('three', shelf.replace('/bank', '/other bank'), id='third', bank='karbor-fs-bank-plugin')
    remember('available')
    loaded = providers.Providers.load()
    assert is_away(loaded['other'].bank)
    assert not is_away(loaded['third'].bank)


def test_a_bank_is_away_when_the_database_does_not_tell_whether_it_was_used(shelf, tmp_path, monkeypatch):
    def fails():
        raise db_exception.DBConnectionError('gone')

    bank = providers.Providers.load()[ID].bank
    monkeypatch.setattr(engine, 'reading', fails)
    assert is_away(bank)
    assert not (tmp_path / 'bank').exists()


# --- the folder --------------------------------------------------------------------------------------


def test_the_folder_is_looked_up_in_the_order_of_the_contract(database, tmp_path, monkeypatch):
    (tmp_path / 'work').mkdir()
    monkeypatch.chdir(tmp_path / 'work')
    state = tmp_path / 'state'
    CONF.set_override('state_path', str(state))
    CONF.set_override('provider_config_dir', 'karbor-test-providers.d')
    try:
        assert providers.find_folder() is None
        assert providers.Providers.load() == {}
        for base in (state, state / 'etc', state / 'etc/karbor', tmp_path / 'work'):  # the last first
            (base / 'karbor-test-providers.d').mkdir(parents=True)
            assert providers.find_folder().resolve() == base / 'karbor-test-providers.d'
    finally:
        CONF.clear_override('state_path')
        CONF.clear_override('provider_config_dir')


def test_an_absolute_folder_is_taken_as_it_is(folder, tmp_path):
    assert providers.find_folder() == folder
    folder.rmdir()
    assert providers.find_folder() is None


# --- published ---------------------------------------------------------------------------------------


def rows():
    return {(row.host, row.id): row for row in repository.find(models.Provider)}


def test_the_api_reads_what_was_loaded_when_it_is_published(write):
    write(plugin=[f'{HERE}.Opted', 'karbor-no-such-plugin'], skip_unsupported='true')
    providers.Providers.load().publish()
    (row,) = rows().values()
    assert (row.id, row.host, row.name, row.description) == (ID, 'here', 'a name', 'what it is for')
    assert row.resource_types == [SHARE, 'Own']
    assert row.unavailable == {'karbor-no-such-plugin': 'the plugin cannot be loaded (NoMatches)'}
    assert row.options == {'skip_unsupported': True, 'containers': []}
    assert set(row.extended_info_schema) == {'options_schema', 'restore_schema', 'verify_schema', 'saved_info_schema'}
    assert row.extended_info_schema['options_schema']['Own'] == {'title': 'options of Own'}
    assert row.extended_info_schema['restore_schema'] == {SHARE: {}, 'Own': {}}
    assert row.published_at is not None


def test_a_host_replaces_its_own_rows_and_leaves_those_of_others_when_it_publishes_again(write):
    write('1')
    write('2', id=str(uuid.uuid4()))
    providers.Providers.load().publish()
    CONF.set_override('host', 'there')
    providers.Providers.load().publish()
    assert len(rows()) == 4
    write('2', enabled='false')
    write('1', name='renamed')
    providers.Providers.load().publish()
    assert sorted(host for host, _ in rows()) == ['here', 'here', 'there']
    assert (rows()['here', ID].name, rows()['there', ID].name) == ('a name', 'renamed')


def test_the_operator_is_told_when_hosts_have_loaded_different_things(write, caplog):
    write()
    providers.Providers.load().publish()
    CONF.set_override('host', 'there')
    providers.Providers.load().publish()
    assert 'not the same here as on' not in caplog.text
    assert rows()['here', ID].digest == rows()['there', ID].digest
    write(description='another')
    providers.Providers.load().publish()
    assert f'Provider {ID} is not the same here as on here' in caplog.text
    assert rows()['here', ID].digest != rows()['there', ID].digest


def test_the_first_file_is_kept_and_the_operator_told_when_two_have_one_id(write, caplog):
    write('1', name='first')
    write('2', name='second')
    assert providers.Providers.load()[ID].name == 'first'
    assert '2.conf' in caplog.text


# --- protectables ------------------------------------------------------------------------------------


class Trees(Protectable):
    resource_type = 'Tree'
    container = True

    def list(self, cloud, parameters=None):
        return [Resource('Tree', 'oak', 'the oak', parameters)]

    def show(self, cloud, id, parameters=None):
        raise exception.ProtectableNotFound(type='Tree', id=id)


class Leaves(Protectable):
    resource_type = 'Leaf'
    parent_types = ('Tree', 'Branch')
    fault: Exception | None = None

    def list(self, cloud, parameters=None):
        return self._answer()

    def show(self, cloud, id, parameters=None):
        return self._answer()

    def children(self, cloud, parent):
        return self._answer()

    def _answer(self):
        if self.fault:
            raise self.fault
        return [Resource('Leaf', 'leaf', 'a leaf')]


class Branches(Trees):
    resource_type = 'Branch'
    parent_types = ('Tree',)
    container = False

    def children(self, cloud, parent):
        return [Resource('Branch', 'branch', 'a branch')]


@pytest.fixture
def leaves():
    return Leaves()


@pytest.fixture
def protectables(leaves):
    return Protectables([Trees(), leaves, Branches()])


def test_dependent_types_are_those_that_name_the_type_as_parent(protectables):
    assert protectables.types() == ['Branch', 'Leaf', 'Tree']
    assert protectables.dependent_types('Tree') == ['Branch', 'Leaf']
    assert protectables.dependent_types('Branch') == ['Leaf']
    assert protectables.dependent_types('Leaf') == []
    assert protectables.containers() == {'Tree'}


def test_an_unknown_type_is_not_found_whatever_is_asked(protectables):
    for ask in (
        lambda: protectables.dependent_types('Stone'),
        lambda: protectables.list(None, 'Stone'),
        lambda: protectables.show(None, 'Stone', 'id'),
    ):
        with pytest.raises(exception.ProtectableTypeNotFound, match='Stone'):
            ask()
    assert protectables.children(None, Resource('Stone', 'id', 'a stone')) == []


def test_children_are_those_of_every_dependent_type(protectables):
    found = protectables.children(None, Resource('Tree', 'oak', 'the oak'))
    assert [resource.key for resource in found] == [('Branch', 'branch'), ('Leaf', 'leaf')]


def test_parameters_reach_the_plugin(protectables):
    assert protectables.list(None, 'Tree', {'region': 'x'})[0].extra_info == {'region': 'x'}


ASKED = {
    'list': lambda p: p.list(None, 'Leaf'),
    'show': lambda p: p.show(None, 'Leaf', 'leaf'),
    'children': lambda p: p.children(None, Resource('Tree', 'oak', 'the oak')),
}


@pytest.mark.parametrize('ask', ASKED.values(), ids=ASKED)
@pytest.mark.parametrize('fault', [RuntimeError, OSError, KeyError, ValueError])
def test_a_fault_of_a_plugin_is_told_with_its_reason_and_without_its_text(protectables, leaves, ask, fault):
    leaves.fault = fault('at http://inside.example:8786/v2')
    with pytest.raises(exception.ProtectableListFailed) as caught:
        ask(protectables)
    assert caught.value.text.startswith('Listing Leaf failed: ')
    assert len(caught.value.text) > len('Listing Leaf failed: ')
    assert 'inside.example' not in caught.value.text
    assert isinstance(caught.value.__cause__, exception.BackendFault)


@pytest.mark.parametrize('ask', ASKED.values(), ids=ASKED)
def test_a_fault_of_the_cloud_keeps_its_reason_and_request_id(protectables, leaves, ask):
    leaves.fault = exception.BackendFault('over_limit', 'manila', 'req-7')
    with pytest.raises(exception.ProtectableListFailed) as caught:
        ask(protectables)
    assert caught.value.text == f'Listing Leaf failed: {leaves.fault.text}'
    assert 'req-7' in caught.value.text


def test_what_is_not_found_stays_not_found(protectables):
    with pytest.raises(exception.ProtectableNotFound, match='Tree oak'):
        protectables.show(None, 'Tree', 'oak')


def test_the_shipped_types_are_loaded_from_their_entry_points():
    loaded = Protectables()
    assert {SHARE, 'OS::Trove::Instance', 'OS::Keystone::Project'} <= set(loaded.types())
    assert loaded.containers() == {'OS::Keystone::Project'}
    assert loaded.dependent_types('OS::Keystone::Project') >= [SHARE]
