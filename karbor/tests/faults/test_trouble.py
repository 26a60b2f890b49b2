# SPDX-License-Identifier: Apache-2.0
"""A cloud that fails at random, by a table of seeds: 500, 429, 503, no answer or one too late; and kill -9 at that."""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from karbor.sandbox import faults
from karbor.tests.faults import disturb
from karbor.tests.faults.points import FIRST, Points
from karbor.tests.faults.recorded import Recorded
from karbor.tests.faults.site import Site
from karbor.tests.faults.trial import SECOND, Trial, trial

pytestmark = pytest.mark.faults

HTTP_TIMEOUT = 1
PATIENCE = 100.0  # seconds: each fault in a row doubles the pause before the next attempt
CHANCE = 0.02  # of each of the kinds, at each call: a start that makes six fails every other time
IN_A_ROW = 2
KINDS: list[dict[str, Any]] = [
    {'kind': 'status', 'status': 500},
    {'kind': 'status', 'status': 429, 'retry_after': 1},
    {'kind': 'status', 'status': 503},
    {'kind': 'drop_before'},
    {'kind': 'drop_after'},
    {'kind': 'timeout', 'seconds': 1.5 * HTTP_TIMEOUT},
]
SEEDS = range(200) if os.environ.get('KARBOR_TEST_ALL') else range(2)


@dataclass(frozen=True)
class Case:
    scenario: str
    seed: int

    def __str__(self) -> str:
        return f'{self.scenario}-{self.seed}'


def cases(test: str, recorded: dict[str, Recorded]) -> list[Case]:
    # What a project consists of is asked for once, and a fault of that ends the operation.
    return [Case(name, seed) for name, one in recorded.items() if one.scenario.kind != 'project' for seed in SEEDS]


class Whim(faults.Fault):
    """A fault of any call with a chance, decided by the seed, the kind, and how often the same was called before."""

    seed = 0
    in_a_row = 0

    def takes(self, service: str, method: str, path: str) -> bool:
        self.hits += 1
        dice = random.Random(f'{self.seed} {self.kind} {self.status} {faults.route(method, path)} {self.hits}')  # noqa: S311
        hit = dice.random() < CHANCE and self.in_a_row < IN_A_ROW
        self.in_a_row = self.in_a_row + 1 if hit else 0
        self.fired += hit
        return hit


def test_it_ends_as_if_the_cloud_never_failed(
    case: Case, site: Site, recorded: dict[str, Recorded], record_property: Callable[[str, Any], None]
) -> None:
    reference = recorded[case.scenario]
    with trial(site, reference.scenario, http_timeout=HTTP_TIMEOUT) as made:
        first = made.karbor.worker(FIRST)
        made.accept(first)
        whims = _trouble(made, case.seed)
        first.ask('start')
        result = disturb.ended(made, first, seconds=PATIENCE)
    record_property('faults', result.told(cloud_faults=sum(whim.fired for whim in whims)))
    result.check(reference, disturbances=0)


def test_it_ends_as_if_nothing_had_happened_when_the_worker_is_killed_at_that(
    case: Case, site: Site, recorded: dict[str, Recorded], record_property: Callable[[str, Any], None]
) -> None:
    reference = recorded[case.scenario]
    accepted = reference.points.index('claim: after')
    point = random.Random(case.seed).choice(reference.points[accepted:])  # noqa: S311
    with trial(site, reference.scenario, http_timeout=HTTP_TIMEOUT) as made:
        first, second = made.karbor.worker(FIRST), made.karbor.worker(SECOND)
        made.accept(first)
        points = Points(point)
        made.karbor.watch(points)
        whims = _trouble(made, case.seed)
        first.ask('start')
        made.until(lambda: points.arrived.is_set() or made.operation['ended_at'], f'the worker is at {point}', PATIENCE)
        second.ask('start')
        first.kill()
        points.release()
        result = disturb.ended(made, second, seconds=PATIENCE)
        result.lost += disturb.interruptions(first)
    record_property('faults', result.told(kills=1, cloud_faults=sum(whim.fired for whim in whims)))
    result.check(reference)


def _trouble(made: Trial, seed: int) -> list[Whim]:
    whims = []
    for kind in KINDS:
        whim = Whim('manila', '* .', **kind)
        whim.seed = seed
        whims.append(whim)
        made.sandbox.faults.set(whim)
    return whims
