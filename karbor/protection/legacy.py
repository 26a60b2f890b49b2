# SPDX-License-Identifier: Apache-2.0
"""How plugins written for Karbor 1.6 run: each of their four hooks is called by its wave, in a thread of its own.

A hook does its work and waits for it; nobody can ask it afterwards how far it got. So before a
hook is called, its resource's row says that it was begun, in a guarded transaction. A run that
finds such a mark of another one does what `[protection] resume_unsafe` says. What a plugin keeps
between its hooks (attributes of the operation, `new_resources`) is kept in the row as well, as far
as JSON can hold it, so that a run that takes over goes on with it.
"""

import functools
import operator as op
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from oslo_config import cfg
from oslo_log import log

from karbor import exception
from karbor.clients import fault
from karbor.plugins.interface import Assignment, Hook, Protectable, Protection, Resource, State, Work
from karbor.plugins.legacy import adapters, polling
from karbor.plugins.legacy.bank_plugin import BankPlugin
from karbor.plugins.legacy.exception import KarborException
from karbor.plugins.legacy.protectable_plugin import ProtectablePlugin
from karbor.plugins.legacy.protection_plugin import ProtectionPlugin
from karbor.protection import surface
from karbor.protection.surface import NOTE, Memory
from karbor.statuses import OperationType, ResourceStatus

CONF = cfg.CONF
LOG = log.getLogger(__name__)
METHODS = {
    Hook.PREPARE_BEGIN: 'on_prepare_begin',
    Hook.PREPARE_FINISH: 'on_prepare_finish',
    Hook.MAIN: 'on_main',
    Hook.COMPLETE: 'on_complete',
}
ALL = Hook.PREPARE_BEGIN | Hook.PREPARE_FINISH | Hook.MAIN | Hook.COMPLETE
# Of these, nothing that was made can be undone.
MAKING = (OperationType.PROTECT, OperationType.RESTORE, OperationType.COPY)
# What a hook gets the restore or verification as.
RECORDS = {OperationType.RESTORE: 'restore', OperationType.VERIFY: 'verify'}
# Seconds by which a plugin stops to wait before the engine gives up its hook.
MARGIN = 1.0


def bank(made: Any) -> Any:
    """The `Bank` class for a loaded class, which may be one of Karbor 1.6."""
    if _is(made, BankPlugin):
        return type(made.__name__, (adapters.LegacyBank,), {'made': made})
    return made


def protection(made: Any) -> Any:
    """The `Protection` class for a loaded class, which may be one of Karbor 1.6."""
    if not _is(made, ProtectionPlugin):
        return made
    members: dict[str, Any] = {'made': made, 'resource_types': tuple(made.get_supported_resources_types())}
    for operation in OperationType:
        getter = f'get_{operation}_operation'
        if getattr(made, getter) is not getattr(ProtectionPlugin, getter):
            members[operation.value] = type(
                f'{made.__name__}_{operation}', (Hooks,), {'made': made, 'getter': getter, 'service': made.__name__}
            )
    return type(made.__name__, (LegacyProtection,), members)


def protectable(made: Any) -> Protectable:
    """The protectable of a loaded class, which may be one of Karbor 1.6."""
    return adapters.LegacyProtectable(made) if _is(made, ProtectablePlugin) else made()


def _is(made: Any, base: type) -> bool:
    return isinstance(made, type) and issubclass(made, base)


class LegacyProtection(Protection):
    """A plugin class of Karbor 1.6, ``made``. An operation that it has no getter for cannot be done."""

    made: ClassVar[type[ProtectionPlugin]]

    @classmethod
    def options_schema(cls, resource_type: str) -> dict[str, Any]:
        return _schema(cls.made.get_options_schema, resource_type)

    @classmethod
    def restore_schema(cls, resource_type: str) -> dict[str, Any]:
        return _schema(cls.made.get_restore_schema, resource_type)

    @classmethod
    def verify_schema(cls, resource_type: str) -> dict[str, Any]:
        return _schema(cls.made.get_verify_schema, resource_type)

    @classmethod
    def saved_info_schema(cls, resource_type: str) -> dict[str, Any]:
        return _schema(cls.made.get_saved_info_schema, resource_type)


def _schema(get: Any, resource_type: str) -> dict[str, Any]:
    try:
        return dict(get(resource_type) or {})
    except NotImplementedError:
        return {}


