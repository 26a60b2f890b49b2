# SPDX-License-Identifier: Apache-2.0
"""What an undisturbed run of a scenario passes, and how it ends: what every disturbed run is compared with."""

from dataclasses import asdict, dataclass
from typing import Any

from karbor.tests.faults.points import FIRST, Points
from karbor.tests.faults.site import Site
from karbor.tests.faults.trial import SCENARIOS, Scenario, trial


@dataclass
class Recorded:
    """``points`` in the order in which they are passed, and the world in which it ends."""

    scenario: Scenario
    points: list[str]
    world: dict[str, Any]

    def dump(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> 'Recorded':
        return cls(**{**dumped, 'scenario': Scenario(**dumped['scenario'])})


def record_all() -> dict[str, Recorded]:
    """By the scenario's name."""
    site = Site().start()
    try:
        return {str(scenario): record(site, scenario) for scenario in SCENARIOS}
    finally:
        site.stop()


def record(site: Site, scenario: Scenario) -> Recorded:
    """Run it, with nothing in its way."""
    points = Points()
    with trial(site, scenario) as made:
        first = made.karbor.worker(FIRST)
        made.karbor.watch(points)
        first.ask('start')
        made.accept(first)
        made.wait_until_ended()
        made.until(lambda: first.ask('is_idle'), 'the worker is idle')
        outcome = made.outcome()
        assert not outcome.duplicates and not outcome.orphans, outcome
        return Recorded(scenario, points.passed, outcome.world)
