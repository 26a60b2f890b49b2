# SPDX-License-Identifier: Apache-2.0
"""What is written about Karbor, where a machine can tell whether it is so."""

import subprocess
import sys
from pathlib import Path

import pytest

from karbor import exception, statuses
from karbor.protection import provider

ROOT = Path(__file__).parents[3]
SAMPLES = sorted((ROOT / 'etc' / 'karbor' / 'providers.d').glob('*.conf'))


@pytest.mark.parametrize('path', SAMPLES, ids=lambda path: path.name)
def test_sample_of_a_provider_loads_when_it_is_enabled(path: Path, tmp_path: Path) -> None:
    enabled = tmp_path / path.name
    enabled.write_text(path.read_text().replace('enabled = false', 'enabled = true'))
    found = provider.load(enabled)
    assert found is not None and found.protections and found.unavailable == {}


def test_samples_of_providers_are_those_of_the_contract() -> None:
    ids = {line.partition(' = ')[2] for path in SAMPLES for line in path.read_text().splitlines() if line[:4] == 'id ='}
    assert ids == {'b766f37c-d011-4026-8228-28730d734a3f', 'cf56bd3e-97a7-4078-b6d5-f36246333fd9'}


def test_api_reference_is_what_the_api_declares() -> None:
    command = [sys.executable, str(ROOT / 'tools' / 'api_ref.py'), '--check']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, '')


def test_pictures_of_the_flows_are_those_that_are_run() -> None:
    command = [sys.executable, '-W', 'ignore', str(ROOT / 'tools' / 'flow_pictures.py'), '--check']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, '')


def test_table_of_the_rules_is_what_the_rules_are() -> None:
    command = [sys.executable, '-W', 'ignore', str(ROOT / 'tools' / 'policy_table.py'), '--check']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, '')


def test_user_guide_has_every_word_that_a_user_reads() -> None:
    told = (ROOT / 'doc' / 'source' / 'user' / 'states.rst').read_text()
    words = [*exception.BackendFault.REASONS, *statuses.RestoreStatus, *statuses.ResourceStatus]
    for operation in (statuses.OperationType.PROTECT, statuses.OperationType.RESTORE, statuses.OperationType.DELETE):
        words += statuses.OPERATION_WORDS[operation]
    assert [word for word in words if f'``{word}``' not in told] == []
