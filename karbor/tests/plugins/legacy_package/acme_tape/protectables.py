# SPDX-License-Identifier: Apache-2.0
"""Vaults of a project, and the cartridges in them: `vault1` has `vault1-a` and `vault1-b`."""

from karbor.plugins.legacy import constants, exception, protectable_plugin, resource

VAULT = 'Acme::Tape::Vault'
CARTRIDGE = 'Acme::Tape::Cartridge'


class Vaults(protectable_plugin.ProtectablePlugin):
    _SUPPORT_RESOURCE_TYPE = VAULT

    def get_resource_type(self):
        return self._SUPPORT_RESOURCE_TYPE

    def get_parent_resource_types(self):
        return (constants.PROJECT_RESOURCE_TYPE,)

    def list_resources(self, context, parameters=None):
        return [resource.Resource(type=VAULT, id='vault1', name='vault of %s' % context.project_id)]

    def show_resource(self, context, resource_id, parameters=None):
        if resource_id.startswith('lost'):
            raise exception.ProtectableResourceNotFound(id=resource_id, type=VAULT, reason='no such vault')
        if resource_id.startswith('open'):
            raise exception.ProtectableResourceInvalidStatus(id=resource_id, type=VAULT, status='OPEN')
        return resource.Resource(type=VAULT, id=resource_id, name=resource_id)

    def get_dependent_resources(self, context, parent_resource):
        return self.list_resources(context)


class Cartridges(protectable_plugin.ProtectablePlugin):
    def get_resource_type(self):
        return CARTRIDGE

    def get_parent_resource_types(self):
        return [VAULT]

    def list_resources(self, context, parameters=None):
        raise exception.ListProtectableResourceFailed(type=CARTRIDGE, reason='see http://10.0.0.1/ for why')

    def show_resource(self, context, resource_id, parameters=None):
        return None

    def get_dependent_resources(self, context, parent_resource):
        if parent_resource.id.startswith('empty'):
            return None
        assert self._context is context and self._conf is not None
        return [
            resource.Resource(type=CARTRIDGE, id='%s-%s' % (parent_resource.id, letter), name=letter) for letter in 'ab'
        ]
