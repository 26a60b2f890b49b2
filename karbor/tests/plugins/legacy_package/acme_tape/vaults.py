# SPDX-License-Identifier: Apache-2.0
"""Vaults: no data of their own; they need what became of their cartridges. They cannot be verified."""

from karbor.plugins.legacy import ProtectionPlugin
from karbor.plugins.legacy.protection_plugin import Operation

from acme_tape.library import TAPE_OPTS, Library
from acme_tape.protectables import CARTRIDGE, VAULT


class VaultOperation(Operation):
    def __init__(self, kind, library):
        self._kind = kind
        self._library = library

    def _note(self, hook, resource):
        self._library.note('vault', self._kind, hook, resource.id)


class Protect(VaultOperation):
    def on_prepare_begin(self, checkpoint, resource, context, parameters, **kwargs):
        self._note('on_prepare_begin', resource)

    def on_prepare_finish(self, checkpoint, resource, context, parameters, **kwargs):
        self._note('on_prepare_finish', resource)

    def on_main(self, checkpoint, resource, context, parameters, **kwargs):
        self._note('on_main', resource)

    def on_complete(self, checkpoint, resource, context, parameters, **kwargs):
        self._note('on_complete', resource)
        node = next(n for n in checkpoint.resource_graph if n.value.id == resource.id)
        section = checkpoint.get_resource_bank_section(resource.id)
        section.update_object('metadata', {'cartridges': [child.value.id for child in node.child_nodes]})


class Restore(VaultOperation):
    def on_complete(self, checkpoint, resource, context, parameters, **kwargs):
        self._note('on_complete', resource)
        new_resources = kwargs.get('new_resources')
        restore = kwargs.get('restore')
        cartridges = checkpoint.get_resource_bank_section(resource.id).get_object('metadata')['cartridges']
        new = self._library.create('vault of %s' % ','.join(new_resources[old] for old in cartridges))
        assert new_resources['drive'] == {'slot': 2}
        restore.update_resource_status(VAULT, new, 'SEALED', 'with %d cartridges' % len(cartridges))
        new_resources[resource.id] = new
        for old in cartridges:  # by their new ids
            restore.update_resource_status(CARTRIDGE, new_resources[old], 'AVAILABLE', 'checked by the vault')
        restore.save()


class VaultPlugin(ProtectionPlugin):
    def __init__(self, config=None):
        super().__init__(config)
        self._config.register_opts(TAPE_OPTS, 'tape_plugin')
        self._library = Library(self._config.tape_plugin.folder)

    @classmethod
    def get_supported_resources_types(cls):
        return [VAULT]

    def get_protect_operation(self, resource):
        return Protect('protect', self._library)

    def get_restore_operation(self, resource):
        return Restore('restore', self._library)

    def get_delete_operation(self, resource):
        return None
