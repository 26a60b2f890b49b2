# SPDX-License-Identifier: Apache-2.0
"""The base classes of protection plugins written for Karbor 1.6."""

from typing import Any

from oslo_config import cfg


class Operation:
    """What is done with one resource, in up to four hooks; a subclass has those that it needs.

    A hook is called ``(checkpoint, resource, context, parameters, **kwargs)``. ``kwargs`` has always
    ``operation_log``; of a restore also ``restore`` and ``new_resources``, of a verification ``verify`` and
    ``new_resources``. One object serves all hooks of a resource: ``on_prepare_begin`` is called for parents before
    their children, ``on_prepare_finish`` and ``on_complete`` for children before their parents, ``on_main`` for all
    at once.
    """


class ProtectionPlugin:
    """How types of resources are protected. One object, ``Plugin(config)``, serves one operation."""

    def __init__(self, config: cfg.ConfigOpts | None = None) -> None:
        super().__init__()
        self._config = config

    def get_protect_operation(self, resource: Any) -> Any:
        """An `Operation`; None for nothing to do. The other getters likewise."""
        raise NotImplementedError

    def get_restore_operation(self, resource: Any) -> Any:
        raise NotImplementedError

    def get_verify_operation(self, resource: Any) -> Any:
        raise NotImplementedError

    def get_copy_operation(self, resource: Any) -> Any:
        raise NotImplementedError

    def get_delete_operation(self, resource: Any) -> Any:
        raise NotImplementedError

    @classmethod
    def get_supported_resources_types(cls) -> Any:
        """The types of resources that the plugin protects."""
        raise NotImplementedError

    @classmethod
    def get_options_schema(cls, resource_type: str) -> Any:
        """The JSON schema of a plan's parameters for the type; the other three likewise."""
        raise NotImplementedError

    @classmethod
    def get_restore_schema(cls, resource_type: str) -> Any:
        raise NotImplementedError

    @classmethod
    def get_verify_schema(cls, resource_type: str) -> Any:
        raise NotImplementedError

    @classmethod
    def get_saved_info_schema(cls, resource_type: str) -> Any:
        raise NotImplementedError

    @classmethod
    def get_saved_info(cls, metadata_store: Any, resource: Any) -> Any:
        """What was saved of the resource. Karbor never called it."""
        raise NotImplementedError
