# SPDX-License-Identifier: Apache-2.0
"""Protectables and banks written for Karbor 1.6, as those of today."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import orjson
from oslo_config import cfg

from karbor import exception as faults
from karbor.clients import Cloud
from karbor.plugins.banks import interface as banks
from karbor.plugins.interface import Protectable, Resource
from karbor.plugins.legacy import exception
from karbor.plugins.legacy.bank_plugin import BankPlugin
from karbor.plugins.legacy.client_factory import Context
from karbor.plugins.legacy.protectable_plugin import ProtectablePlugin

CONF = cfg.CONF


class LegacyProtectable(Protectable):
    """A type of resource that ``made``, a plugin class, finds."""

    def __init__(self, made: type[ProtectablePlugin]) -> None:
        self._plugin = made()
        told = {
            'resource_type': self._plugin.get_resource_type(),
            'parent_types': tuple(self._plugin.get_parent_resource_types() or ()),
            'container': getattr(made, 'container', False),
        }
        vars(self).update(told)  # of this one; the class stands for every plugin

    def list(self, cloud: Cloud, parameters: Mapping[str, Any] | None = None) -> Sequence[Resource]:
        return _resources(self._asked(cloud, lambda plugin, context: plugin.list_resources(context, parameters)))

    def show(self, cloud: Cloud, id: str, parameters: Mapping[str, Any] | None = None) -> Resource:
        shown = self._asked(cloud, lambda plugin, context: plugin.show_resource(context, id, parameters), id)
        if shown is None:
            raise faults.ProtectableNotFound(type=self.resource_type, id=id)
        return _resource(shown)

    def children(self, cloud: Cloud, parent: Resource) -> Sequence[Resource]:
        return _resources(
            self._asked(cloud, lambda plugin, context: plugin.get_dependent_resources(context, parent), parent.id)
        )

    def _asked(self, cloud: Cloud, ask: Callable[[ProtectablePlugin, Context], Any], id: str = '') -> Any:
        context = Context(cloud)
        try:
            return ask(self._plugin.instance(context, CONF), context)
        except exception.ProtectableResourceNotFound as told:
            raise faults.ProtectableNotFound(type=self.resource_type, id=id) from told
        except exception.ProtectableResourceInvalidStatus as told:
            status = told.kwargs.get('status', 'in a state')
            raise faults.ProtectableInvalidStatus(type=self.resource_type, id=id, status=status) from told
        except exception.KarborException as told:
            raise faults.ProtectableListFailed(type=self.resource_type, reason=plain(told)) from told


def plain(fault: Any) -> str:
    """What a plugin says of a fault, as a tenant may read it: no addresses."""
    return ' '.join('<address>' if '://' in word else word for word in str(fault).split())[:1000]


def _resources(found: Any) -> list[Resource]:
    return [_resource(each) for each in found or ()]


def _resource(found: Any) -> Resource:
    return Resource(found.type, str(found.id), str(found.name or ''), getattr(found, 'extra_info', None))


class LegacyBank(banks.Bank):
    """A bank that a plugin class keeps. What it lists may come in any order; a value is written by one call of it.

    Subclasses have ``made``.
    """

    made: type[BankPlugin]

    def __init__(self, config: cfg.ConfigOpts) -> None:
        super().__init__(config)
        self._plugin = self.made(config)

    def _write(self, key: str, chunks: Iterator[bytes]) -> None:
        data = b''.join(chunks)
        try:
            value: str | bytes = data.decode()
        except UnicodeDecodeError:
            value = data
        _asked(self._plugin.update_object, key, value)

    def _open(self, key: str) -> BinaryIO:
        try:
            value = self._plugin.get_object(key)
        except exception.KarborException as told:
            # It has one exception for an object that is not there and for a bank that is not.
            if key in self._listed(key):
                raise faults.BankUnavailable() from told
            raise faults.BankObjectNotFound(f'there is no object {key}') from told
        if isinstance(value, str):
            return io.BytesIO(value.encode())
        return io.BytesIO(bytes(value) if isinstance(value, bytes | bytearray) else orjson.dumps(value))

    def _delete(self, key: str) -> None:
        try:
            self._plugin.delete_object(key)
        except exception.KarborException as told:
            if key in self._listed(key):
                raise faults.BankUnavailable() from told

    def _list(self, prefix: str, after: str | None, reverse: bool) -> Iterator[str]:
        found = sorted((key for key in self._listed(prefix) if key.startswith(prefix)), reverse=reverse)
        return (key for key in found if after is None or (key < after if reverse else key > after))

    def _listed(self, prefix: str) -> set[str]:
        """All keys with the prefix: a store gives pages, also when it is asked for no limit."""
        found: set[str] = set()
        marker = None
        while True:
            page = set(_asked(self._plugin.list_objects, prefix=prefix, marker=marker) or ())
            if page <= found:
                return found
            found |= page
            marker = max(page)


def _asked(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    try:
        return call(*arguments, **named)
    except exception.KarborException as told:
        raise faults.BankUnavailable() from told
