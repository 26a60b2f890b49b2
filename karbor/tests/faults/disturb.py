# SPDX-License-Identifier: Apache-2.0
"""What is done to a worker at a point: it is killed, or stopped for longer than its lease; another takes over."""

import contextlib
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from karbor.db import models
from karbor.tests.faults.points import FIRST, SECONDS, Points
from karbor.tests.faults.recorded import Recorded
from karbor.tests.faults.site import Killed, Site, Worker
from karbor.tests.faults.trial import SECOND, Outcome, Scenario, Trial, trial

TRIES = 5
RARE = ('project', 'in_place')
TRUST_MADE = 'keystone POST /OS-TRUST/trusts: done'
CALLS = ('keystone', 'manila', 'trove')
CHANGING = ('POST', 'PUT', 'PATCH', 'DELETE')


class NotReached(Exception):
    """The operation ended before the worker was at the point: groups of rows are written as time has it."""


@dataclass
class Result:
    """How it ended; the seconds from the kill to the next claim, where there was one; how often a worker lost its
    lease because the machine was too slow for it; and how many trusts a worker can have left that was killed when
    Keystone had made one, and nobody knew of it yet.
    """

    outcome: Outcome
    takeover: float | None = None
    lost: int = 0
    lost_trusts: int = 0

    def told(self, **more: int) -> dict[str, Any]:
        """For the figures."""
        superfluous = {'duplicates': len(self.outcome.duplicates), 'orphans': len(self.outcome.orphans)}
        return {'takeover': self.takeover, 'lost': self.lost, **superfluous, **more}

    def check(self, reference: Recorded, disturbances: int = 1) -> None:
        """Raise AssertionError unless it ended as the undisturbed run did."""
        assert self.outcome.duplicates == []
        assert self.outcome.orphans == []
        assert self.outcome.world == reference.world
        assert self.outcome.epoch <= 1 + disturbances + self.lost
        assert self.outcome.trusts <= 1 + self.lost_trusts


@dataclass(frozen=True)
class Case:
    """A point of a scenario at which a worker is disturbed."""

    scenario: str
    point: str

    def __str__(self) -> str:
        return f'{self.scenario}-{self.point}'


def chosen(recorded: Recorded) -> list[str]:
    """The points of the scenario that are tried: all of them if the environment has KARBOR_TEST_ALL set.

    Else those are left out after which nothing happens before the next one, Keystone's where another scenario has
    them, and the most of the scenarios in RARE.
    """
    if os.environ.get('KARBOR_TEST_ALL'):
        return recorded.points
    return [point for point in recorded.points if _is_chosen(recorded.scenario, point)]


def _is_chosen(scenario: Scenario, point: str) -> bool:
    if scenario.kind in RARE:
        return point.startswith(('manila POST', 'trove POST', 'manila GET /shares/detail'))
    if point.startswith('keystone'):
        return scenario == Scenario('protect', 'share')
    return not re.match(r'(bank|step|claim).*: after', point)


