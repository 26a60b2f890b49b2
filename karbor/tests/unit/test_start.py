# SPDX-License-Identifier: Apache-2.0
"""How services start: what is wrong with the configuration ends them, what may come up later is waited for."""

import contextlib

import pytest
from oslo_config import cfg

from karbor import exception
from karbor.conf import opts
from karbor.db import engine
from karbor.tests.services.deployment import BINARIES, Process, free_port
from karbor.tests.unit.protection.test_operations import until

WRONG = "[protection] jobboard: Valid values are [sql, redis], but found 'foo'"


@pytest.fixture
def configured(tmp_path):
    """configured(binary, groups) is the process with this configuration and a database that is not usable yet."""
    started = []

    def make(binary, connection=f'sqlite:///{tmp_path}/none/karbor.sqlite', transport='local://', **groups):
        lines = [
            *('[DEFAULT]', f'state_path = {tmp_path}', f'transport_url = {transport}', 'auth_strategy = noauth'),
            *('osapi_karbor_listen = 127.0.0.1', f'osapi_karbor_listen_port = {free_port()}'),
            *('osapi_karbor_workers = 2', '[database]', f'connection = {connection}'),
        ]
        for group, values in groups.items():
            lines += [f'[{group}]', *(f'{name} = {value}' for name, value in values.items())]
        (tmp_path / 'karbor.conf').write_text('\n'.join(lines))
        process = Process(binary, tmp_path, {})
        process.start()
        started.append(process)
        return process

    yield make
    for process in started:
        if process.is_running:
            with contextlib.suppress(ProcessLookupError):
                process._kill(process.workers)


def ended(process):
    """The status that it ended with by itself, and what it printed."""
    assert process._process is not None
    return process._process.wait(30), process.errors_file.read_text().splitlines()


@pytest.mark.parametrize('binary', BINARIES)
def test_a_service_ends_in_one_line_when_values_are_wrong_whatever_the_database_does(configured, binary):
    status, told = ended(configured(binary, protection={'jobboard': 'foo'}, database={'max_pool_size': 'many'}))
    assert status == 1
    assert len(told) == 1
    assert told[0].startswith(f'{binary}: Wrong values in ')
    assert WRONG in told[0]
    assert '[database] max_pool_size' in told[0]


@pytest.mark.parametrize(
    ('named', 'said'),
    [
        ({'connection': 'nonsense'}, '[database] connection'),
        ({'connection': 'oracle+nothing://u:secret@x/y'}, '[database] connection'),
        ({'transport': 'pigeon://u:secret@x/'}, 'transport_url'),
        ({'oslo_messaging_rabbit': {'heartbeat_rate': 'x'}}, '[oslo_messaging_rabbit] heartbeat_rate'),
    ],
)
def test_a_service_ends_in_one_line_when_an_address_or_a_library_cannot_be_used(configured, named, said):
    process = configured('karbor-protection', **named)
    status, told = ended(process)
    assert status == 1
    assert len(told) == 1
    assert said in told[0]
    assert 'secret' not in process.log()
    assert 'Traceback' not in process.log()


def test_all_workers_of_the_api_end_with_it_when_one_finds_a_wrong_value(configured):
    # What is read where the application is made, in the workers.
    wrong = {'keystone_authtoken': {'http_connect_timeout': 'x'}, 'DEFAULT': {'auth_strategy': 'keystone'}}
    process = configured('karbor-api', **wrong)
    status, told = ended(process)
    assert (status, len(told)) == (1, 1)
    assert 'http_connect_timeout' in told[0]
    assert 'Traceback' not in process.log()


def test_the_protection_service_waits_for_redis_and_says_so_once(configured, database, tmp_path):
    connection = cfg.CONF.database.connection
    options = {'jobboard': 'redis', 'redis_port': free_port()}
    process = configured('karbor-protection', connection, protection=options)
    until(lambda: 'Waiting for the job board: Redis cannot be used: Error 111' in process.log(), 30)
    workers = process.workers
    with pytest.raises(AssertionError):
        until(lambda: process.workers != workers, 4)
    assert process.log().count('Waiting for') == 1
    assert 'Traceback' not in process.log()
    assert process.stop() < 5


def test_every_wrong_value_is_named_at_once(tmp_path):
    path = tmp_path / 'karbor.conf'
    path.write_text('[DEFAULT]\nosapi_max_limit = 0\nmax_age = a retired one\n[protection]\njobboard = foo\n')
    conf = cfg.ConfigOpts()
    opts.register(conf)
    conf([f'--config-file={path}'], project='karbor')
    with pytest.raises(cfg.Error) as fault:
        opts.check(conf)
    text = str(fault.value)
    assert text.startswith(f'Wrong values in {path}: ')
    assert WRONG in text
    assert '[DEFAULT] osapi_max_limit' in text
    assert 'max_age' not in text


@pytest.mark.parametrize(
    ('given', 'used'),
    [
        ('postgresql://karbor:p%40ss@db/karbor', 'postgresql+psycopg2'),
        ('mysql://karbor:p%40ss@db/karbor', 'mysql+pymysql'),
        ('mysql+pymysql://karbor@db/karbor', 'mysql+pymysql'),
        ('sqlite:////x', 'sqlite'),
    ],
)
def test_the_driver_is_the_one_that_is_installed_when_the_address_names_none(given, used):
    conf = cfg.ConfigOpts()
    opts.register(conf)
    conf([], project='karbor', default_config_files=[])
    conf.set_override('connection', given, 'database')
    engine.check(conf)
    assert engine._url(conf) == given.replace(given.partition(':')[0], used, 1)
    conf.set_override('connection', 'postgresql+nothing://db', 'database')
    with pytest.raises(exception.ConfigurationError, match='connection'):
        engine.check(conf)
