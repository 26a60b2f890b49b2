# SPDX-License-Identifier: Apache-2.0
"""A scheduled operation: what to do whenever its trigger is due."""

from oslo_versionedobjects import fields

from karbor import exception
from karbor.db import models
from karbor.objects import base


@base.registry.register
class ScheduledOperation(base.KarborObject):
    """``operation_definition`` says what to protect, and what to retain; ``user_id`` for whom it runs."""

    model = models.ScheduledOperation
    not_found = exception.ScheduledOperationNotFound

    fields = {
        'id': fields.UUIDField(),
        'name': fields.StringField(),
        'description': fields.StringField(nullable=True),
        'operation_type': fields.StringField(),
        'user_id': fields.StringField(),
        'project_id': fields.StringField(),
        'trigger_id': fields.StringField(),
        'operation_definition': base.JsonField(),
        'enabled': fields.BooleanField(),
        'created_at': base.MomentField(nullable=True),
    }
