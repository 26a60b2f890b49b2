# SPDX-License-Identifier: Apache-2.0
"""Who asks: the context of a request, carried over RPC."""

from typing import Any

from oslo_context import context

# What is kept of a token's catalogue: plugins find no other service there.
CATALOG_TYPES = frozenset(
    [
        'identity',
        'compute',
        'object-store',
        'image',
        'volume',
        'volumev2',
        'volumev3',
        'network',
        'orchestration',
        'share',
        'sharev2',
        'shared-file-system',
        'database',
    ]
)


class RequestContext(context.RequestContext):
    """The user, project, roles and token of a request, and the services that the token's catalogue names.

    ``is_admin`` is settled by the policy ``context_is_admin`` where the request enters.
    ``service_catalog`` is a list of Keystone v3 catalogue entries of ``CATALOG_TYPES``.
    """

    def __init__(self, service_catalog: list[dict[str, Any]] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.service_catalog = [s for s in service_catalog or [] if s.get('type') in CATALOG_TYPES]

    def to_dict(self) -> dict[str, Any]:
        """Everything that the other end of a call needs, the token included."""
        return {
            **super().to_dict(),
            'service_catalog': self.service_catalog,
            'user_name': self.user_name,
            'project_name': self.project_name,
            'user_domain_id': self.user_domain_id,
            'project_domain_id': self.project_domain_id,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], **kwargs: Any) -> 'RequestContext':
        """The context that ``to_dict`` wrote."""
        return super().from_dict(values, service_catalog=values.get('service_catalog'), **kwargs)


def admin_context() -> RequestContext:
    """A context for Karbor's own work: admin, without user, project or token."""
    return RequestContext(is_admin=True, overwrite=False)
