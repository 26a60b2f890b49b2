# SPDX-License-Identifier: Apache-2.0
import pecan.core
import pecan.routing
import pecan.util

from karbor.api import pecan_speed
from karbor.tests import fixtures


def test_signatures_are_asked_for_where_they_are_remembered() -> None:
    """Fails when Pecan asks elsewhere, or no more: `pecan_speed` is without effect then."""
    pecan_speed.apply()
    remembered = pecan.core.getargspec
    assert remembered is pecan.routing.getargspec
    assert remembered.__wrapped__ is pecan.util.getargspec
    with fixtures.service() as service:
        service.get('/v1')
        before = remembered.cache_info()
        service.get('/v1')
        after = remembered.cache_info()
    assert after.hits == before.hits + 2
    assert after.misses == before.misses
