# SPDX-License-Identifier: Apache-2.0
"""How soon another worker goes on after kill -9: operations on the sandbox cloud, each killed at another boundary.

`python bench_takeover.py` prints JSON lines, first for a lease of 1.5 s, then for the default one: takeover_p50_s and
takeover_p99_s (from the kill to the next claim), kills, duplicates, orphans. Several operations run at once.
"""

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any

import karbor.native_threads  # noqa: F401 isort: skip

from karbor.conf import protection
from karbor.tests.faults import disturb, figures
from karbor.tests.faults.recorded import Recorded, record
from karbor.tests.faults.site import LEASE, Site
from karbor.tests.faults.trial import Scenario

KILLS = 50
AT_ONCE = 5
NAMES = ('takeover_p50_s', 'takeover_p99_s', 'kills', 'duplicates', 'orphans')
OPTIONS = {option.name: option.default for option in protection.OPTIONS['protection']}
LEASES = (LEASE, OPTIONS['lease_seconds'])


def measure(leases: Sequence[float] = LEASES, kills: int = KILLS) -> Iterator[dict[str, Any]]:
    """The figures of so many kills for each of the leases (seconds)."""
    site = Site().start()
    try:
        recorded = [record(site, Scenario('protect', kind)) for kind in ('share', 'database')]
        cases = list(itertools.islice(itertools.cycle(_cases(recorded)), kills))
        for lease in leases:
            yield from _of_lease(site, cases, lease)
    finally:
        site.stop()


def _cases(recorded: Sequence[Recorded]) -> list[tuple[Scenario, str]]:
    """Boundaries between claim and end. The calls of the cloud are left out: there is one cloud for all."""
    found = []
    for one in recorded:
        begin, end = one.points.index('claim: after'), one.points.index('step End: before')
        found += [(one.scenario, p) for p in one.points[begin:end] if not p.startswith(disturb.CALLS)]
    return found


def _of_lease(site: Site, cases: Sequence[tuple[Scenario, str]], lease: float) -> Iterator[dict[str, Any]]:
    options = {'lease_seconds': lease, 'claim_interval': OPTIONS['claim_interval'], 'sees_calls': False}
    with futures.ThreadPoolExecutor(AT_ONCE) as pool:
        made = [pool.submit(disturb.repeated, disturb.kill, site, *case, **options) for case in cases]
        told = [one.result().told(kills=1) for one in made]
    for figure in figures.of(told, database='sqlite', transport='local', lease_s=lease):
        if figure['name'] in NAMES:
            yield figure


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=KILLS)
    parser.add_argument('--lease', type=float, action='append', help='seconds; may be repeated')
    told = parser.parse_args()
    for figure in measure(told.lease or LEASES, told.kills):
        print(json.dumps(figure), flush=True)


if __name__ == '__main__':
    main()
