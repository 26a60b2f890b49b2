# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the worker at every point that an undisturbed run passes; another worker takes over."""

from collections.abc import Callable
from typing import Any

import pytest

from karbor.tests.faults import disturb
from karbor.tests.faults.recorded import Recorded
from karbor.tests.faults.site import Site

pytestmark = pytest.mark.faults


def cases(test: str, recorded: dict[str, Recorded]) -> list[disturb.Case]:
    return [disturb.Case(name, point) for name, one in recorded.items() for point in disturb.chosen(one)]


def test_it_ends_as_if_nothing_had_happened(
    case: disturb.Case, site: Site, recorded: dict[str, Recorded], record_property: Callable[[str, Any], None]
) -> None:
    reference = recorded[case.scenario]
    result = disturb.repeated(disturb.kill, site, reference.scenario, case.point)
    record_property('faults', result.told(kills=1))
    result.check(reference)
