# SPDX-License-Identifier: Apache-2.0
"""Two workers on one job: one has it, the other keeps off, whoever is faster and however long it takes."""

from collections.abc import Callable
from typing import Any

import pytest

from karbor.tests.faults import disturb
from karbor.tests.faults.points import FIRST, Points
from karbor.tests.faults.recorded import Recorded
from karbor.tests.faults.site import LEASE, Site
from karbor.tests.faults.trial import SECOND, trial

pytestmark = pytest.mark.faults


def cases(test: str, recorded: dict[str, Recorded]) -> list[str]:
    return list(recorded)


def test_one_gets_it_when_both_look_at_once(
    case: str, site: Site, recorded: dict[str, Recorded], record_property: Callable[[str, Any], None]
) -> None:
    reference = recorded[case]
    with trial(site, reference.scenario) as made:
        workers = [made.karbor.worker(FIRST), made.karbor.worker(SECOND)]
        for worker in workers:
            worker.ask('start')
        made.accept(workers[0])
        result = disturb.ended(made, *workers)
    record_property('faults', result.told())
    result.check(reference, disturbances=0)


def test_the_slower_one_gets_nothing(
    case: str, site: Site, recorded: dict[str, Recorded], record_property: Callable[[str, Any], None]
) -> None:
    """It has seen the job, and claims it when the other one has it already."""
    reference = recorded[case]
    with trial(site, reference.scenario) as made:
        points = Points('claim: before')
        first, second = made.karbor.worker(FIRST), made.karbor.worker(SECOND)
        made.karbor.watch(points)
        first.ask('start')
        made.accept(first)
        assert points.wait()
        second.ask('start')
        made.until(lambda: (SECOND, 'claim: after') in points.times, 'the second worker has claimed it')
        points.release()
        result = disturb.ended(made, first, second)
    record_property('faults', result.told())
    assert (FIRST, 'claim: after') not in points.times
    result.check(reference, disturbances=0)


def test_nobody_takes_over_from_who_is_only_slow(
    case: str, site: Site, recorded: dict[str, Recorded], record_property: Callable[[str, Any], None]
) -> None:
    """A call of the cloud takes longer than two leases, and the heartbeat goes on."""
    reference = recorded[case]
    # The first call of its kind: how many polls there are depends on the machine.
    slow = next(p for p in reversed(reference.points) if p.startswith(('manila', 'trove')) and not p.endswith(')'))
    with trial(site, reference.scenario) as made:
        points = Points(slow, drops=False)
        first, second = made.karbor.worker(FIRST), made.karbor.worker(SECOND)
        made.karbor.watch(points)
        first.ask('start')
        made.accept(first)
        second.ask('start')
        assert points.wait()
        until = made.operation['expires_at'] + 2 * LEASE
        made.until(lambda: made.operation['expires_at'] > until or made.operation['epoch'] > 1, 'two leases are over')
        points.release()
        result = disturb.ended(made, first, second)
    record_property('faults', result.told())
    result.check(reference, disturbances=0)