@dataclass
class Kept:
    """What belongs to one resource for the time of a run: the plugin's object, and what its row keeps: ``extra``, which
    the plugin tells users, and ``notes`` for the hooks to come.
    """

    operation: Any = None
    fault: BaseException | None = None
    at_first: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    is_resumed: bool = False

    def written(self, attempt: int) -> dict[str, Any]:
        """The ``extra`` of its row."""
        again = {'run_again': self.notes['again']} if 'again' in self.notes else {}
        return {**self.extra, **again, **({NOTE: {**self.notes, 'attempt': attempt}} if self.notes else {})}

    def resume(self, written: Mapping[str, Any], attempt: int) -> None:
        """Go on where an earlier run has written this, unless that was another attempt."""
        notes = dict(written.get(NOTE, {}))
        if notes.pop('attempt', attempt) == attempt:
            self.extra = {name: value for name, value in written.items() if name not in (NOTE, 'run_again')}
            self.notes = notes
            for name, value in notes.get('state', {}).items():
                setattr(self.operation, name, value)

    def state(self) -> dict[str, Any]:
        """The attributes that hooks have set, as far as JSON can hold them."""
        now = surface.jsonable(getattr(self.operation, '__dict__', {}))
        return {name: value for name, value in now.items() if self.at_first.get(name) != value}


