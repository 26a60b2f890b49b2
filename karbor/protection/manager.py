# SPDX-License-Identifier: Apache-2.0
"""The RPC end of the protection service: accept operations, and tell what can be protected.

Accepting looks up provider and checkpoint, checks state and owner, and writes what there is to do in
one transaction; the first one of a user makes a trust, too. It is idempotent on the ids, which the
caller makes.
"""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import oslo_messaging as messaging
from oslo_config import cfg
from oslo_utils import timeutils

from karbor import credentials, exception, parameters, quota, statuses, trusts
from karbor.clients import Cloud
from karbor.context import RequestContext
from karbor.db import engine, folding, models, repository
from karbor.objects.checkpoint import Checkpoint
from karbor.objects.operation_log import OperationLog
from karbor.objects.plan import Plan
from karbor.objects.restore import Restore
from karbor.objects.verification import Verification
from karbor.plugins.interface import Resource
from karbor.protection import board, copying, graph, retry
from karbor.protection import checkpoint as checkpoints
from karbor.protection import run as runs
from karbor.protection.conductor import Conductor
from karbor.protection.protectables import Protectables
from karbor.protection.provider import Provider, Providers
from karbor.rpc.transport import expected
from karbor.statuses import CheckpointStatus, OperationType, RestoreStatus, accepted

CONF = cfg.CONF

RESETTABLE = tuple(
    CheckpointStatus(word) for word in ('available', 'error', 'error-deleting', 'copying', 'wait_copying', 'finished')
)
RESET_TO = (CheckpointStatus.AVAILABLE, CheckpointStatus.ERROR)
DELETABLE = (CheckpointStatus.AVAILABLE, CheckpointStatus.ERROR, CheckpointStatus.ERROR_DELETING)
USABLE = (CheckpointStatus.AVAILABLE,)


