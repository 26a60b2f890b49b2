# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys

import pytest
from oslo_upgradecheck import upgradecheck

from karbor.db import migration
from karbor.tests import databases
from karbor.tests.db import karbor_1_6

SUCCESS, WARNING, FAILURE = upgradecheck.Code.SUCCESS, upgradecheck.Code.WARNING, upgradecheck.Code.FAILURE
GOOD = '[provider]\nname = a\nid = b766f37c-d011-4026-8228-28730d734a3f\nenabled = True\n'
PLUGINS = 'plugin = karbor-noop-protection-plugin\nbank = karbor-fs-bank-plugin\n'


@pytest.fixture
def url(tmp_path):
    return f'sqlite:///{tmp_path}/karbor.sqlite'


@pytest.fixture
def check(tmp_path, url):
    """Call it to get the exit status of `karbor-status upgrade check` and (code, details) of each check."""
    providers = tmp_path / 'providers.d'
    providers.mkdir()

    def run(options='', provider=GOOD + PLUGINS, synced=True, policy='policy.yaml'):
        file = tmp_path / 'karbor.conf'
        file.write_text(
            f'[DEFAULT]\nstate_path = {tmp_path}\nprovider_config_dir = {providers}\n{options}\n'
            f'[database]\nconnection = {url}\n[oslo_policy]\npolicy_file = {policy}\n'
        )
        if provider is not None:
            (providers / 'a.conf').write_text(provider)
        if synced:
            with databases.connected(url):
                migration.sync()
        command = [sys.executable, '-m', 'karbor.cmd.status', '--config-file', str(file), 'upgrade', 'check', '--json']
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
        found = json.loads(ended.stdout)['checks']
        return ended.returncode, {c['check']: (c['result'], c['details']) for c in found}

    return run


def test_all_is_well_when_nothing_is_in_the_way(check):
    status, found = check()
    assert {code for code, _ in found.values()} == {SUCCESS}
    assert status == 0


def test_database_of_1_6_is_a_warning_when_it_is_upgradable(check, url):
    karbor_1_6.load(url, rows=karbor_1_6.ROWS)
    status, found = check(synced=False)
    assert found['Database'][0] == WARNING
    assert 'db sync' in found['Database'][1]
    assert found['Unfinished operations of 1.6'][0] == WARNING
    assert found['Unfinished operations of 1.6'][1].startswith('1 operations')
    assert status == WARNING


def test_unfinished_operations_are_a_warning_when_the_database_was_upgraded(check, url):
    karbor_1_6.load(url, rows=karbor_1_6.ROWS)
    _, found = check()
    assert found['Database'][0] == SUCCESS
    assert found['Unfinished operations of 1.6'][0] == WARNING


def test_database_is_a_failure_when_it_is_too_old(check, url):
    karbor_1_6.load(url, migrated_to=2)
    status, found = check(synced=False)
    assert found['Database'][0] == FAILURE
    assert 'Karbor 1.x first' in found['Database'][1]
    assert status == FAILURE


@pytest.mark.parametrize(
    'url', ['sqlite:////nowhere/karbor.sqlite', 'mysql+pymysql://karbor:secret@127.0.0.1:1/karbor']
)
def test_database_is_a_failure_when_it_cannot_be_used(check, url):
    status, found = check(synced=False)
    assert found['Database'][0] == FAILURE
    assert 'cannot be used' in found['Database'][1]
    assert 'secret' not in str(found)
    assert status == FAILURE


def test_policy_file_is_a_warning_when_it_is_json(check, tmp_path):
    (tmp_path / 'policy.json').write_text('{"plan:create": ""}')
    status, found = check(policy=tmp_path / 'policy.json')
    assert found['Policy file'][0] == WARNING
    assert status == WARNING


def test_options_of_1_6_are_a_warning_when_they_are_set(check):
    status, found = check(options='workflow_engine = karbor.services.protection.flows.worker.X\nthread_count = 10')
    assert found['Options of 1.6'] == (WARNING, 'Options without effect are set: thread_count, workflow_engine.')
    assert status == WARNING


OLD_PLUGIN = 'plugin = karbor.services.protection.protection_plugins.share.X\nbank = karbor-fs-bank-plugin\n'
OLD_BANK = (
    'plugin = karbor-noop-protection-plugin\nbank = karbor.services.protection.bank_plugins.swift_bank_plugin.X\n'
)


@pytest.mark.parametrize(
    ('provider', 'code', 'said'),
    [
        (None, WARNING, 'no provider file'),
        ('enabled = yes', FAILURE, 'a.conf cannot be read'),
        ('[provider]\nenabled = perhaps\n', FAILURE, 'a.conf cannot be read'),
        ('[provider]\nenabled = False\nplugin = nonsense\n', SUCCESS, None),
        (GOOD, FAILURE, 'lacks id, bank or plugins'),
        (GOOD + PLUGINS + 'plugin = other-plugin\n', WARNING, 'plugin other-plugin is not installed'),
        (GOOD + PLUGINS + 'plugin = nowhere.at.all:Plugin\n', WARNING, 'plugin nowhere.at.all:Plugin is not installed'),
        (GOOD + PLUGINS + 'plugin = json.decoder:JSONDecoder\n', SUCCESS, None),
        (GOOD + OLD_PLUGIN, WARNING, 'class path of Karbor 1.6'),
        (
            GOOD + 'plugin = karbor-noop-protection-plugin\nbank = other-bank\n',
            FAILURE,
            'bank other-bank is not installed',
        ),
        (GOOD + OLD_BANK, FAILURE, 'class path of Karbor 1.6'),
    ],
)
def test_provider_files_are_judged_by_what_they_name(check, provider, code, said):
    status, found = check(provider=provider)
    assert found['Provider files'][0] == code
    assert said is None or said in found['Provider files'][1]
    assert status == code
