# SPDX-License-Identifier: Apache-2.0
"""A part of the matrix on MariaDB: what a killed worker has locked there is free as soon as its connection is cut."""

from collections.abc import Callable
from typing import Any

import pytest

from karbor.tests.faults import disturb
from karbor.tests.faults.recorded import Recorded
from karbor.tests.faults.site import Site

pytestmark = [pytest.mark.faults, pytest.mark.services]

POINTS = ('guarded write: to be committed', 'rows (handle): to be committed', 'rows (handle): committed')


def cases(test: str, recorded: dict[str, Recorded]) -> list[disturb.Case]:
    found = [disturb.Case(name, point) for name, one in recorded.items() for point in one.points]
    return [c for c in found if c.scenario.endswith(('share', 'database')) and c.point in POINTS]


def test_it_ends_as_if_nothing_had_happened_on_mariadb(
    case: disturb.Case, site: Site, recorded: dict[str, Recorded], record_property: Callable[[str, Any], None]
) -> None:
    reference = recorded[case.scenario]
    result = disturb.repeated(disturb.kill, site, reference.scenario, case.point, database='mariadb')
    record_property('faults', result.told(kills=1))
    result.check(reference)
