# SPDX-License-Identifier: Apache-2.0
"""What a hook of a plugin written for Karbor 1.6 gets: checkpoint, context, restore, operation log, `new_resources`.

They look as they did; what is written to them ends in the rows of the operation's resources.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from karbor import exception, statuses
from karbor.db import models, repository
from karbor.plugins.banks import interface as banks
from karbor.plugins.banks import layout
from karbor.plugins.interface import Assignment
from karbor.plugins.legacy.bank_plugin import BankSection
from karbor.plugins.legacy.client_factory import Context
from karbor.plugins.legacy.polling import HookCall
from karbor.plugins.legacy.resource import Resource
from karbor.statuses import OperationType, ResourceStatus

Key = tuple[str, str]
# The key of a row's `extra` that is for the engine; users do not see it.
NOTE = '_legacy'
NEW_ID_LIMIT = 255


class Memory:
    """What the hooks of one run share, whatever plugin they are of."""

    def __init__(self, run: Any) -> None:
        self._run = run

    @classmethod
    def of(cls, run: Any) -> 'Memory':
        return run.kept.setdefault('legacy', cls(run))

    @cached_property
    def noted(self) -> dict[Key, dict[str, Any]]:
        """What runs before this one have left in the rows, by resource."""
        if self._run.operation.epoch <= 1:
            return {}
        columns = ['resource_type', 'resource_id', 'extra']
        rows = repository.find(
            models.OperationResource, columns, {'operation_id': self._run.id, 'extra': repository.Not(None)}
        )
        return {(row.resource_type, row.resource_id): row.extra for row in rows}

    @cached_property
    def keys(self) -> dict[str, list[Key]]:
        """(type, id) of the operation's resources by id."""
        found: dict[str, list[Key]] = {}
        for node in self._run.graph.nodes:
            found.setdefault(node.id, []).append(node.key)
        return found

    @cached_property
    def others(self) -> dict[Any, Any]:
        """What plugins put in `new_resources` for what is no resource of the operation."""
        found: dict[Any, Any] = {}
        for extra in self.noted.values():
            found.update(extra.get(NOTE, {}).get('new_resources', {}))
        return found

    @cached_property
    def roots(self) -> list['Node']:
        graph = self._run.graph
        nodes = [Node(legacy_resource(node)) for node in graph.nodes]
        for parent, children in graph.children.items():
            nodes[parent].child_nodes.extend(nodes[child] for child in children)
        return [node for position, node in enumerate(nodes) if position not in graph.parents]


@dataclass(eq=False)
class Node:
    """A resource of the graph: ``value``, and ``child_nodes`` of what depends on it."""

    value: Resource
    child_nodes: list['Node'] = field(default_factory=list)


def legacy_resource(resource: Any) -> Resource:
    return Resource(resource.type, resource.id, resource.name, resource.extra_info)


def context(run: Any) -> Context:
    """Who asked for the operation, with the credentials that it works with."""
    operation = run.operation
    return Context(run.cloud, roles=list(operation.roles or ()), request_id=operation.request_id)


class Checkpoint:
    """The checkpoint of an operation, or the source of a copy. Karbor writes it by itself: there is nothing to
    `commit`.
    """

    def __init__(self, work: Assignment, row: models.CheckpointRecord) -> None:
        self._run, self._resource = work.run, work.resource
        self.id, self.project_id, self.provider_id = row.id, row.project_id, row.provider_id
        is_changed = row is work.run.checkpoint and work.operation_type in _CHANGING
        self.status = statuses.running(work.operation_type) if is_changed else row.checkpoint_status
        self.extra_info, self.protection_plan = row.extend_info, row.protection_plan

    @property
    def resource_graph(self) -> list[Node]:
        """The roots of the graph."""
        return Memory.of(self._run).roots

    def commit(self) -> None:
        return None

    def get_resource_bank_section(self, resource_id: str, is_writable: bool = True) -> BankSection:
        """The part of the bank that is for the resource: of several with one id, the one that the hook is of."""
        key = resource_id
        if resource_id == self._resource.id:
            key = self._run.bank_keys[self._resource.key]
        elif resource_id in Memory.of(self._run).keys:
            key = self._run.bank_keys[Memory.of(self._run).keys[resource_id][0]]
        section = banks.Section(self._run.provider.bank, layout.resource_section(self.id, key))
        return BankSection(section, self._run.installation_id, is_writable)


_CHANGING = (*statuses.MAKING_CHECKPOINTS, OperationType.DELETE)


