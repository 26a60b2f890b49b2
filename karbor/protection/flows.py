# SPDX-License-Identifier: Apache-2.0
"""The flow of an operation: short and linear, the same for all, whatever the number of resources.

    Begin -> BuildGraph | LoadGraph -> PrepareBegin -> PrepareFinish -> Main -> Complete -> End

Begin does little forward; its revert is the failure story: clean up, then mark operation and
checkpoint with the first cause. A hook that no plugin has work for is left out.
"""

import contextlib
import functools
import itertools
import operator
from collections.abc import Callable, Mapping
from typing import Any

from oslo_log import log
from oslo_utils import timeutils
from taskflow import engines, task
from taskflow.patterns import linear_flow

from karbor import exception, statuses
from karbor.db import engine, models, repository
from karbor.objects.checkpoint import as_copied
from karbor.plugins.interface import Hook, Resource
from karbor.protection import checkpoint, cleanup, events, graph
from karbor.protection.patience import waiting
from karbor.protection.run import Interrupted, OperationFailed, Run, first_cause, told
from karbor.protection.wave import Wave
from karbor.statuses import CheckpointStatus, OperationType, ResourceStatus, RestoreStatus

LOG = log.getLogger(__name__)
ERROR_INFO_LIMIT = 4096
ROWS_AT_ONCE = 1000  # inserted by one statement: the driver needs several times their size


def build(run: Run) -> linear_flow.Flow:
    """The flow of ``run``."""
    flow = linear_flow.Flow(f'{run.operation_type}-{run.id}')
    flow.add(Begin(run), BuildGraph(run) if run.operation_type == OperationType.PROTECT else LoadGraph(run))
    made = [getattr(protection, run.operation_type) for protection in run.provider.protections.values()]
    hooks = functools.reduce(operator.or_, (work.hook for work in made if work is not None), Hook(0))
    flow.add(*(RunHook(run, hook) for hook in Hook if hook in hooks))
    return flow.add(End(run))


def execute(run: Run) -> None:
    """Run the flow to its end. Raises Interrupted when another run has to go on; everything else ended the
    operation.
    """
    engines.load(build(run), engine='serial').run()


def _interruptible(step: Callable[..., Any]) -> Callable[..., Any]:
    """A fault of the database is no failure of the operation."""

    @functools.wraps(step)
    def taken(*arguments: Any, **named: Any) -> Any:
        try:
            return step(*arguments, **named)
        except engine.PASSING_FAULTS as fault:
            raise Interrupted(f'database: {type(fault).__name__}') from fault

    return taken


class Step(task.Task):
    """A task of one run."""

    def __init__(self, run: Run, name: str | None = None) -> None:
        super().__init__(name or type(self).__name__)
        self.run = run


class Begin(Step):
    """Marks the operation as running, and a new checkpoint as known in its bank; reverting ends both in error."""

    @_interruptible
    def execute(self) -> None:
        run = self.run
        if run.operation.error_info:  # a run before this one had begun to end it
            raise OperationFailed(run.operation.error_info)
        run.check()
        started = run.operation.started_at or timeutils.utcnow()
        with run.guarded(status=statuses.running(run.operation_type), started_at=started, status_details='started'):
            run.operation.started_at = started
            if run.source is not None:
                copying = {'checkpoint_status': CheckpointStatus.COPYING}
                repository.update(models.CheckpointRecord, run.checkpoint.id, copying)
        events.started(run.operation)
        if run.makes_checkpoint:
            word = statuses.running(run.operation_type)
            checkpoint.write_new(run.bank, run.checkpoint, word, installation_id=run.installation_id)

    def revert(self, flow_failures: Mapping[str, Any], **_: Any) -> None:
        failures = list(flow_failures.values())
        if any(f.check(Interrupted) for f in failures):
            return  # not ours to judge: the next run goes on
        fault = next((f.exception for f in failures if f.exception), RuntimeError('unknown'))
        if not isinstance(fault, (exception.KarborError, OperationFailed)):
            LOG.error('Operation %s failed unexpectedly.', self.run.id, exc_info=fault)
        reason = statuses.clean(told(fault), ERROR_INFO_LIMIT) or ''
        with self.run.guarded(error_info=reason, status_details=cleanup.telling(reason)):
            pass  # from here on nothing can make it succeed: what is removed below must not count as done
        with contextlib.suppress(exception.BankError):  # without a graph there are no rows, and nothing to clean up
            self.run.load_graph()
        finish(self.run, cleanup.after_failure(self.run, reason))


