# SPDX-License-Identifier: Apache-2.0
import datetime
import subprocess
import sys

import pytest
from oslo_config import cfg
from oslo_utils import timeutils

from karbor.conf import opts
from karbor.db import migration, models, repository
from karbor.tests import databases
from karbor.tests.db import karbor_1_6


@pytest.fixture
def url(tmp_path):
    return f'sqlite:///{tmp_path}/karbor.sqlite'


@pytest.fixture
def manage(tmp_path, url):
    """Call it with arguments to run `karbor-manage` in a process of its own, as an operator does."""
    file = tmp_path / 'karbor.conf'
    file.write_text(f'[DEFAULT]\nhost = node7\nstate_path = {tmp_path}\n[database]\nconnection = {url}\n')

    def run(*arguments, config_file=file):
        command = [sys.executable, '-m', 'karbor.cmd.manage', '--config-file', str(config_file), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)

    return run


def test_database_is_at_head_when_synced(manage):
    assert 'none' in manage('db', 'version').stdout
    assert manage('db', 'sync').returncode == 0
    assert manage('db', 'version').stdout == f'{migration.head()}\n'


def test_database_is_at_a_revision_when_one_is_named(manage):
    assert manage('db', 'sync', '002').returncode == 0
    assert manage('db', 'version').stdout == '002\n'


def test_database_of_1_6_is_upgraded_when_synced(manage, url):
    karbor_1_6.load(url, rows=karbor_1_6.ROWS)
    assert manage('db', 'version').stdout == 'migration 3 of Karbor 1.x\n'
    assert manage('db', 'sync').returncode == 0
    with databases.connected(url):
        assert repository.count(models.Plan) == 2


def test_sync_reads_no_alembic_ini_of_the_current_folder(manage, tmp_path):
    (tmp_path / 'alembic.ini').write_text('[alembic]\nscript_location = nowhere\n')
    assert manage('db', 'sync').returncode == 0


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['db', 'sync', 'nope'], 'There is no revision nope'),
        (['db', 'purge', '0'], 'at least 1'),
        (['db', 'purge', '99999999'], '1970'),
        (['config', 'list', 'nope'], 'no option nope'),
    ],
)
def test_one_line_says_why_when_a_command_fails(manage, arguments, said):
    manage('db', 'sync')
    ended = manage(*arguments)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize('arguments', [['db', 'purge', '1'], ['service', 'list']])
def test_sync_is_asked_for_when_there_are_no_tables(manage, arguments):
    ended = manage(*arguments)
    assert ended.returncode == 1
    assert 'karbor-manage db sync' in ended.stderr


@pytest.mark.parametrize(
    'url',
    [
        'sqlite:////nowhere/at/all/karbor.sqlite',
        'mysql+pymysql://karbor:secret@127.0.0.1:1/karbor',
        'postgresql+psycopg2://karbor:secret@127.0.0.1:1/karbor',
        'oracle+nothing://x/y',
    ],
)
@pytest.mark.parametrize('arguments', [['db', 'sync'], ['db', 'version']])
def test_one_line_says_so_when_the_database_cannot_be_used(manage, arguments, url):
    ended = manage(*arguments)
    assert ended.returncode == 1
    assert 'The database cannot be used' in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert 'secret' not in ended.stderr


def test_the_file_of_the_database_is_named_and_that_there_was_no_configuration(manage, url, tmp_path):
    file = tmp_path / 'other.conf'
    file.write_text('[database]\nconnection = sqlite:////nowhere/at/all/karbor.sqlite\n')
    assert manage('db', 'version', config_file=file).stderr.endswith(': /nowhere/at/all/karbor.sqlite\n')
    conf = cfg.ConfigOpts()
    conf([f'--config-file={file}'], project='karbor')
    assert opts.unread(conf) == ''
    conf([], project='karbor', default_config_files=[])
    assert opts.unread(conf).startswith(' (no configuration file was found: there is no karbor.conf in ')
    assert '/etc/karbor' in opts.unread(conf)


def test_wrong_values_are_named_by_every_command(manage, tmp_path):
    file = tmp_path / 'other.conf'
    file.write_text('[protection]\njobboard = foo\n')
    for arguments in (['db', 'version'], ['config', 'list'], ['version', 'list']):
        ended = manage(*arguments, config_file=file)
        assert ended.returncode == 1
        assert ended.stderr.startswith(f'karbor-manage: Wrong values in {file}: [protection] jobboard: Valid')
        assert len(ended.stderr.splitlines()) == 1


