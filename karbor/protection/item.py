# SPDX-License-Identifier: Apache-2.0
"""A resource between its row and its plugin, and whether what the plugin answers makes sense."""

import copy
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from oslo_utils import timeutils

from karbor import statuses
from karbor.plugins.interface import Assignment, Resource, State, Work
from karbor.protection import run as runs
from karbor.protection.patience import Patience

Handle = dict[str, Any]


@dataclass(slots=True)
class Item:
    """A resource that the wave works on, between its row and its plugin."""

    position: int
    resource: Resource
    work: Work
    hooks: int
    handle: Handle | None
    attempt: int
    shown: tuple[Any, ...]  # status, details and progress, as written
    new_id: str | None
    begun: float = field(default_factory=time.monotonic)
    patience: Patience = field(default_factory=Patience)
    not_before: float = 0.0  # monotonic; when a call that met a passing fault is made again
    recorded: Handle | None = None  # the handle as it was written
    assignment: Assignment = field(init=False, repr=False)  # only while it is worked on: it is large

    @property
    def instant(self) -> bool:
        """Whether its work is done when `start` returns."""
        return type(self.work).poll is Work.poll


def checked_handle(handle: Any) -> Handle:
    """``handle``, if it is an object that the database can keep. Raises TypeError."""
    if handle is None:
        return {}
    if not isinstance(handle, dict):
        raise TypeError(f'a handle has to be a dictionary, not {type(handle).__name__}')
    orjson.dumps(handle, option=orjson.OPT_NON_STR_KEYS)
    return handle


def checked_state(state: Any) -> State | BaseException:
    """``state``, or what is wrong with it."""
    if not isinstance(state, State):
        return state if isinstance(state, BaseException) else TypeError(f'{type(state).__name__} is no State')
    if not isinstance(state.progress, int | None) or not isinstance(state.extra, Mapping | None):
        return TypeError('progress has to be a whole number, extra an object')
    if not isinstance(state.new_id, str | None) or statuses.clean(state.new_id, 255) != state.new_id:
        return TypeError('new_id has to be a text of at most 255 printable characters')
    try:
        orjson.dumps(dict(state.extra or {}), option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, orjson.JSONEncodeError) as wrong:
        return wrong
    return state


def items_of(rows: Iterable[Any], run: runs.Run) -> list[Item]:
    """The items of rows whose resource has work to do; resources of one kind share a `Work`."""
    return [_item(row, run) for row in rows]


def _item(row: Any, run: runs.Run) -> Item:
    resource = run.graph.nodes[row.position]
    work = run.work_on(resource)
    assert work is not None  # noqa: S101  the caller let only those through
    item = Item(
        position=row.position,
        resource=resource,
        work=work,
        hooks=row.hooks,
        handle=row.handle,
        attempt=row.attempt,
        shown=(row.status, row.status_details, row.progress),
        new_id=row.new_id,
        recorded=copy.deepcopy(row.handle),
    )
    if row.started_at is not None:
        item.begun -= timeutils.delta_seconds(row.started_at, timeutils.utcnow())
    return item