class BuildGraph(Step):
    """Finds what the plan's resources consist of, and writes a row for each resource; a repeated run takes the rows."""

    @_interruptible
    def execute(self) -> None:
        run = self.run
        if run.load_graph():
            _refuse_unsupported(run)
            return
        plan = run.checkpoint.protection_plan or {}
        named = [Resource(r['type'], r['id'], r['name'], r.get('extra_info')) for r in plan.get('resources', ())]
        run.graph = graph.build(named, lambda parent: waiting(run, lambda: run.children_of(run.cloud, parent)))
        _refuse_unsupported(run)
        with run.guarded() as session:
            _add_rows(run, session)


class LoadGraph(Step):
    """Takes the graph that the checkpoint was made with, and writes a row for each resource; a repeated run takes the
    rows.
    """

    @_interruptible
    def execute(self) -> None:
        run = self.run
        run.load_graph()
        _refuse_unsupported(run)
        known = repository.find(models.OperationResource, ['position', 'new_id'], {'operation_id': run.id})
        for row in known:
            if row.new_id:
                run.new_ids[run.graph.nodes[row.position].key] = row.new_id
        if not known and run.graph.nodes:
            with run.guarded() as session:
                _add_rows(run, session)


class RunHook(Step):
    """Runs one hook for all resources."""

    def __init__(self, run: Run, hook: Hook) -> None:
        super().__init__(run, f'{hook.name}')
        self.hook = hook

    @_interruptible
    def execute(self) -> None:
        Wave(self.run, self.hook).work()


class End(Step):
    """Tells how it ended: done, or failed with the first cause where some resources failed."""

    @_interruptible
    def execute(self) -> None:
        run = self.run
        run.check()
        failed = repository.find(
            models.OperationResource, filters={'operation_id': run.id, 'status': ResourceStatus.ERROR}
        )
        finish(run, cleanup.of_failed(run, failed, first_cause(failed)) if failed else None)


def _refuse_unsupported(run: Run) -> None:
    """Raise BackendFault for resources that no plugin can work on, unless they may be left out."""
    missing = [n for n in run.graph.nodes if n.type not in run.containers and run.work_for(n) is None]
    missing = [node for node in missing if not _may_be_left_out(run, node)]
    if missing:
        named = ', '.join(f'{n.type} {n.id}' for n in missing[:20])
        raise exception.BackendFault(
            'unsupported', 'karbor', detail=f'no loaded plugin can {run.operation_type} {named}'
        )


def _may_be_left_out(run: Run, node: Resource) -> bool:
    """A protect is told so by provider or plan. Afterwards, what was protected must never be forgotten."""
    if run.operation_type == OperationType.PROTECT:
        return bool(run.provider.skip_unsupported or (run.operation.parameters or {}).get('skip_unsupported'))
    return not run.section(node, run.source).list(limit=1)


def _add_rows(run: Run, session: Any) -> None:
    """A row for each resource, and the graph of a checkpoint that is made."""
    if run.makes_checkpoint:
        session.add(models.CheckpointGraph(checkpoint_id=run.checkpoint.id, graph=run.graph.text()))
    levels, nodes = run.graph.levels, enumerate(run.graph.nodes)
    while some := list(itertools.islice(nodes, ROWS_AT_ONCE)):
        rows = [
            {
                'operation_id': run.id,
                'position': position,
                'level': levels[position],
                'resource_type': node.type,
                'resource_id': node.id,
                'resource_name': node.name,
                'status_details': _unsupported(run, node),
            }
            for position, node in some
        ]
        session.execute(repository.table_of(models.OperationResource).insert(), rows)


def _unsupported(run: Run, node: Resource) -> str | None:
    if node.type in run.containers or run.work_for(node) is not None:
        return None
    return exception.BackendFault('unsupported', 'karbor').text


_CHECKPOINT_WORDS = {
    OperationType.PROTECT: (CheckpointStatus.AVAILABLE, CheckpointStatus.ERROR),
    OperationType.COPY: (CheckpointStatus.AVAILABLE, CheckpointStatus.ERROR),
    OperationType.DELETE: (CheckpointStatus.DELETED, CheckpointStatus.ERROR_DELETING),
}