class Manager:
    """The methods that other services call (topic `karbor-protection`)."""

    target = messaging.Target(version='1.0')

    def __init__(self, providers: Providers, protectables: Protectables, conductor: Conductor) -> None:
        self.providers, self.protectables, self.conductor = providers, protectables, conductor

    # -- operations

    @expected
    def protect(
        self,
        context: RequestContext,
        plan: Plan,
        checkpoint_id: str,
        operation_id: str,
        checkpoint_properties: dict[str, Any],
    ) -> None:
        """Accept a new checkpoint of ``plan``. ``checkpoint_properties['extra_info']`` is kept with it."""
        self._provider(plan.provider_id)
        extra_info = checkpoint_properties.get('extra_info') or {}
        checkpoint = Checkpoint.new(
            id=checkpoint_id,
            project_id=plan.project_id,
            checkpoint_status=CheckpointStatus.PROTECTING,
            provider_id=plan.provider_id,
            plan_id=plan.id,
            operation_id=operation_id,
            create_by=str(extra_info.get('created_by', 'manual'))[:36],
            extend_info=orjson.dumps(extra_info).decode(),
            protection_plan={k: getattr(plan, k) for k in ('id', 'name', 'provider_id', 'resources')},
        )
        operation = self._operation(
            context,
            operation_id,
            OperationType.PROTECT,
            checkpoint,
            self._is_trusted(context),
            parameters=plan.parameters,
            scheduled_operation_id=extra_info.get('scheduled_operation_id'),
        )
        self._accept_protect(context, operation, checkpoint)

    @engine.repeated
    def _accept_protect(self, context: RequestContext, operation: OperationLog, checkpoint: Checkpoint) -> None:
        with engine.writing():
            if not self._accepted(operation):
                quota.reserve('checkpoints', checkpoint.project_id)
                checkpoint.create()
                operation.create()
        self._submit(context, operation)

    @expected
    def restore(self, context: RequestContext, restore: Restore, operation_id: str) -> None:
        """Accept a restore of its checkpoint, which must be available."""
        self._check_options(self._provider(restore.provider_id), restore)
        is_trusted = self._is_trusted(context)
        self._accept_use(context, OperationType.RESTORE, restore, operation_id, is_trusted, restore_id=restore.id)

    @expected
    def verification(self, context: RequestContext, verification: Verification, operation_id: str) -> None:
        """Accept a verification of its checkpoint, which must be available."""
        self._provider(verification.provider_id)
        which, is_trusted = {'verification_id': verification.id}, self._is_trusted(context)
        self._accept_use(context, OperationType.VERIFY, verification, operation_id, is_trusted, **which)

    @engine.repeated
    def _accept_use(
        self,
        context: RequestContext,
        type: OperationType,
        record: Restore | Verification,
        operation_id: str,
        is_trusted: bool,
        **which: str,
    ) -> None:
        """Accept what leaves the checkpoint as it is, and so may run together with others of its kind."""
        with engine.writing():
            checkpoint = self._locked(context, record.provider_id, record.checkpoint_id)
            told = {'parameters': record.parameters, **which}
            operation = self._operation(context, operation_id, type, checkpoint, is_trusted, **told)
            if not self._accepted(operation):
                self._require(checkpoint, USABLE, type)
                record.status = RestoreStatus.IN_PROGRESS
                record.project_id = context.project_id
                record.create()
                operation.create()
        self._submit(context, operation)

    @expected
    def copy(
        self,
        context: RequestContext,
        plan: Plan,
        copies: Sequence[Mapping[str, str]],
        parameters: dict[str, Any],
    ) -> None:
        """Accept a new copy, ``copy_id``, of each ``checkpoint_id`` of ``copies``, which must be available and idle; or
        none, if one cannot be had.
        """
        provider = self._provider(plan.provider_id)
        may_lack = provider.skip_unsupported or parameters.get('skip_unsupported')
        containers = self.protectables.containers()
        for wanted in copies:
            copying.require_plugins(provider, wanted['checkpoint_id'], containers, bool(may_lack))
        self._accept_copies(context, plan, copies, parameters, self._is_trusted(context))

    @engine.repeated
    def _accept_copies(
        self,
        context: RequestContext,
        plan: Plan,
        copies: Sequence[Mapping[str, str]],
        parameters: dict[str, Any],
        is_trusted: bool,
    ) -> None:
        operations: list[OperationLog] = []
        with engine.writing():
            # In the order of their ids, so that two requests do not wait for each other.
            for wanted in sorted(copies, key=operator.itemgetter('checkpoint_id')):
                source = self._locked(context, plan.provider_id, wanted['checkpoint_id'])
                told = {'parameters': parameters, 'source_checkpoint_id': source.id}
                id = wanted['operation_id']
                operation = self._operation(context, id, OperationType.COPY, source, is_trusted, **told)
                operation.checkpoint_id = wanted['copy_id']
                operations.append(operation)
                if not self._accepted(operation):
                    self._require(source, USABLE, 'copy')
                    self._require_idle(source, 'copy')
                    quota.reserve('checkpoints', source.project_id)
                    copying.new(source, wanted['copy_id'], id).create()
                    operation.create()
        for operation in operations:
            self._submit(context, operation)

    @expected
    def delete(self, context: RequestContext, provider_id: str, checkpoint_id: str, operation_id: str) -> None:
        """Accept the deletion of a checkpoint that nothing works on."""
        self._provider(provider_id)
        self._accept_delete(context, provider_id, checkpoint_id, operation_id, self._is_trusted(context))

    @engine.repeated
    def _accept_delete(
        self, context: RequestContext, provider_id: str, checkpoint_id: str, operation_id: str, is_trusted: bool
    ) -> None:
        with engine.writing():
            checkpoint = self._locked(context, provider_id, checkpoint_id)
            operation = self._operation(context, operation_id, OperationType.DELETE, checkpoint, is_trusted)
            if not self._accepted(operation):
                self._require_idle(checkpoint, 'delete')  # first: it names the operation, as that of a first delete
                self._require(checkpoint, DELETABLE, 'delete')
                deleting = {'checkpoint_status': CheckpointStatus.DELETING}
                repository.update(models.CheckpointRecord, checkpoint.id, deleting)
                operation.create()
        self._submit(context, operation)

    @expected
    def retry(self, context: RequestContext, operation_id: str) -> None:
        """Accept the failed resources of an ended restore or delete again, under the same operation."""
        operation = repository.get(models.OperationLog, operation_id)
        if operation is None or not (context.is_admin or operation.project_id == context.project_id):
            raise exception.OperationLogNotFound(id=operation_id)
        self._provider(operation.provider_id or '')
        self._accept_retry(context, operation_id, self._is_trusted(context))

    @engine.repeated
    def _accept_retry(self, context: RequestContext, operation_id: str, is_trusted: bool) -> None:
        with engine.writing():
            repository.lock(models.OperationLog, operation_id)
            operation = OperationLog.get(operation_id)
            checkpoint = self._locked(context, str(operation.provider_id), str(operation.checkpoint_id))
            retry.require(operation, checkpoint)
            folding.unfold(operation_id)
            if operation.operation_type == OperationType.DELETE:
                self._require_idle(checkpoint, 'retry')
            posted = self._posted(context, checkpoint, is_trusted)
            retry.accept(operation, _who(context) | posted)
        self._submit(context, operation)

    @expected
    def reset_state(self, context: RequestContext, provider_id: str, checkpoint_id: str, state: str) -> None:
        """Set the state of a checkpoint that nothing works on, in the bank and in the database."""
        provider = self._provider(provider_id)
        if state not in RESET_TO:
            raise exception.InvalidInput(field='os-resetState/state', reason=f'must be one of {", ".join(RESET_TO)}')
        with engine.writing():
            checkpoint = self._locked(context, provider_id, checkpoint_id)
            if checkpoint.checkpoint_status not in RESETTABLE:
                now = checkpoint.checkpoint_status
                reason = f'checkpoint {checkpoint_id} is {now}; it must be one of {", ".join(RESETTABLE)}'
                raise exception.InvalidInput(field='os-resetState', reason=reason)
            self._require_idle(checkpoint, 'reset-state')
            row = repository.get(models.CheckpointRecord, checkpoint_id)
            assert row is not None  # noqa: S101  it is locked
            try:
                text = checkpoints.read_graph(provider.bank, checkpoint_id)
                checkpoints.write_index(provider.bank, row, state, text, installation_id=runs.installation_id())
            except exception.BankError as fault:
                raise exception.ServiceUnavailable(service='bank') from fault
            repository.update(
                models.CheckpointRecord, checkpoint_id, {'checkpoint_status': state, 'status_details': None}
            )

    # -- what can be protected

    @expected
    def list_protectable_types(self, context: RequestContext) -> list[str]:
        return self.protectables.types()

    @expected
    def show_protectable_type(self, context: RequestContext, protectable_type: str) -> dict[str, Any]:
        return {
            'name': protectable_type,
            'dependent_types': self.protectables.dependent_types(protectable_type),
        }

    @expected
    def list_protectable_instances(
        self,
        context: RequestContext,
        protectable_type: str,
        parameters: Mapping[str, Any] | None = None,
        limit: int | None = None,
        marker: str | None = None,
        offset: int = 0,
        sort: Sequence[Sequence[str]] = (),
    ) -> list[dict[str, Any]]:
        """A page of the user's instances of the type, by ``sort`` ((id or name, asc or desc)), with their children."""
        cloud = Cloud.from_context(context)
        found = sorted(self.protectables.list(cloud, protectable_type, parameters), key=operator.attrgetter('id'))
        for name, direction in reversed(sort):
            found.sort(key=operator.attrgetter(name), reverse=direction == 'desc')
        if marker is not None:
            places = {resource.id: place for place, resource in enumerate(found, start=1)}
            if marker not in places:
                raise exception.InvalidInput(field='marker', reason=f'{protectable_type} {marker} could not be found')
            found = found[places[marker] :]
        return [self._shown(cloud, resource) for resource in found[offset:][:limit]]

    @expected
    def show_protectable_instance(
        self,
        context: RequestContext,
        protectable_type: str,
        protectable_id: str,
        parameters: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        cloud = Cloud.from_context(context)
        return self._shown(cloud, self.protectables.show(cloud, protectable_type, protectable_id, parameters))

    def _shown(self, cloud: Cloud, resource: Resource) -> dict[str, Any]:
        children = self.protectables.children(cloud, resource)
        return _plain(resource) | {'dependent_resources': [_plain(child) for child in children]}

    # -- accepting

    @staticmethod
    def _check_options(provider: Provider, restore: Restore) -> None:
        """Ask the plugins whose options are given whether they can be those of the checkpoint's resources."""
        types = {key.partition('#')[0] for key, options in (restore.parameters or {}).items() if options}
        text = checkpoints.read_graph(provider.bank, restore.checkpoint_id) if types else None
        for node in graph.parse(text).nodes if text else ():
            if node.type in types and node.type in provider.protections:
                options = parameters.of_resource(restore.parameters, node.type, node.id)
                provider.protections[node.type].check_restore(node.id, options)

    def _provider(self, id: str) -> Provider:
        if id not in self.providers:
            raise exception.ProviderNotFound(id=id)
        return self.providers[id]

    @staticmethod
    def _accepted(operation: OperationLog) -> bool:
        """Whether the same call was accepted before, and its answer got lost. Raises Conflict when it was ruled out."""
        row = repository.get(models.OperationLog, operation.id, deleted=repository.OneOf((True, False)))
        if row is not None and row.deleted:
            raise exception.Conflict('The request came too late: its caller has been told that it was not accepted.')
        return row is not None

    @staticmethod
    def _locked(context: RequestContext, provider_id: str, checkpoint_id: str) -> Checkpoint:
        whose = {} if context.is_admin else {'project_id': context.project_id}
        if repository.lock(models.CheckpointRecord, checkpoint_id, provider_id=provider_id, **whose) is None:
            raise exception.CheckpointNotFound(id=checkpoint_id)
        return Checkpoint.get(checkpoint_id)

    @staticmethod
    def _require(checkpoint: Checkpoint, allowed: tuple[CheckpointStatus, ...], action: str) -> None:
        if checkpoint.checkpoint_status not in allowed:
            state, words = checkpoint.checkpoint_status, ' or '.join(allowed)
            raise exception.CheckpointInvalidState(id=checkpoint.id, state=state, action=action, allowed=words)

    @staticmethod
    def _require_idle(checkpoint: Checkpoint, action: str) -> None:
        for column in ('checkpoint_id', 'source_checkpoint_id'):
            wanted = {column: checkpoint.id, 'ended_at': None, 'owner': repository.Not(None)}
            for using in repository.find(models.OperationLog, ['id', 'operation_type'], wanted, limit=1):
                raise exception.CheckpointInUse(
                    id=checkpoint.id,
                    state=checkpoint.checkpoint_status,
                    operation_type=using.operation_type,
                    operation_id=using.id,
                    action=action,
                )

    @staticmethod
    def _operation(
        context: RequestContext,
        id: str,
        type: OperationType,
        checkpoint: Checkpoint,
        is_trusted: bool,
        **values: Any,
    ) -> OperationLog:
        return OperationLog.new(
            id=id,
            project_id=checkpoint.project_id,
            operation_type=type,
            checkpoint_id=checkpoint.id,
            plan_id=checkpoint.plan_id,
            provider_id=checkpoint.provider_id,
            status=accepted(type),
            status_details=statuses.ACCEPTED,
            started_at=timeutils.utcnow(),
            **_who(context),
            **Manager._posted(context, checkpoint, is_trusted),
            **values,
        )

    @staticmethod
    def _posted(context: RequestContext, checkpoint: Checkpoint, is_trusted: bool) -> dict[str, Any]:
        # An administrator's work in another project needs the role that no trust hands on.
        return board.posted(resumable=is_trusted and checkpoint.project_id == context.project_id)

    @staticmethod
    def _is_trusted(context: RequestContext) -> bool:
        """Whether Karbor may act for the user when the token is gone. It may ask Keystone: never in a transaction."""
        return trusts.ensure(context)[0] is not None

    def _submit(self, context: RequestContext, operation: OperationLog) -> None:
        credentials.remember(operation.id, context)
        self.conductor.post(operation.id)


def _who(context: RequestContext) -> dict[str, Any]:
    return {'user_id': context.user_id, 'roles': context.roles, 'request_id': context.request_id}


def _plain(resource: Resource) -> dict[str, Any]:
    return {
        'id': resource.id,
        'type': resource.type,
        'name': resource.name,
        'extra_info': resource.extra_info,
    }
