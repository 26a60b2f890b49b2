# SPDX-License-Identifier: Apache-2.0
"""THE ROUTING TABLE: verb and path to the method that answers. Whatever is not in it is 404."""

from collections.abc import Iterable
from typing import Any

from karbor import exception
from karbor.api.method import Method
from karbor.api.v1 import (
    checkpoints,
    operation_logs,
    plans,
    protectables,
    providers,
    quota_classes,
    quotas,
    restores,
    scheduled_operations,
    services,
    triggers,
    verifications,
    versions,
)

_P = '/v1/{project_id}'
_CHECKPOINTS = f'{_P}/providers/{{provider_id}}/checkpoints'
_INSTANCES = f'{_P}/protectables/{{type}}/instances'
_QUOTA = f'{_P}/quotas/{{quota_project_id}}'

ROUTES: list[tuple[str, str, Method]] = [
    ('GET', '/', versions.choices),
    ('GET', '/v1', versions.show),
    ('GET', '/v1/openapi.json', versions.openapi_document),
    ('GET', f'{_P}/plans', plans.index),
    ('POST', f'{_P}/plans', plans.create),
    ('GET', f'{_P}/plans/{{plan_id}}', plans.show),
    ('PUT', f'{_P}/plans/{{plan_id}}', plans.update),
    ('DELETE', f'{_P}/plans/{{plan_id}}', plans.delete),
    ('GET', f'{_P}/providers', providers.index),
    ('GET', f'{_P}/providers/{{provider_id}}', providers.show),
    ('GET', _CHECKPOINTS, checkpoints.index),
    ('POST', _CHECKPOINTS, checkpoints.create),
    ('POST', f'{_CHECKPOINTS}/action', checkpoints.copy),
    ('GET', f'{_CHECKPOINTS}/{{checkpoint_id}}', checkpoints.show),
    ('PUT', f'{_CHECKPOINTS}/{{checkpoint_id}}', checkpoints.reset_state),
    ('DELETE', f'{_CHECKPOINTS}/{{checkpoint_id}}', checkpoints.delete),
    ('GET', f'{_P}/restores', restores.index),
    ('POST', f'{_P}/restores', restores.create),
    ('GET', f'{_P}/restores/{{restore_id}}', restores.show),
    ('GET', f'{_P}/verifications', verifications.index),
    ('POST', f'{_P}/verifications', verifications.create),
    ('GET', f'{_P}/verifications/{{verification_id}}', verifications.show),
    ('GET', f'{_P}/protectables', protectables.types),
    ('GET', f'{_P}/protectables/{{type}}', protectables.show_type),
    ('GET', _INSTANCES, protectables.instances),
    ('GET', f'{_INSTANCES}/{{id}}', protectables.show_instance),
    ('GET', f'{_P}/triggers', triggers.index),
    ('POST', f'{_P}/triggers', triggers.create),
    ('GET', f'{_P}/triggers/{{trigger_id}}', triggers.show),
    ('PUT', f'{_P}/triggers/{{trigger_id}}', triggers.update),
    ('DELETE', f'{_P}/triggers/{{trigger_id}}', triggers.delete),
    ('GET', f'{_P}/scheduled_operations', scheduled_operations.index),
    ('POST', f'{_P}/scheduled_operations', scheduled_operations.create),
    ('GET', f'{_P}/scheduled_operations/{{scheduled_operation_id}}', scheduled_operations.show),
    ('DELETE', f'{_P}/scheduled_operations/{{scheduled_operation_id}}', scheduled_operations.delete),
    ('GET', f'{_P}/operation_logs', operation_logs.index),
    ('GET', f'{_P}/operation_logs/{{operation_log_id}}', operation_logs.show),
    ('GET', f'{_P}/operation_logs/{{operation_log_id}}/resources', operation_logs.resources),
    ('POST', f'{_P}/operation_logs/{{operation_log_id}}/action', operation_logs.act),
    ('GET', f'{_P}/providers/{{provider_id}}/operation_logs', operation_logs.index),
    ('GET', f'{_P}/providers/{{provider_id}}/operation_logs/{{operation_log_id}}', operation_logs.show),
    ('GET', f'{_P}/os-services', services.index),
    ('PUT', f'{_P}/os-services/{{id}}', services.update),
    ('GET', _QUOTA, quotas.show),
    ('GET', f'{_QUOTA}/detail', quotas.detail),
    ('GET', f'{_QUOTA}/defaults', quotas.defaults),
    ('PUT', _QUOTA, quotas.update),
    ('DELETE', _QUOTA, quotas.delete),
    ('GET', f'{_P}/quota_classes/{{class_name}}', quota_classes.show),
    ('PUT', f'{_P}/quota_classes/{{class_name}}', quota_classes.update),
]

# Words that follow a collection in paths of Karbor 1.6: no ids.
NO_IDS = frozenset(['new', 'action', 'detail'])


class Table:
    """The routes as a tree of path segments."""

    def __init__(self, routes: Iterable[tuple[str, str, Method]]) -> None:
        self.routes = list(routes)
        self._root: dict[str, Any] = {}
        for verb, path, method in self.routes:
            self._add(path.strip('/').split('/'), verb, method)

    @property
    def public(self) -> list[str]:
        """The paths that need no token, exactly as they may be asked for."""
        paths = [path for _, path, method in self.routes if method.public]
        return sorted({p for path in paths for p in (path, path.rstrip('/'), f'{path.rstrip("/")}/')})

    def find(self, verb: str, path: str) -> tuple[Method, dict[str, str]]:
        """The method behind ``verb`` and ``path``, and the variables of the path. Raises NotFound.

        One trailing slash and the suffix `.json` make no difference.
        """
        segments = path.removeprefix('/').removesuffix('/').split('/')
        last = segments[-1].removesuffix('.json')
        found = self._match([*segments[:-1], last], verb) or self._match(segments, verb)
        if found is None:
            raise exception.NotFound()
        return found

    def _add(self, segments: list[str], verb: str, method: Method) -> None:
        node, names = self._root, []
        for segment in segments:
            if segment.startswith('{'):
                names.append(segment[1:-1])
                segment = _VARIABLE
            node = node.setdefault(segment, {})
        node[_VERBS] = node.get(_VERBS, {}) | {verb: (method, names)}

    def _match(self, segments: list[str], verb: str) -> tuple[Method, dict[str, str]] | None:
        node, values = self._root, []
        for segment in segments:
            if segment in node and segment not in (_VARIABLE, _VERBS):
                node = node[segment]
            elif _VARIABLE in node and segment and segment not in NO_IDS:
                node = node[_VARIABLE]
                values.append(segment)
            else:
                return None
        method, names = node.get(_VERBS, {}).get(verb, (None, ()))
        return (method, dict(zip(names, values, strict=True))) if method else None


_VARIABLE, _VERBS = '{}', '/'
TABLE = Table(ROUTES)
