# SPDX-License-Identifier: Apache-2.0
"""The base class of protectable plugins written for Karbor 1.6."""

from abc import ABC, abstractmethod
from typing import Any

from oslo_config import cfg


class ProtectablePlugin(ABC):
    """What can be protected. Made with no arguments; `instance` is the one that works for a user."""

    def __init__(self, context: Any = None, conf: cfg.ConfigOpts | None = None) -> None:
        super().__init__()
        self._context = context
        self._conf = conf

    def instance(self, context: Any, conf: cfg.ConfigOpts | None = None) -> 'ProtectablePlugin':
        """A plugin for the user of ``context``."""
        return type(self)(context, conf)

    @abstractmethod
    def get_resource_type(self) -> str:
        """The type of its resources."""

    @abstractmethod
    def get_parent_resource_types(self) -> Any:
        """The types that resources of this one depend on."""

    @abstractmethod
    def list_resources(self, context: Any, parameters: Any = None) -> Any:
        """The user's resources. Raises ListProtectableResourceFailed."""

    @abstractmethod
    def show_resource(self, context: Any, resource_id: str, parameters: Any = None) -> Any:
        """The resource, or None. Raises ProtectableResourceNotFound, ProtectableResourceInvalidStatus."""

    @abstractmethod
    def get_dependent_resources(self, context: Any, parent_resource: Any) -> Any:
        """The resources that depend on ``parent_resource``. Raises ListProtectableResourceFailed."""
