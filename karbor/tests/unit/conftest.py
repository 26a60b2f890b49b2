# SPDX-License-Identifier: Apache-2.0
"""What unit tests share: a database of their own."""

import shutil

import pytest
from oslo_config import cfg

from karbor.conf import opts
from karbor.db import engine, migration
from karbor.tests import databases

CONF = cfg.CONF
QUICK = {'poll_first': 0.01, 'cleanup_timeout': 5, 'retry_seconds': 1, 'bank_retry_seconds': 0.0}


@pytest.fixture(scope='session')
def migrated(tmp_path_factory):
    """A database file of the newest revision: to be copied, since making one takes longer than many a test."""
    path = tmp_path_factory.mktemp('migrated') / 'karbor.sqlite'
    with databases.connected(f'sqlite:///{path}'):
        migration.sync()
    return path


@pytest.fixture
def database(tmp_path, migrated):
    shutil.copy(migrated, tmp_path / 'karbor.sqlite')
    opts.register()
    CONF([], project='karbor', default_config_files=[])
    CONF.set_override('connection', f'sqlite:///{tmp_path}/karbor.sqlite', 'database')
    for name, value in QUICK.items():
        CONF.set_override(name, value, 'protection')
    engine.configure(CONF)
    yield
    engine.dispose()
    CONF.reset()
    CONF.clear_override('connection', 'database')
    for name in QUICK:
        CONF.clear_override(name, 'protection')
