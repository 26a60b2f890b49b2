# SPDX-License-Identifier: Apache-2.0
"""What plugins written for Karbor 1.6 import: every name of its documented contract, under one roof.

Such a plugin changes its import lines and nothing else; `doc/source/contributor/legacy.rst` has the
table. New plugins use `karbor.plugins.interface`.
"""

from karbor.plugins.legacy import constants, exception
from karbor.plugins.legacy.bank_plugin import Bank, BankPlugin, BankSection, LeasePlugin
from karbor.plugins.legacy.client_factory import ClientFactory, Context
from karbor.plugins.legacy.images import backup_image_to_bank, restore_image_from_bank
from karbor.plugins.legacy.polling import status_poll
from karbor.plugins.legacy.protectable_plugin import ProtectablePlugin
from karbor.plugins.legacy.protection_plugin import Operation, ProtectionPlugin
from karbor.plugins.legacy.reports import update_resource_restore_result, update_resource_verify_result
from karbor.plugins.legacy.resource import Resource

__all__ = [
    'Bank',
    'BankPlugin',
    'BankSection',
    'ClientFactory',
    'Context',
    'LeasePlugin',
    'Operation',
    'ProtectablePlugin',
    'ProtectionPlugin',
    'Resource',
    '_',
    'backup_image_to_bank',
    'constants',
    'exception',
    'restore_image_from_bank',
    'status_poll',
    'update_resource_restore_result',
    'update_resource_verify_result',
]


def _(text: str) -> str:
    """``text``: messages are not translated."""
    return text