def repeated(once: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """What ``once`` answers as soon as the point is reached. Raises NotReached when it never is."""
    for _ in range(TRIES - 1):
        try:
            return once(*arguments, **options)
        except NotReached:
            pass
    return once(*arguments, **options)


def kill(site: Site, scenario: Scenario, point: str, sees_calls: bool = True, **options: Any) -> Result:
    """Kill the first worker at the point; the second ends the operation."""
    with trial(site, scenario, **options) as made:
        points = Points(point)
        first, second, accepting = _begin(made, points, sees_calls)
        second.ask('start')
        killed_at = first.kill()
        points.release()
        accepting.join(SECONDS)
        if made.operation is None:  # the client got no answer, and asks again
            made.accept(second)
            killed_at = float('inf')
        _finish(made, second)
        claimed_at = points.times.get((SECOND, 'claim: after'), 0.0)
        takeover = claimed_at - killed_at if claimed_at > killed_at else None
        return Result(made.outcome(), takeover, interruptions(first) + interruptions(second), point == TRUST_MADE)


def stop(site: Site, scenario: Scenario, point: str, **options: Any) -> Result:
    """Stop the first worker at the point, until the second has ended the operation; then it comes back.

    Raises AssertionError when it changes anything after that; the one write of the bank in which it was stopped may
    come to its end.
    """
    with trial(site, scenario, **options) as made:
        points = Points(point, drops=False)
        first, second, accepting = _begin(made, points)
        first.freeze(points)
        points.release()
        if made.operation is None:
            made.accept(second)
        was_ended = made.operation['ended_at']
        second.ask('start')
        _finish(made, second)
        before = _everything(made)
        first.thaw()
        accepting.join(SECONDS)
        made.until(lambda: first.ask('is_idle'), 'the worker that was stopped gives up')
        after = _everything(made)
        if not was_ended:  # then it is still the owner's
            for what in before:
                told = f'the worker that was stopped has changed {what}\n{made.karbor.logs()}'
                assert after[what] == before[what], told
            # It writes the index once more, as the row says: what it was stopped in may have come after that.
            begun = [name for name in points.later if re.match('bank (write|delete).*: before', name)]
            begun = [name for name in begun if 'index.json' not in name]
            assert not begun, f'the worker that was stopped went on in the bank: {begun}'
        # The first one is interrupted once, by what was done to it.
        lost = max(0, interruptions(first) - 1) + interruptions(second)
        return Result(made.outcome(), lost=lost, lost_trusts=int(point.startswith('keystone')))


def ended(made: Trial, *workers: Worker, seconds: float = SECONDS) -> Result:
    """How it ended, once the operation has and the workers are idle."""
    for worker in workers:
        _finish(made, worker, seconds)
    return Result(made.outcome(), lost=sum(map(interruptions, workers)))


def interruptions(worker: Worker) -> int:
    """How often a worker was interrupted: one that nobody disturbed, by a machine that is too slow for its lease."""
    return worker.log().count('was interrupted')


def _begin(made: Trial, points: Points, sees_calls: bool = True) -> tuple[Worker, Worker, threading.Thread]:
    """Two workers, of which the first is held at the target, and the thread that waits for its accept.

    Raises NotReached.
    """
    first = made.karbor.worker(FIRST)
    made.karbor.watch(points, sees_calls)
    first.ask('start')
    accepting = threading.Thread(target=_accept, args=(made, first), daemon=True)
    accepting.start()
    second = made.karbor.worker(SECOND)
    made.until(lambda: points.arrived.is_set() or _is_over(made, first), f'the worker is at {points.target}')
    if not points.arrived.is_set():
        raise NotReached(f'{points.target} is not among {points.passed}')
    return first, second, accepting


def _accept(made: Trial, worker: Worker) -> None:
    with contextlib.suppress(Killed):  # the client asks again
        made.accept(worker)


def _is_over(made: Trial, first: Worker) -> bool:
    operation = made.operation
    return bool(operation and operation['ended_at']) and first.ask('is_idle')


def _finish(made: Trial, second: Worker, seconds: float = SECONDS) -> None:
    made.wait_until_ended(seconds)
    made.until(lambda: second.ask('is_idle'), 'the second worker is idle')


def _everything(made: Trial) -> dict[str, Any]:
    """Everything that a worker could have changed."""
    calls = made.sandbox.faults.calls()
    bank = made.karbor.folder / 'bank'
    return {
        'rows': {table.name: made.table(table) for table in models.Base.metadata.sorted_tables},
        'bank': {str(p): p.read_text() for p in bank.rglob('*') if p.is_file() and ',' not in p.name},
        'the cloud': made.outcome().world['made'],
        'calls': {
            (service, route): number
            for service, routes in calls.items()
            for route, number in routes.items()
            if route.startswith(CHANGING) and service != 'keystone'
        },
    }
