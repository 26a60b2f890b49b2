# SPDX-License-Identifier: Apache-2.0
"""One run of one operation by one worker: what its flow works on, and the transactions that only the owner can make."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import futurist
import sqlalchemy as sa
from oslo_config import cfg
from sqlalchemy import orm
from taskflow import exceptions as taskflow_exceptions

from karbor import credentials, exception, parameters, statuses
from karbor.clients import Cloud
from karbor.db import engine, models, repository
from karbor.objects import operation_resource
from karbor.objects.restore import Restore
from karbor.plugins.banks import interface as banks
from karbor.plugins.banks import layout
from karbor.plugins.banks.patient import PatientBank
from karbor.plugins.interface import Assignment, Resource, Work
from karbor.protection import checkpoint as checkpoints
from karbor.protection import graph as graphs
from karbor.protection.places import Places
from karbor.protection.provider import Provider
from karbor.statuses import OperationType

CONF = cfg.CONF
NOT_STARTED = 'not started: a resource that it depends on failed'
CANCELLED = 'cancelled'
OPERATION = models.OperationLog
TABLE = repository.table_of(OPERATION)
ROW = TABLE.c


class Interrupted(taskflow_exceptions.ExecutionFailure):
    """The run stops, the operation did not fail: the database is away, the claim is lost or the service stops.

    Nothing is reverted; the next run goes on where the rows stand.
    """


class LostClaim(Interrupted):
    """Another worker owns the operation: not one more write, not one more call."""


class OperationFailed(Exception):
    """A resource failed, and so the operation does. ``reason`` is its first cause, as a tenant may read it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Cancelled(OperationFailed):
    """The user wants the operation no more: what it has made is removed, what others made before stays."""

    def __init__(self) -> None:
        super().__init__(CANCELLED)


@dataclass
class Pools:
    """Pools of threads beside the conductor's slots, and the places of resources in them. One pool shared by all
    would let waves wait for their own hooks for ever. ``waiting`` is for calls that last for hours, so that they
    hold up no others.
    """

    hooks: futurist.ThreadPoolExecutor
    polls: futurist.ThreadPoolExecutor
    waiting: futurist.ThreadPoolExecutor
    places: Places = field(default_factory=Places)

    @classmethod
    def make(cls) -> 'Pools':
        return cls(
            futurist.ThreadPoolExecutor(max_workers=CONF.protection.hook_threads),
            futurist.ThreadPoolExecutor(max_workers=CONF.protection.poll_threads),
            futurist.ThreadPoolExecutor(max_workers=CONF.protection.waiting_threads),
        )

    def close(self) -> None:
        for pool in (self.hooks, self.polls, self.waiting):
            pool.shutdown(wait=False)


