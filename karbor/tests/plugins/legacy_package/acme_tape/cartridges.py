# SPDX-License-Identifier: Apache-2.0
"""Cartridges: all four hooks, new ids, raw words of the tape library, and states between hooks."""

import logging
import os

from karbor.plugins import legacy as utils
from karbor.plugins.legacy import _, constants, exception, protection_plugin

from acme_tape.library import TAPE_OPTS, Library
from acme_tape.protectables import CARTRIDGE

LOG = logging.getLogger(__name__)


class Base(protection_plugin.Operation):
    kind = ''

    def __init__(self, config):
        super(Base, self).__init__()
        self._library = Library(config.tape_plugin.folder)
        self._interval = config.tape_plugin.poll_interval

    def _note(self, hook, resource):
        self._library.note('cartridge', self.kind, hook, resource.id)

    def _wait(self, name, success=('AVAILABLE',)):
        return utils.status_poll(
            lambda: self._library.status(name),
            interval=self._interval,
            success_statuses=set(success),
            failure_statuses={'JAMMED'},
            ignore_statuses={'WINDING'},
        )


class Protect(Base):
    kind = 'protect'

    def on_prepare_begin(self, checkpoint, resource, context, parameters, **kwargs):
        self._note('on_prepare_begin', resource)

    def on_prepare_finish(self, checkpoint, resource, context, parameters, **kwargs):
        self._note('on_prepare_finish', resource)
        self.copy = self._library.create(resource.id)

    def on_main(self, checkpoint, resource, context, parameters, **kwargs):
        self._note('on_main', resource)
        bank_section = checkpoint.get_resource_bank_section(resource.id)
        operation_log = kwargs['operation_log']
        try:
            bank_section.update_object('status', constants.RESOURCE_STATUS_PROTECTING)
            if not self._wait(self.copy):
                raise exception.CreateResourceFailed(
                    name='Tape', reason=_('the tape is jammed'), resource_id=resource.id, resource_type=CARTRIDGE
                )
            bank_section.update_object('metadata', {'copy': self.copy, 'label': parameters.get('label')})
            bank_section.update_object('status', constants.RESOURCE_STATUS_AVAILABLE)
            operation_log.extra_info = {'tape_job': 7, 'copy': self.copy}
            operation_log.save()
        except Exception as err:
            LOG.error('protecting %s failed: %s', resource.id, err)
            bank_section.update_object('status', constants.RESOURCE_STATUS_ERROR)
            raise
        finally:
            self._note('after_main', resource)
            bank_section.update_object('ended', 'yes')

    def on_complete(self, checkpoint, resource, context, parameters, **kwargs):
        self._note('on_complete', resource)


class Restore(Base):
    kind = 'restore'

    def on_main(self, checkpoint, resource, context, parameters, restore, **kwargs):
        self._note('on_main', resource)
        section = checkpoint.get_resource_bank_section(resource.id)
        assert section.get_object('status') == 'available'
        copy = section.get_object('metadata')['copy']
        restore.update_resource_status(CARTRIDGE, resource.id, 'restoring')
        restore.save()
        new = self._library.create('restored-%s' % copy)
        kwargs['new_resources'][resource.id] = new
        if resource.id.endswith('-b'):  # what is no resource of the plan, for the vault
            kwargs['new_resources']['drive'] = {'slot': 2}
            kwargs['new_resources']['socket'] = self._library
        ready = self._wait(new)
        # The word of the library, under the new id.
        utils.update_resource_restore_result(restore, CARTRIDGE, new, self._library.status(new))
        if not ready:
            raise exception.RestoreResourceFailed(
                name='Tape', reason='jammed', resource_id=resource.id, resource_type=CARTRIDGE
            )

    def on_complete(self, checkpoint, resource, context, parameters, **kwargs):
        self._note('on_complete', resource)


class Verify(Base):
    kind = 'verify'

    def on_main(self, checkpoint, resource, context, parameters, verify, **kwargs):
        self._note('on_main', resource)
        copy = checkpoint.get_resource_bank_section(resource.id).get_object('metadata')['copy']
        status = self._library.status(copy)
        if status == 'AVAILABLE':
            utils.update_resource_verify_result(verify, CARTRIDGE, resource.id, status)
        else:
            utils.update_resource_verify_result(verify, CARTRIDGE, resource.id, 'error', 'the copy is %s' % status)


class Copy(Base):
    kind = 'copy'

    def on_main(self, checkpoint, resource, context, parameters, checkpoint_copy, **kwargs):
        self._note('on_main', resource)
        assert (checkpoint.status, checkpoint_copy.status) == ('available', 'copying')
        assert checkpoint.id != checkpoint_copy.id
        noted = checkpoint.get_resource_bank_section(resource.id).get_object('metadata')
        section = checkpoint_copy.get_resource_bank_section(resource.id)
        section.update_object('status', 'copying')
        self.copy = self._library.create('again-%s' % noted['copy'])
        if not self._wait(self.copy):
            raise exception.CreateResourceFailed(
                name='Tape', reason=_('the tape is jammed'), resource_id=resource.id, resource_type=CARTRIDGE
            )
        section.update_object('metadata', {'copy': self.copy, 'label': parameters.get('label', noted['label'])})
        section.update_object('status', 'available')


class Delete(Base):
    kind = 'delete'

    def on_main(self, checkpoint, resource, context, parameters, **kwargs):
        assert parameters == {}
        self._note('on_main', resource)
        section = checkpoint.get_resource_bank_section(resource.id)
        copy = section.get_object('metadata')['copy']
        self._library.remove(copy)
        if not self._wait(copy, success=('not-found',)):
            raise exception.DeleteResourceFailed(
                name='Tape', reason='stuck', resource_id=resource.id, resource_type=CARTRIDGE
            )
        section.delete_object('metadata')


class CartridgePlugin(protection_plugin.ProtectionPlugin):
    _SUPPORT_RESOURCE_TYPES = [CARTRIDGE]

    def __init__(self, config=None):
        super(CartridgePlugin, self).__init__(config)
        self._config.register_opts(TAPE_OPTS, 'tape_plugin')
        os.makedirs(self._config.tape_plugin.folder, exist_ok=True)

    @classmethod
    def get_supported_resources_types(cls):
        return cls._SUPPORT_RESOURCE_TYPES

    @classmethod
    def get_options_schema(cls, resource_type):
        label = {'type': 'string', 'title': 'Label', 'description': 'What stands on the tape.'}
        return {'title': 'Tape', 'type': 'object', 'properties': {'label': label}, 'required': []}

    @classmethod
    def get_restore_schema(cls, resource_type):
        return {'title': 'Tape', 'type': 'object', 'properties': {}, 'required': []}

    @classmethod
    def get_saved_info_schema(cls, resource_type):
        return {}

    @classmethod
    def get_saved_info(cls, metadata_store, resource):
        pass

    def get_protect_operation(self, resource):
        return Protect(self._config)

    def get_restore_operation(self, resource):
        return Restore(self._config)

    def get_verify_operation(self, resource):
        return Verify(self._config)

    def get_delete_operation(self, resource):
        return Delete(self._config)

    def get_copy_operation(self, resource):
        return Copy(self._config)
