# SPDX-License-Identifier: Apache-2.0
"""The points of every scenario, recorded once for a test run; the sandbox of a test process; the figures at the end.

The process that starts the tests records, before pytest-xdist starts others: all of them have to collect the same.
"""

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from karbor.tests.faults import figures
from karbor.tests.faults.recorded import Recorded, record_all
from karbor.tests.faults.site import Site

pytest.register_assert_rewrite('karbor.tests.faults.disturb')
RECORDED = pytest.StashKey[dict[str, Recorded]]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that has ``case`` as an argument comes once for each of those that its function ``cases`` makes."""
    if 'case' in metafunc.fixturenames:
        recorded = _recorded(metafunc.config)
        cases = metafunc.module.cases(metafunc.function.__name__, recorded) if recorded else []
        metafunc.parametrize('case', cases, ids=str)


def pytest_configure_node(node: Any) -> None:
    """What another process of pytest-xdist needs to collect the same tests."""
    told = {name: one.dump() for name, one in _recorded(node.config).items()}
    node.workerinput['faults'] = json.dumps(told)


def _recorded(config: pytest.Config) -> dict[str, Recorded]:
    """By scenario; empty where these tests are deselected anyway."""
    if RECORDED not in config.stash:
        config.stash[RECORDED] = _found(config)
    return config.stash[RECORDED]


def _found(config: pytest.Config) -> dict[str, Recorded]:
    told = getattr(config, 'workerinput', None)
    if told is not None:
        return {name: Recorded.load(one) for name, one in json.loads(told.get('faults', '{}')).items()}
    if not re.search(r'(?<!not )\bfaults\b', config.option.markexpr or 'faults'):
        return {}
    return record_all()


@pytest.fixture(scope='session')
def site() -> Iterator[Site]:
    made = Site().start()
    yield made
    made.stop()


@pytest.fixture(scope='session')
def recorded(request: pytest.FixtureRequest) -> dict[str, Recorded]:
    return _recorded(request.config)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The table of points, and the figures of all cases, as JSON lines."""
    recorded = config.stash.get(RECORDED, {})
    if not recorded or config.option.collectonly:
        return
    reports = [r for found in terminalreporter.stats.values() for r in found if getattr(r, 'when', '') == 'call']
    told = [value for report in reports for name, value in report.user_properties if name == 'faults']
    if not told:
        return
    if os.environ.get('KARBOR_TEST_POINTS'):
        terminalreporter.section('points')
        for name, one in recorded.items():
            terminalreporter.write_line(f'{name}: {len(one.points)}')
            for point in one.points:
                terminalreporter.write_line(f'    {point}')
    terminalreporter.section('figures')
    for figure in figures.of(told):
        terminalreporter.write_line(json.dumps(figure))
