# SPDX-License-Identifier: Apache-2.0
"""The types of resources that can be protected: every plugin of the namespace `karbor.protectables`."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from oslo_log import log
from stevedore import extension

from karbor import exception
from karbor.clients import Cloud, fault
from karbor.plugins.interface import Protectable, Resource
from karbor.protection import legacy
from karbor.protection.run import Interrupted

LOG = log.getLogger(__name__)
NAMESPACE = 'karbor.protectables'


class Protectables:
    """The loaded protectable plugins. A plugin that cannot be loaded is logged and its type does not exist."""

    def __init__(self, plugins: Iterable[Protectable] | None = None) -> None:
        found = list(plugins) if plugins is not None else self._load()
        self.plugins: dict[str, Protectable] = {plugin.resource_type: plugin for plugin in found}

    @staticmethod
    def _load() -> list[Protectable]:
        manager = extension.ExtensionManager(NAMESPACE, on_load_failure_callback=_log_failure)
        return [legacy.protectable(e.plugin) for e in sorted(manager, key=lambda e: e.name)]

    def types(self) -> list[str]:
        return sorted(self.plugins)

    def containers(self) -> set[str]:
        """The types that have no data of their own."""
        return {type for type, plugin in self.plugins.items() if plugin.container}

    def dependent_types(self, type: str) -> list[str]:
        """The types whose resources may depend on one of ``type``. Raises ProtectableTypeNotFound."""
        self._plugin(type)
        return sorted(t for t, plugin in self.plugins.items() if type in plugin.parent_types)

    def list(self, cloud: Cloud, type: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Resource]:
        """The user's resources of ``type``. Raises ProtectableTypeNotFound, ProtectableListFailed."""
        plugin = self._plugin(type)
        return self._asked(plugin, lambda: plugin.list(cloud, parameters))

    def show(self, cloud: Cloud, type: str, id: str, parameters: Mapping[str, Any] | None = None) -> Resource:
        """The resource. Raises ProtectableTypeNotFound, ProtectableNotFound, ProtectableInvalidStatus,
        ProtectableListFailed.
        """
        plugin = self._plugin(type)
        return self._asked(plugin, lambda: plugin.show(cloud, id, parameters))

    def children(self, cloud: Cloud, parent: Resource) -> Sequence[Resource]:
        """Everything that depends directly on ``parent``. A fault is raised, never taken for "no children"."""
        found: list[Resource] = []
        for type in self.dependent_types(parent.type) if parent.type in self.plugins else ():
            plugin = self.plugins[type]
            found.extend(self._asked(plugin, functools.partial(plugin.children, cloud, parent)))
        return found

    def _plugin(self, type: str) -> Protectable:
        if type not in self.plugins:
            raise exception.ProtectableTypeNotFound(type=type)
        return self.plugins[type]

    @staticmethod
    def _asked(plugin: Protectable, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except exception.BackendFault as told:
            raise exception.ProtectableListFailed(type=plugin.resource_type, reason=told.text) from told
        except (exception.KarborError, Interrupted):
            raise
        except BaseException as unexpected:  # noqa: BLE001  a plugin or its client library may raise anything; the user gets a reason
            cause = fault(plugin.service, unexpected)  # which logs it
            raise exception.ProtectableListFailed(type=plugin.resource_type, reason=cause.text) from cause


def _log_failure(manager: Any, entrypoint: Any, error: BaseException) -> None:
    LOG.error('The protectable plugin %s cannot be loaded: %s', entrypoint.name, error)