def finish(run: Run, reason: str | None) -> None:
    """Write the end of the operation to the bank, then to all rows; ``reason`` is None for success."""
    word = _checkpoint_word(run.operation_type, reason)
    if word is not None:
        _finish_in_bank(run, word, reason is not None)
    extra_info = _extra_info(run)
    with run.guarded():
        if reason is None and run.operation_type != OperationType.DELETE:  # whose copies are gone
            run.check_cancelled()
        write_end(run.operation, reason, timeutils.utcnow(), extra_info)
    events.ended(run.id)


def write_end(operation: models.OperationLog, reason: str | None, now: Any, extra_info: Any = None) -> None:
    """Write the end of the operation to its row, its checkpoint's and its restore's or verification's, in the caller's
    transaction.
    """
    details = statuses.clean(reason)
    ended = {
        'status_details': details,
        'error_info': statuses.clean(reason, ERROR_INFO_LIMIT),
        'ended_at': now,
        'extra_info': extra_info,
        'updated_at': now,
    }
    end = statuses.done if reason is None else statuses.failed
    with engine.writing():
        repository.update(models.OperationLog, operation.id, {'status': end(operation.operation_type)} | ended)
        word = _checkpoint_word(operation.operation_type, reason)
        if word is not None:
            values = {'checkpoint_status': word, 'status_details': details, 'updated_at': now}
            repository.update(models.CheckpointRecord, operation.checkpoint_id, values)
        if operation.source_checkpoint_id and reason is None:
            for row in map(_checkpoint, (operation.checkpoint_id, operation.source_checkpoint_id)):
                repository.update(models.CheckpointRecord, row.id, {'extend_info': as_copied(row.extend_info)})
        ended = {'status': RestoreStatus.SUCCESS if reason is None else RestoreStatus.FAIL, 'updated_at': now}
        if operation.restore_id:
            repository.update(models.Restore, operation.restore_id, ended)
        if operation.verification_id:
            repository.update(models.Verification, operation.verification_id, ended)


def _checkpoint(id: str | None) -> Any:
    return repository.get(models.CheckpointRecord, id)


def _checkpoint_word(operation_type: str, reason: str | None) -> CheckpointStatus | None:
    words = _CHECKPOINT_WORDS.get(OperationType(operation_type))
    return words[reason is not None] if words else None


def _finish_in_bank(run: Run, word: str, failed: bool) -> None:
    try:
        if word == CheckpointStatus.DELETED:
            checkpoint.remove(run.bank, run.checkpoint)
        else:
            known = run.graph.nodes or run.load_graph()  # an index without its graph would be worth nothing
            text = run.graph.text() if known else None
            _write_index(run, run.checkpoint, word, text, failed)
            if run.source is not None:  # of a failed copy, too: it may have got as far as to mark its source
                text = checkpoint.read_graph(run.bank, run.source.id)
                _write_index(run, run.source, run.source.checkpoint_status, text, failed)
    except exception.BankError as fault:
        if not failed:
            raise
        LOG.error('The bank does not take the end of operation %s, which the database has: %s', run.id, fault)


def _write_index(run: Run, row: models.CheckpointRecord, word: str, graph: str | None, failed: bool) -> None:
    extra_info = as_copied(row.extend_info) if run.source is not None and not failed else row.extend_info
    checkpoint.write_index(run.bank, row, word, graph, extra_info=extra_info, installation_id=run.installation_id)


def _extra_info(run: Run) -> dict[str, Any] | None:
    """What plugins reported, by `type#id`, beside what the operation itself noted."""
    rows = repository.find(
        models.OperationResource,
        ['resource_type', 'resource_id', 'extra'],
        {'operation_id': run.id, 'extra': repository.Not(None)},
    )
    shown = {f'{r.resource_type}#{r.resource_id}': _public(r.extra) for r in rows}
    return {key: extra for key, extra in shown.items() if extra} or None


def _public(extra: dict[str, Any]) -> dict[str, Any]:
    """What is for users: a key that begins with `_` is the engine's own note."""
    return {key: value for key, value in extra.items() if not key.startswith('_')}
