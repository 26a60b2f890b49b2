# SPDX-License-Identifier: Apache-2.0
"""The HTTP behaviour that `gabbits/*.yaml` tell, each file on a Karbor of its own."""

import contextlib
import datetime
import glob
import os
import sys
import unittest
from pathlib import Path
from typing import Any

import pytest
from gabbi import driver, fixture
from oslo_utils import timeutils

from karbor.db import models, repository
from karbor.tests import databases, fixtures

_state: dict[str, Any] = {}


class Karbor(fixture.GabbiFixture):
    """A service in memory; its identifiers are in the environment of the tests."""

    options: dict[str, Any] = {}

    def start_fixture(self) -> None:
        self.stack = contextlib.ExitStack()
        self.service = self.stack.enter_context(fixtures.service(_state['connection'], **self.options))
        _state['app'] = self.service.app
        names = {'PROJECT': fixtures.PROJECT, 'OTHER': fixtures.OTHER, 'PROVIDER': fixtures.PROVIDER}
        os.environ.update(names | {'SHARES': fixtures.SHARES})
        fixtures.publish_provider('00000000-0000-4000-8000-00000000dead', 'gone', up=False)
        unavailable = {'karbor-server-protection-plugin': 'the plugin cannot be loaded (ImportError)'}
        fixtures.publish_provider('00000000-0000-4000-8000-000000000bad', 'there', unavailable=unavailable)

    def stop_fixture(self) -> None:
        self.service.settle()
        self.stack.close()


class WithoutAuthentication(Karbor):
    options = {'auth_strategy': 'noauth'}


class Engines(Karbor):
    """Beside the protection services: an operation engine that is up, one that is down, and a row of Karbor 1.6."""

    def start_fixture(self) -> None:
        super().start_fixture()
        for host, beat in (('ticking', timeutils.utcnow()), ('silent', datetime.datetime(2020, 1, 1))):
            repository.create(models.Service(host=host, binary='karbor-operationengine', updated_at=beat))
        old = {'binary': 'karbor-1.6', 'report_count': 0, 'disabled': None, 'created_at': None}
        repository.create_many(models.Service, [old])


class SmallBodies(Karbor):
    options = {'osapi_max_request_body_size': 2048, 'quota_plans': 1, 'quota_checkpoints': 1}


def _current_app(environ: dict[str, Any], start_response: Any) -> Any:
    return _state['app'](environ, start_response)


FOLDER = os.path.join(os.path.dirname(__file__), 'gabbits')
FILES = sorted(name for name in os.listdir(FOLDER) if name.endswith('.yaml'))


def _suites() -> dict[str, unittest.TestSuite]:
    """The suite of each file. Gabbi looks for files in the same order as it adds their suites."""
    suites = driver.build_tests(
        FOLDER,
        unittest.TestLoader(),
        intercept=lambda: _current_app,  # it is asked for before any fixture has begun
        fixture_module=sys.modules[__name__],
        test_loader_name=__name__,
    )
    return {os.path.basename(path): suite for path, suite in zip(glob.iglob(f'{FOLDER}/*.yaml'), suites, strict=True)}


@pytest.mark.parametrize('kind', databases.KINDS)
@pytest.mark.parametrize('name', FILES)
def test_the_api_behaves_as_the_file_tells(name: str, kind: str, tmp_path: Path) -> None:
    """One test a file: its requests build on each other, and workers of a parallel run would tear them apart."""
    result = unittest.TestResult()
    suite = _suites()[name]
    count = suite.countTestCases()
    with databases.temporary(kind, tmp_path) as url:
        _state['connection'] = url
        suite.run(result)
    assert result.testsRun == count
    assert not result.failures + result.errors, '\n'.join(text for _, text in result.failures + result.errors)
