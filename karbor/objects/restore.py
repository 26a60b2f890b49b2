# SPDX-License-Identifier: Apache-2.0
"""A restore of a checkpoint, and what plugins report about each of its resources."""

from collections.abc import Callable

from oslo_versionedobjects import fields

from karbor import exception, statuses
from karbor.db import models
from karbor.objects import base, operation_resource


@base.registry.register
class Restore(base.KarborObject):
    model = models.Restore
    not_found = exception.RestoreNotFound

    fields = {
        'id': fields.UUIDField(),
        'project_id': fields.StringField(nullable=True),
        'provider_id': fields.StringField(nullable=True),
        'checkpoint_id': fields.StringField(nullable=True),
        'restore_target': fields.StringField(nullable=True),
        'parameters': base.JsonField(nullable=True),
        'status': fields.StringField(nullable=True),
        'resources_status': base.JsonField(nullable=True),
        'resources_reason': base.JsonField(nullable=True),
        'created_at': base.MomentField(nullable=True),
    }

    # Where a running operation takes reports, so that they are written in groups with the rest.
    recorder: Callable[[str, str, statuses.ResourceStatus | None, str | None], None] | None = None

    def update_resource_status(self, type: str, id: str, status: str, reason: str | None = None) -> None:
        """Record that resource ``type`` ``id`` (the original's id, or the new one's) is ``status`` now, and why.

        ``status`` is a word of `statuses` (restoring, available, error, or the cloud's own);
        ``reason`` is cut to 4096 characters, control characters become blanks. Every view of the
        restore shows it within a second. (Seed 000.)
        """
        found, details = statuses.resource_status(status, reason)
        if self.recorder is not None:
            self.recorder(type, id, found, details)
        else:
            operation_resource.record_for_restore(self.id, type, id, found, details)
