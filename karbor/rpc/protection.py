# SPDX-License-Identifier: Apache-2.0
"""What the protection service answers (topic `karbor-protection`), as its callers see it."""

from collections.abc import Sequence
from typing import Any

from oslo_config import cfg

from karbor.context import RequestContext
from karbor.objects.plan import Plan
from karbor.objects.restore import Restore
from karbor.objects.verification import Verification
from karbor.rpc import transport

CONF = cfg.CONF


class ProtectionClient:
    """Every method raises what the service raises, and ServiceUnavailable when it does not answer in time."""

    def protect(
        self,
        context: RequestContext,
        plan: Plan,
        checkpoint_id: str,
        operation_id: str,
        checkpoint_properties: dict[str, Any],
    ) -> None:
        self._call(
            context,
            'protect',
            plan=plan,
            checkpoint_id=checkpoint_id,
            operation_id=operation_id,
            checkpoint_properties=checkpoint_properties,
        )

    def restore(self, context: RequestContext, restore: Restore, operation_id: str) -> None:
        self._call(context, 'restore', restore=restore, operation_id=operation_id)

    def verification(self, context: RequestContext, verification: Verification, operation_id: str) -> None:
        self._call(context, 'verification', verification=verification, operation_id=operation_id)

    def copy(
        self, context: RequestContext, plan: Plan, copies: Sequence[dict[str, str]], parameters: dict[str, Any]
    ) -> None:
        """``copies``: `{checkpoint_id, copy_id, operation_id}` each."""
        self._call(context, 'copy', plan=plan, copies=list(copies), parameters=parameters)

    def delete(self, context: RequestContext, provider_id: str, checkpoint_id: str, operation_id: str) -> None:
        self._call(context, 'delete', provider_id=provider_id, checkpoint_id=checkpoint_id, operation_id=operation_id)

    def retry(self, context: RequestContext, operation_id: str) -> None:
        self._call(context, 'retry', operation_id=operation_id)

    def reset_state(self, context: RequestContext, provider_id: str, checkpoint_id: str, state: str) -> None:
        self._call(context, 'reset_state', provider_id=provider_id, checkpoint_id=checkpoint_id, state=state)

    def list_protectable_types(self, context: RequestContext) -> list[str]:
        return self._call(context, 'list_protectable_types')

    def show_protectable_type(self, context: RequestContext, protectable_type: str) -> dict[str, Any]:
        """``{name, dependent_types}``"""
        return self._call(context, 'show_protectable_type', protectable_type=protectable_type)

    def list_protectable_instances(
        self,
        context: RequestContext,
        protectable_type: str,
        parameters: dict[str, Any] | None = None,
        limit: int | None = None,
        marker: str | None = None,
        offset: int = 0,
        sort: Sequence[tuple[str, str]] = (),
    ) -> list[dict[str, Any]]:
        """A page of ``{id, type, name, extra_info, dependent_resources}``; ``sort``: (id or name, asc or desc)."""
        return self._call(
            context,
            'list_protectable_instances',
            protectable_type=protectable_type,
            parameters=parameters,
            limit=limit,
            marker=marker,
            offset=offset,
            sort=[list(key) for key in sort],
        )

    def show_protectable_instance(
        self,
        context: RequestContext,
        protectable_type: str,
        protectable_id: str,
        parameters: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        return self._call(
            context,
            'show_protectable_instance',
            protectable_type=protectable_type,
            protectable_id=protectable_id,
            parameters=parameters,
        )

    def _call(self, context: RequestContext, method: str, **arguments: Any) -> Any:
        return transport.call(CONF.protection_topic, context, method, CONF.rpc_accept_timeout, **arguments)
