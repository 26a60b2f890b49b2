# SPDX-License-Identifier: Apache-2.0
"""Options keep the names and defaults that configuration files of Karbor 1.6 rely on."""

import importlib
import pkgutil
import subprocess
import sys

import pytest
from oslo_config import cfg

import karbor.conf
from karbor.conf import opts
from karbor.plugins.banks.file_system import FileSystemBank
from karbor.plugins.database import TroveBackup
from karbor.plugins.share import ManilaSnapshot

DEFAULTS = {
    'state_path': '/var/lib/karbor',
    'auth_strategy': 'keystone',
    'service_down_time': 60,
    'report_interval': 10,
    'operationengine_topic': 'karbor-operationengine',
    'protection_topic': 'karbor-protection',
    'osapi_karbor_listen': '0.0.0.0',
    'osapi_karbor_listen_port': 8799,
    'osapi_max_limit': 1000,
    'osapi_karbor_base_URL': None,
    'use_forwarded_for': False,
    'query_plan_filters': ['name', 'status', 'description'],
    'query_provider_filters': ['name', 'description'],
    'query_checkpoint_filters': ['project_id', 'plan_id', 'start_date', 'end_date'],
    'query_instance_filters': ['status'],
    'query_restore_filters': ['status'],
    'query_verification_filters': ['status'],
    'query_operation_log_filters': ['checkpoint_id', 'plan_id', 'restore_id', 'status'],
    'provider_config_dir': 'providers.d',
    'min_interval': 3600,
    'min_window_time': 900,
    'max_window_time': 1800,
    'time_format': 'calendar',
    'retained_operation_log_number': 5,
    'quota_plans': 50,
    'quota_checkpoints': -1,
}
IGNORED = (
    *('operationengine_manager', 'protection_manager', 'workflow_engine', 'db_driver', 'quota_driver'),
    *('scheduling_strategy', 'provider_registry', 'sync_status_interval', 'thread_count', 'until_refresh', 'max_age'),
    *('reservation_expire', 'trigger_poll_interval', 'periodic_interval', 'periodic_fuzzy_delay', 'tcp_keepalive'),
    *('tcp_keepalive_interval', 'tcp_keepalive_count', 'enable_new_services', 'fatal_exception_format_errors'),
)
CLIENTS = {
    'nova': ('nova', 'compute', 'compute:nova:publicURL'),
    'cinder': ('cinderv3', 'volumev3', 'volumev3:cinderv3:publicURL'),
    'glance': ('glance', 'image', 'image:glance:publicURL'),
    'neutron': ('neutron', 'network', 'network:neutron:publicURL'),
    'manila': ('manilav2', 'sharev2', 'sharev2:manilav2:publicURL'),
    'trove': ('trove', 'database', 'database:trove:publicURL'),
    'freezer': ('freezer', 'backup', 'backup:freezer:publicURL'),
}


@pytest.fixture
def conf():
    made = cfg.ConfigOpts()
    opts.register(made)
    made([], project='karbor', default_config_files=[])
    return made


@pytest.mark.parametrize(('name', 'default'), DEFAULTS.items())
def test_an_option_of_1_6_keeps_its_default(conf, name, default):
    assert conf[name] == default


@pytest.mark.parametrize('name', IGNORED)
def test_an_option_that_has_no_effect_is_still_accepted(tmp_path, name):
    path = tmp_path / 'karbor.conf'
    path.write_text(f'[DEFAULT]\n{name} = 1\n')
    made = cfg.ConfigOpts()
    opts.register(made)
    made([f'--config-file={path}'], project='karbor', default_config_files=[])
    assert made[name] in (1, '1', True)


@pytest.mark.parametrize(('service', 'told'), CLIENTS.items())
def test_a_client_group_keeps_its_names(conf, service, told):
    group = conf[f'{service}_client']
    assert (group.service_name, group.service_type, group[f'{service}_catalog_info']) == told
    assert (group.region_id, group.interface, group.auth_insecure) == ('RegionOne', 'internal', False)
    assert group[f'{service}_endpoint'] is None


def test_groups_of_their_own_keep_their_names(conf):
    assert conf.operationengine.executor == 'green_thread'
    assert conf.operationengine.max_concurrent_operations == 0
    assert conf.clients_keystone.auth_uri is None
    assert conf.database.connection == 'sqlite:////var/lib/karbor/karbor.sqlite'


def test_options_of_plugins_keep_their_groups_and_defaults():
    made = cfg.ConfigOpts()
    for plugin in (ManilaSnapshot, TroveBackup, FileSystemBank):
        for group, options in plugin.OPTIONS.items():
            made.register_opts(options, group)
    made([])
    assert made.manila_snapshot_plugin.poll_interval == 15
    assert made.database_backup_plugin.poll_interval == 15
    assert made.file_system_bank_plugin.file_system_bank_path is None
    assert made.file_system_bank_plugin.bank_object_container == 'karbor'


def test_every_module_is_found_and_every_option_has_a_help_text():
    listed = {(group, option.name) for group, options in opts.list_opts() for option in options}
    for module in pkgutil.iter_modules(karbor.conf.__path__):
        if module.name != 'opts':
            for group, options in importlib.import_module(f'karbor.conf.{module.name}').OPTIONS.items():
                assert {(group, option.name) for option in options} <= listed
                assert all(option.help for option in options), f'an option of [{group}] has no help text'


def logged(tmp_path, tell):
    """What the file has after ``tell`` has told a fault of a database."""
    script = (
        'from oslo_db import exception\nfrom oslo_log import log\nfrom karbor.conf import opts\n'
        f'opts.parse(["--log-file", "{tmp_path}/log"], [])\nLOG = log.getLogger("karbor.x")\n'
        f'try:\n    raise exception.DBError("the text\\nand more")\nexcept Exception as fault:\n    {tell}\n'
    )
    subprocess.run([sys.executable, '-c', script], check=True)
    return (tmp_path / 'log').read_text()


@pytest.mark.parametrize('tell', ['LOG.error("It failed: %s", fault)', 'LOG.warning(str(fault).splitlines()[0])'])
def test_the_log_tells_a_fault_once_when_the_line_has_its_text(tmp_path, tell):
    told = logged(tmp_path, tell)
    assert told.count('the text') == 1
    assert 'DBError' not in told


@pytest.mark.parametrize('tell', ['LOG.error("It failed.")', 'LOG.exception("It failed.")'])
def test_the_log_names_the_fault_when_the_line_does_not(tmp_path, tell):
    told = logged(tmp_path, tell)
    assert 'It failed.: oslo_db.exception.DBError: the text' in told
    assert ('Traceback' in told) == ('exception' in tell)
