# SPDX-License-Identifier: Apache-2.0
"""What holds for every test."""

from typing import Any

# Before any test module imports oslo.messaging: native threads, as in every process of Karbor.
import karbor.native_threads  # noqa: F401 isort: skip
from futurist import _thread

# How long an idle thread of futurist does not hear that its pool was shut down: a second for each test is minutes.
_thread.ThreadWorker.MAX_IDLE_FOR = 0.05  # type: ignore[assignment]


def pytest_itemcollected(item: Any) -> None:
    """gabbi's plugin takes every test whose parameters hold a colon for one of its own; types of resources do."""
    if getattr(item, 'originalname', None) != 'test_pytest':
        item.name = item.name.replace(':', '.')