class Record:
    """The restore or verification of an operation. `save` has nothing to do: a report is written by itself."""

    def __init__(self, work: Assignment, call: HookCall) -> None:
        self._work, self._call = work, call
        self._said: tuple[ResourceStatus | None, str | None] = (None, None)
        row = _row_of(work)
        for name in ('id', 'project_id', 'provider_id', 'checkpoint_id', 'restore_target', 'status'):
            setattr(self, name, getattr(row, name, None))
        self.parameters = dict(work.run.operation.parameters or {})

    def update_resource_status(
        self, resource_type: str, resource_id: str, status: str, reason: str | None = None
    ) -> None:
        """Record the state of a resource, by its id or the new one's; ``status`` is any word of a plugin or cloud.

        An id that is not known yet is the new one of the resource that the hook is of.
        """
        resource_id = statuses.clean(str(resource_id), NEW_ID_LIMIT) or ''
        found, details = statuses.resource_status(status, reason)
        if self._is_own(resource_type, resource_id):
            self._said = found, details or status
            if found is ResourceStatus.ACTIVE:  # it is only when its last hook has returned
                found = ResourceStatus.BUILD
        assert self._work.tell is not None  # noqa: S101  a wave gives it
        key = (resource_type, resource_id)
        self._call.do(self._work.tell, key, status=found, status_details=details)

    @property
    def failure(self) -> str | None:
        """Why the resource of the hook failed, if that is the last that was said of it."""
        return self._said[1] if self._said[0] is ResourceStatus.ERROR else None

    def save(self) -> None:
        return None

    def _is_own(self, type: str, id: str) -> bool:
        run, own = self._work.run, self._work.resource.key
        if (type, id) in run.graph.positions:
            return (type, id) == own
        return not any(new == id and old[0] == type and old != own for old, new in list(run.new_ids.items()))


def _row_of(work: Assignment) -> Any:
    if work.restore is not None:
        return work.restore
    id = work.run.operation.verification_id
    return (repository.get(models.Verification, id) if id else None) or work.run.operation


class NewResources(MutableMapping[Any, Any]):
    """`new_resources`: ids of originals -> those of what the restore has made, shared by all hooks and plugins.

    What is put in is the ``new_id`` of the resource at once, and is still there when another service goes on.
    """

    def __init__(self, work: Assignment, call: HookCall, notes: dict[str, Any]) -> None:
        self._work, self._call, self._notes = work, call, notes
        self._run, self._memory = work.run, Memory.of(work.run)

    def _key(self, old: Any) -> Key | None:
        if old == self._work.resource.id:
            return self._work.resource.key
        known = self._memory.keys.get(old) if isinstance(old, str) else None
        return next((key for key in known or () if key in self._run.new_ids), known[0] if known else None)

    def __getitem__(self, old: Any) -> Any:
        key = self._key(old)
        if key in self._run.new_ids:
            return self._run.new_ids[key]
        return self._memory.others[old]

    def __setitem__(self, old: Any, new: Any) -> None:
        key = self._key(old)
        if key is None or not isinstance(new, str) or statuses.clean(new, NEW_ID_LIMIT) != new:
            self._memory.others[old] = new
            self._notes.setdefault('new_resources', {}).update(jsonable({str(old): new}))
            return
        assert self._work.tell is not None  # noqa: S101  a wave gives it
        self._call.do(self._work.tell, key, new_id=new)
        self._run.new_ids[key] = new

    def __delitem__(self, old: Any) -> None:
        """Only for what is no resource of the operation: what was made is not forgotten."""
        del self._memory.others[old]
        self._notes.get('new_resources', {}).pop(str(old), None)

    def __iter__(self) -> Iterator[Any]:
        yield from {id for _, id in list(self._run.new_ids)} | set(self._memory.others)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class OperationLog:
    """The operation's log. What a hook puts in ``extra_info`` (an object, or its JSON text) is shown there below
    the resource; ``error_info`` likewise, unless the hook fails: then it is the reason where the fault tells none.
    """

    _NAMES = ('id', 'project_id', 'operation_type', 'checkpoint_id', 'plan_id', 'provider_id', 'restore_id')
    _MORE = ('scheduled_operation_id', 'status', 'started_at', 'ended_at')

    def __init__(self, work: Assignment, call: HookCall, kept: Any) -> None:
        self._work, self._call, self._kept = work, call, kept
        for name in (*self._NAMES, *self._MORE):
            setattr(self, name, getattr(work.run.operation, name))
        self.error_info: Any = None
        self.extra_info: Any = dict(kept.extra) or None

    def update(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    def save(self) -> None:
        """Have ``extra_info`` and ``error_info`` written; without it, that is done when the hook returns."""
        self.note()
        assert self._work.tell is not None  # noqa: S101  a wave gives it
        self._call.do(self._work.tell, self._work.resource.key, extra=self._kept.written(self._work.attempt))

    def note(self) -> None:
        """Take over what the hook has set."""
        self._kept.extra = _object(self.extra_info)
        if self.error_info:
            self._kept.extra['error_info'] = statuses.clean(str(self.error_info))


def _object(told: Any) -> dict[str, Any]:
    """``told`` as an object that JSON can hold."""
    if isinstance(told, str):
        try:
            told = orjson.loads(told)
        except orjson.JSONDecodeError:
            return {'text': statuses.clean(told)}
    if told is None:
        return {}
    found = told if isinstance(told, Mapping) else {'value': told}
    try:
        plain = orjson.loads(orjson.dumps(dict(found), default=str, option=orjson.OPT_NON_STR_KEYS))
    except orjson.JSONEncodeError:
        plain = {'text': statuses.clean(str(told))}
    return {name: value for name, value in plain.items() if not name.startswith('_')}


def jsonable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``values`` that JSON can hold."""
    found = {}
    for name, value in values.items():
        try:
            found[name] = orjson.loads(orjson.dumps(value))
        except (TypeError, orjson.JSONEncodeError):
            continue
    return found


def lost(fault: BaseException) -> bool:
    """Whether a fault of a bank means that there is no copy."""
    return isinstance(fault.__cause__, exception.BankObjectNotFound)