@dataclass
class Run:
    """``operation`` is the row as it was claimed, with the ``epoch`` of this run; ``stopping`` tells it to
    hand over, ``cancelled`` to clean up and end. ``source`` is the checkpoint of which ``checkpoint`` becomes a copy.
    """

    operation: models.OperationLog
    provider: Provider
    checkpoint: models.CheckpointRecord
    installation_id: str
    containers: set[str]
    children_of: Callable[[Cloud, Resource], Any]
    pools: Pools
    stopping: threading.Event
    is_owner: Callable[[], bool] = lambda: True
    source: models.CheckpointRecord | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    graph: graphs.Graph = field(default_factory=graphs.Graph)
    new_ids: dict[tuple[str, str], str] = field(default_factory=dict)
    cut_at: float = math.inf  # monotonic; when a cancelled run is late
    unheard: set[int] = field(default_factory=set)  # positions whose start had not answered when the run had to end
    done: int = 0
    works: dict[type[Work], Work] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.operation.id

    @property
    def operation_type(self) -> str:
        return self.operation.operation_type

    @property
    def makes_checkpoint(self) -> bool:
        """Whether the operation makes its checkpoint: nothing of it is kept when it fails."""
        return self.operation_type in statuses.MAKING_CHECKPOINTS

    @cached_property
    def cloud(self) -> Cloud:
        """The cloud as the user of this operation sees it; a session is made when a plugin first asks for a client."""
        operation = self.operation
        who = (operation.project_id, operation.user_id)
        return Cloud(lambda: credentials.session(operation), *who, allow=self.check_lease)

    @cached_property
    def restore(self) -> Restore | None:
        return Restore.get(self.operation.restore_id) if self.operation.restore_id else None

    @cached_property
    def bank(self) -> banks.Bank:
        """The provider's bank: it is waited for when it is away, and changed only while this run owns the operation."""
        seconds = CONF.protection.bank_retry_seconds
        return PatientBank(self.provider.bank, seconds, self.check_owner, self.check_lease, self._settle)

    def _settle(self) -> None:
        for row in filter(None, (self.checkpoint, self.source)):
            checkpoints.settle(self.provider.bank, row.id, self.stopping, installation_id=self.installation_id)

    def load_graph(self) -> bool:
        """Whether the checkpoint has a graph already, that of its source if it is a copy; then ``graph`` is it."""
        if not self.graph.nodes:
            text = checkpoints.read_graph(self.bank, (self.source or self.checkpoint).id)
            self.graph = graphs.parse(text) if text else graphs.Graph()
        return bool(self.graph.nodes)

    def cancel(self) -> None:
        """Let the run clean up and end, within `cancel_timeout`."""
        if not self.cancelled.is_set():
            self.cut_at = time.monotonic() + CONF.protection.cancel_timeout - 1
            self.cancelled.set()

    def check(self) -> None:
        """Raise Interrupted if this run has to end now, Cancelled if the operation has to."""
        self.check_owner()
        if self.cancelled.is_set():
            raise Cancelled()

    def check_cancelled(self) -> None:
        """In a guarded transaction: raise Cancelled if somebody has asked for that, heard of or not."""
        if repository.count(OPERATION, ROW.id == self.id, ROW.cancel_requested == sa.true()):
            self.cancel()
            raise Cancelled()

    def check_owner(self) -> None:
        """Raise Interrupted if another run is to go on with this, whatever is left to do."""
        self.check_lease()
        if self.stopping.is_set():
            raise Interrupted('the service stops')

    def check_lease(self) -> None:
        """Raise LostClaim if somebody else may own the operation: a worker that was paused starts nothing more."""
        if not self.is_owner():
            raise LostClaim(f'the lease of operation {self.id} has run out')

    def progress(self) -> dict[str, Any]:
        """What the operation's row tells while waves run."""
        word = statuses.CANCELLING if self.cancelled.is_set() else statuses.running(self.operation_type)
        return {'status_details': f'{word}: {self.done} of {self._to_do} resources done'}

    @cached_property
    def _to_do(self) -> int:
        return sum(self.work_for(node) is not None for node in self.graph.nodes)

    @contextmanager
    def guarded(self, **told: Any) -> Iterator[orm.Session]:
        """A transaction in which this run is for sure the owner of the operation; ``told`` is written to its row.

        It begins with a write of the operation's row and raises LostClaim when another run has raised the epoch, or
        may do so now.
        """
        self.check_lease()
        with engine.writing() as session:
            owned = sa.update(TABLE).where(ROW.id == self.id, ROW.epoch == self.operation.epoch)
            values = {'beat': ROW.beat + 1} | told
            if repository.matched(session, owned.values(**values)) != 1:
                raise LostClaim(f'operation {self.id} has another owner')
            yield session

    def note_handle(self, resource: Resource, handle: dict[str, Any]) -> None:
        """From any thread: write the handle of the resource at once. Raises Interrupted when that is not sure."""
        try:
            self._write_handle(self.graph.positions[resource.key], handle)
        except engine.PASSING_FAULTS as fault:
            raise Interrupted(f'database: {type(fault).__name__}') from fault

    @engine.repeated
    def _write_handle(self, position: int, handle: dict[str, Any]) -> None:
        with self.guarded():
            repository.update(models.OperationResource, (self.id, position), {'handle': handle})

    def work_for(self, resource: Resource) -> type[Work] | None:
        """The class that does this operation's work on the resource; None for a container or a type without plugin."""
        protection = self.provider.protections.get(resource.type)
        return getattr(protection, self.operation_type) if protection and resource.type not in self.containers else None

    def work_on(self, resource: Resource) -> Work | None:
        """What does the work: one object of `work_for` for all resources and waves of this run."""
        made = self.work_for(resource)
        if made is not None and made not in self.works:
            self.works[made] = made(self.provider.config)
        return self.works[made] if made else None

    @cached_property
    def bank_keys(self) -> dict[tuple[str, str], str]:
        return layout.resource_keys([node.key for node in self.graph.nodes])

    def section(self, resource: Resource, of: models.CheckpointRecord | None = None) -> banks.Section:
        """The bank below the resource's prefix in the operation's checkpoint, or in another one."""
        id = (of or self.checkpoint).id
        return banks.Section(self.bank, layout.resource_section(id, self.bank_keys[resource.key]))

    def assignment(self, resource: Resource, attempt: int) -> Assignment:
        """What a plugin's method is told about the resource."""
        key = self.bank_keys[resource.key]
        return Assignment(
            operation_id=self.id,
            operation_type=self.operation_type,
            project_id=self.operation.project_id,
            checkpoint_id=self.checkpoint.id,
            resource=resource,
            tag=f'{self.installation_id}/{self.id}/{key}/{attempt}',
            attempt=attempt,
            parameters=parameters.of_resource(self._options, resource.type, resource.id),
            section=self.section(resource),
            cloud=self.cloud,
            new_ids=self.new_ids,
            restore=self.restore,
            protected=self._protected.get(resource.key),
            source=self.section(resource, self.source) if self.source else None,
            operation_started_at=self.operation.started_at,
            run=self,
        )

    @cached_property
    def _protected(self) -> dict[tuple[str, str], Any]:
        """For a delete: the handles of the operation that made the checkpoint."""
        if self.operation_type != OperationType.DELETE or not self.checkpoint.operation_id:
            return {}
        return operation_resource.handles(self.checkpoint.operation_id)

    @cached_property
    def _options(self) -> dict[str, Any]:
        """The options of the plan or restore, in the types of the schemas: Karbor 1.6 stored text."""
        kind = _SCHEMAS.get(OperationType(self.operation_type), 'restore_schema')
        schemas = {type: self.provider.schema(kind, type) for type in self.provider.protections}
        return parameters.coerced(self.operation.parameters, schemas)


