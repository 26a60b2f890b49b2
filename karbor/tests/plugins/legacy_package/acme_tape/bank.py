# SPDX-License-Identifier: Apache-2.0
"""A bank as careless as those of old: unsorted lists, one fault for everything."""

from karbor.plugins.legacy import BankPlugin, LeasePlugin, exception


class DictBank(BankPlugin, LeasePlugin):
    def __init__(self, config, context=None):
        super(DictBank, self).__init__(config)
        self.is_away = False
        self._objects = {}

    def update_object(self, key, value, context=None):
        if self.is_away:
            raise exception.BankUpdateObjectFailed(reason='away', key=key)
        self._objects[key] = value

    def get_object(self, key, context=None):
        if self.is_away or key not in self._objects:
            raise exception.BankGetObjectFailed(reason='no such object', key=key)
        return self._objects[key]

    def list_objects(self, prefix=None, limit=None, marker=None, sort_dir=None, context=None):
        if self.is_away:
            raise exception.BankListObjectsFailed(reason='away')
        found = sorted(key for key in self._objects if key.startswith(prefix) and (marker is None or key > marker))
        return list(reversed(found[: limit or 3]))

    def delete_object(self, key, context=None):
        try:
            del self._objects[key]
        except KeyError as err:
            raise exception.BankDeleteObjectFailed(reason=err, key=key)

    def get_owner_id(self, context=None):
        return 'owner'

    def acquire_lease(self):
        raise exception.AcquireLeaseFailed(reason='never')

    def renew_lease(self):
        pass

    def check_lease_validity(self):
        return False
