# SPDX-License-Identifier: Apache-2.0
"""A worker is stopped for longer than its lease, and comes back when another has ended its operation."""

import os
import re
from collections.abc import Callable
from typing import Any

import pytest

from karbor.tests.faults import disturb
from karbor.tests.faults.recorded import Recorded
from karbor.tests.faults.site import Site

pytestmark = pytest.mark.faults


def cases(test: str, recorded: dict[str, Recorded]) -> list[Any]:
    """Not within a transaction: that would stop everybody until the database cuts it off."""
    return [disturb.Case(name, point) for name, one in recorded.items() for point in _chosen(one)]


def _chosen(recorded: Recorded) -> list[str]:
    points = [point for point in disturb.chosen(recorded) if 'to be committed' not in point]
    if os.environ.get('KARBOR_TEST_ALL'):
        return points
    return [p for p in points if re.match(r'manila|trove|bank|\w+\.(start|finish): before', p)]


def test_it_neither_writes_nor_starts_anything(
    case: disturb.Case, site: Site, recorded: dict[str, Recorded], record_property: Callable[[str, Any], None]
) -> None:
    reference = recorded[case.scenario]
    result = disturb.repeated(disturb.stop, site, reference.scenario, case.point)
    record_property('faults', result.told(stops=1))
    result.check(reference)