class Hooks(Work):
    """The work of the operations that ``made`` has for a kind of operation: one object for all resources of a run."""

    hook = ALL
    waits = True
    poll_interval = 0.2
    made: ClassVar[type[ProtectionPlugin]]
    getter: ClassVar[str]

    def __init__(self, config: cfg.ConfigOpts) -> None:
        super().__init__(config)
        self._kept: dict[tuple[str, str], Kept] = {}

    @cached_property
    def _plugin(self) -> ProtectionPlugin:
        return self.made(self.config)

    def hooks_of(self, resource: Resource) -> Hook:
        """Those that its operation has. One that has none is passed through MAIN, so that it ends as any other."""
        operation = self._of(resource).operation
        named = (hook for hook, method in METHODS.items() if getattr(operation, method, None) is not None)
        return functools.reduce(op.or_, named, Hook(0)) or Hook.MAIN

    def _of(self, resource: Resource) -> Kept:
        if resource.key not in self._kept:
            kept = Kept()
            try:
                kept.operation = getattr(self._plugin, self.getter)(surface.legacy_resource(resource))
                kept.at_first = surface.jsonable(getattr(kept.operation, '__dict__', {}))
            except Exception as unexpected:  # noqa: BLE001  the resource's, and told when its turn comes
                kept.fault = unexpected
            self._kept[resource.key] = kept
        return self._kept[resource.key]

    def _resumed(self, work: Assignment) -> Kept:
        """What is kept of the resource, with what an earlier run of the same attempt noted in its row."""
        kept = self._of(work.resource)
        if not kept.is_resumed:
            kept.is_resumed = True
            kept.resume(Memory.of(work.run).noted.get(work.resource.key, {}), work.attempt)
        return kept

    # -- what the engine calls

    def start(self, work: Assignment) -> dict[str, Any]:
        assert work.hook is not None  # noqa: S101  a wave says which
        return {'hook': METHODS[work.hook]}

    def find(self, work: Assignment) -> dict[str, Any] | None:
        """Nothing can be found. To a cleaning-up, which has no hook, anything may be left."""
        return None if work.hook is not None else {}

    def poll_many(self, items: Sequence[tuple[Assignment, dict[str, Any]]]) -> Sequence[State | Exception]:
        """Of hooks that another run has begun."""
        return [self._taken_over(work, handle) for work, handle in items]

    def _taken_over(self, work: Assignment, handle: dict[str, Any]) -> State | Exception:
        if handle.get('begun') in (None, work.run.operation.epoch):
            return State('active')
        what = f'{handle["hook"]} was begun by a service that did not finish it'
        if CONF.protection.resume_unsafe == 'fail':
            detail = f'{what}, and its plugin cannot tell what came of it ([protection] resume_unsafe = fail)'
            return exception.BackendFault('interrupted', 'karbor', detail=detail)
        handle['begun'] = work.run.operation.epoch
        kept = self._resumed(work)
        kept.notes.setdefault('again', []).append(handle['hook'])
        details = f'{what}; it is run again ([protection] resume_unsafe = rerun)'
        assert work.tell is not None  # noqa: S101  a wave gives it
        told = {'status': ResourceStatus.BUILD, 'status_details': details}
        work.tell(work.resource.key, **told, extra=kept.written(work.attempt))
        return State('active')  # so that `finish` is called

    def finish(self, work: Assignment, handle: dict[str, Any]) -> None:
        """Call the hook."""
        kept = self._resumed(work)
        if kept.fault is not None:
            raise self._told(kept.fault)
        method = getattr(kept.operation, handle['hook'], None)
        if method is not None:
            mark = {'begun': work.run.operation.epoch}
            work.run.note_handle(work.resource, handle | mark)
            handle.update(mark)
            self._call(work, kept, method)

    def cancel(self, work: Assignment, handle: dict[str, Any]) -> bool:
        """Nothing of it can be undone: what a protect has made goes with the checkpoint's delete."""
        if work.operation_type in MAKING:
            detail = 'its plugin cannot undo what it has made'
            raise exception.BackendFault('unsupported', self.service, detail=detail)
        return True

    # -- how

    def _call(self, work: Assignment, kept: Kept, method: Any) -> None:
        assert work.check is not None  # noqa: S101  a wave gives it
        limit = CONF.protection.resource_timeout
        ends_at = time.monotonic() + limit - min(MARGIN, limit / 10)
        call = polling.HookCall(work.check, work.run.check_lease, ends_at)
        operation_log = surface.OperationLog(work, call, kept)
        named: dict[str, Any] = {'operation_log': operation_log}
        record = surface.Record(work, call)
        if work.operation_type in RECORDS:
            named[RECORDS[OperationType(work.operation_type)]] = record
            named['new_resources'] = surface.NewResources(work, call, kept.notes)
        parameters = {} if work.operation_type == OperationType.DELETE else dict(work.parameters)
        checkpoint = surface.Checkpoint(work, work.run.checkpoint)
        if work.run.source is not None:
            named['checkpoint_copy'] = checkpoint
            checkpoint = surface.Checkpoint(work, work.run.source)
        resource, who = surface.legacy_resource(work.resource), surface.context(work.run)
        wrong: BaseException | None = None
        try:
            with polling.under_way(call):
                method(checkpoint, resource, who, parameters, **named)
        except BaseException as unexpected:  # noqa: BLE001  whatever a plugin raises, even SystemExit, is its resource's
            wrong = unexpected
        if call.stopped_by is not None:  # whatever it says after that is not its result
            raise call.stopped_by
        self._keep(work, kept, operation_log)
        if wrong is not None:
            raise self._told(wrong, operation_log, call)
        if record.failure is not None:  # it said so, and raised nothing
            raise exception.BackendFault('failed', self.service, detail=record.failure)

    @staticmethod
    def _keep(work: Assignment, kept: Kept, operation_log: surface.OperationLog) -> None:
        """Have written what users are told and what the next hooks may need."""
        operation_log.note()
        state = kept.state()
        if state or 'state' in kept.notes:
            kept.notes['state'] = state
        written = kept.written(work.attempt)
        if written and work.tell is not None:
            work.tell(work.resource.key, extra=written)

    def _told(self, wrong: BaseException, operation_log: Any = None, call: Any = None) -> exception.BackendFault:
        """What a tenant reads of whatever a plugin raised. Never transient: a hook is not repeated."""
        if call is not None and call.is_late:
            return exception.BackendFault('too_slow', self.service)
        if isinstance(wrong, KarborException):
            LOG.warning('%s: %s', self.service, wrong)
            if surface.lost(wrong):
                return exception.BackendFault('no_copy', 'karbor')
            return exception.BackendFault('failed', self.service, detail=adapters.plain(wrong))
        if isinstance(wrong, NotImplementedError):
            detail = f'the plugin does not implement {self.getter} for this resource'
            return exception.BackendFault('unsupported', self.service, detail=detail)
        told = fault(self.service, wrong)
        own_words = getattr(operation_log, 'error_info', None)
        if own_words and told.reason == 'internal':
            return exception.BackendFault('failed', self.service, detail=adapters.plain(own_words))
        return exception.BackendFault(told.reason, told.service, told.request_id, told.detail)
