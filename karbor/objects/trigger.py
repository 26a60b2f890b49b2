# SPDX-License-Identifier: Apache-2.0
"""A trigger: when the scheduled operations that refer to it are due."""

from oslo_versionedobjects import fields

from karbor import exception
from karbor.db import models
from karbor.objects import base


@base.registry.register
class Trigger(base.KarborObject):
    """``properties`` are those of the API; ``next_run_at`` is when it is due, None when it never is again."""

    model = models.Trigger
    not_found = exception.TriggerNotFound

    fields = {
        'id': fields.UUIDField(),
        'name': fields.StringField(),
        'project_id': fields.StringField(),
        'type': fields.StringField(),
        'properties': base.JsonField(),
        'next_run_at': base.MomentField(nullable=True),
        'created_at': base.MomentField(nullable=True),
    }
