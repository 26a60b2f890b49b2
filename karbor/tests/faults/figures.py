# SPDX-License-Identifier: Apache-2.0
"""Figures of disturbed operations, in the form of `make bench`."""

import datetime
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def of(told: Iterable[Mapping[str, Any]], **more: Any) -> Iterator[dict[str, Any]]:
    """Figures of what the cases told: kills, stops, takeover (seconds from the kill to the next claim, or None),
    cloud_faults, duplicates, orphans, lost (leases of workers that nobody disturbed).
    """
    cases = list(told)
    takeovers = sorted(case['takeover'] for case in cases if case.get('takeover') is not None)
    for name in ('kills', 'stops', 'cloud_faults', 'lost', 'duplicates', 'orphans'):
        yield _figure(name, sum(case.get(name, 0) for case in cases), 'number', more)
    if takeovers:
        yield _figure('takeover_p50_s', _percentile(takeovers, 50), 's', more)
        yield _figure('takeover_p99_s', _percentile(takeovers, 99), 's', more)


def _percentile(values: list[float], percent: int) -> float:
    """The smallest of the sorted ``values`` that so many percent of them do not exceed."""
    return float(f'{values[-(-len(values) * percent // 100) - 1]:.4g}')


def _figure(name: str, value: float, unit: str, more: Mapping[str, Any]) -> dict[str, Any]:
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
    machine = (
        f'{platform.system()} {platform.release()}, {os.cpu_count()} processors, Python {platform.python_version()}'
    )
    return {'name': name, 'value': value, 'unit': unit, **more, 'when': when, 'machine': machine}