_SCHEMAS = {
    **dict.fromkeys(statuses.MAKING_CHECKPOINTS, 'options_schema'),
    OperationType.VERIFY: 'verify_schema',
}


def installation_id() -> str:
    """The id of this Karbor. Raises ConfigurationError when the database was never synced."""
    row = next(iter(repository.find(models.Installation, limit=1)), None)
    if row is None:
        raise exception.ConfigurationError(reason='the database has no installation id: run karbor-manage db sync')
    return row.id


def first_cause(failed: Sequence[models.OperationResource]) -> str:
    """The reason of the resource that failed first, and its name; ``failed`` is not empty."""
    ordered = sorted(
        failed, key=lambda row: (NOT_STARTED in (row.status_details or ''), str(row.ended_at), row.position)
    )
    return f'{ordered[0].resource_type} {ordered[0].resource_id}: {ordered[0].status_details}'


def told(fault: BaseException) -> str:
    """What a tenant reads of a fault: its own words if it is one of ours, else that it was unexpected."""
    if isinstance(fault, OperationFailed):
        return fault.reason
    if isinstance(fault, exception.BankError):
        return exception.BackendFault('bank', 'karbor').text
    if isinstance(fault, exception.KarborError) and not isinstance(fault, exception.ConfigurationError):
        return fault.text
    return exception.BackendFault('internal', 'karbor').text