@pytest.mark.services
@pytest.mark.parametrize(('kind', 'driver'), [('postgresql', '+psycopg2'), ('mariadb', '+pymysql')])
def test_a_database_is_reached_by_an_address_that_names_no_driver(manage, tmp_path, kind, driver):
    file = tmp_path / 'other.conf'
    with databases.temporary(kind, tmp_path) as connection:
        file.write_text(f'[database]\nconnection = {connection.replace(driver, "")}\n')
        ended = manage('db', 'sync', config_file=file)
        assert (ended.returncode, ended.stderr) == (0, '')
        assert manage('db', 'version', config_file=file).stdout == f'{migration.head()}\n'


@pytest.mark.parametrize(
    'arguments', [[], ['db'], ['db', 'nonsense'], ['db', 'purge'], ['db', 'purge', 'x'], ['nonsense']]
)
def test_usage_is_shown_when_the_command_line_is_wrong(manage, arguments):
    ended = manage(*arguments)
    assert ended.returncode == 2
    assert 'usage:' in ended.stderr


@pytest.mark.parametrize(
    ('arguments', 'said'), [([], 'service'), (['db'], 'purge'), (['db', 'purge'], 'more than this many days')]
)
def test_help_names_what_can_be_done(manage, arguments, said):
    ended = manage(*arguments, '--help')
    assert ended.returncode == 0
    assert said in ended.stdout


def test_error_is_clear_when_the_configuration_file_does_not_exist(manage, tmp_path):
    ended = manage('db', 'version', config_file=tmp_path / 'nowhere.conf')
    assert ended.returncode == 1
    assert 'nowhere.conf' in ended.stderr


def test_purge_tells_what_it_removed_from_each_table(manage, url):
    manage('db', 'sync')
    with databases.connected(url):
        long_ago = timeutils.utcnow() - datetime.timedelta(days=10)
        for id in ('a', 'b'):
            repository.create(models.Plan(id=id, project_id='p', deleted=True, deleted_at=long_ago))
    assert manage('db', 'purge', '30').stdout == '0 rows removed\n'
    assert manage('db', 'purge', '5').stdout == 'plans: 2 removed\n2 rows removed\n'


def test_options_are_listed_with_secrets_hidden(manage):
    listed = manage('config', 'list').stdout
    assert 'host = node7\n' in listed
    assert 'database.connection = ****\n' in listed
    assert manage('config', 'list', 'host').stdout == 'host = node7\n'


def test_options_of_messaging_and_keystone_are_listed_too(manage, tmp_path):
    file = tmp_path / 'other.conf'
    group = 'auth_type = password\nusername = karbor\npassword = secret\n'
    file.write_text(f'[keystone_authtoken]\n{group}[trustee]\n{group}[DEFAULT]\ntransport_url = rabbit://u:secret@x/\n')
    listed = manage('config', 'list', config_file=file).stdout
    for line in ('transport_url = ****', 'control_exchange = karbor', 'oslo_messaging_rabbit.ssl = False'):
        assert f'{line}\n' in listed
    for name in ('keystone_authtoken', 'trustee'):
        assert f'{name}.username = karbor\n' in listed
        assert f'{name}.password = ****\n' in listed
    assert 'secret@' not in listed


def test_services_are_listed_with_their_state(manage, url):
    manage('db', 'sync')
    now = timeutils.utcnow()
    with databases.connected(url):
        repository.create(models.Service(binary='karbor-protection', host='up', updated_at=now))
        stale = now - datetime.timedelta(hours=1)
        repository.create(models.Service(binary='karbor-protection', host='down', updated_at=stale, disabled=True))
        # As Karbor 1.6 left it: it has not reported again since its row was made.
        repository.create(models.Service(binary='karbor-operationengine', host='just made'))
    lines = [[cell.strip() for cell in line.split('|')[1:-1]] for line in manage('service', 'list').stdout.splitlines()]
    rows = [line for line in lines if line]
    assert rows[0] == ['Binary', 'Host', 'Status', 'State', 'Updated At']
    assert [row[:4] for row in rows[1:]] == [
        ['karbor-operationengine', 'just made', 'enabled', ':-)'],
        ['karbor-protection', 'down', 'disabled', 'XXX'],
        ['karbor-protection', 'up', 'enabled', ':-)'],
    ]


def test_version_is_printed(manage):
    assert manage('version', 'list').stdout.count('.') >= 2
