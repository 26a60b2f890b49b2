# SPDX-License-Identifier: Apache-2.0
"""An operation, as its log tells it."""

from oslo_versionedobjects import fields

from karbor import exception
from karbor.db import models
from karbor.objects import base


@base.registry.register
class OperationLog(base.KarborObject):
    """``user_id``, ``roles`` and ``request_id`` are who asked; ``parameters`` what for, by type or `type#id`."""

    VERSION = '1.1'  # 1.1: source_checkpoint_id

    model = models.OperationLog
    not_found = exception.OperationLogNotFound

    fields = {
        'id': fields.UUIDField(),
        'project_id': fields.StringField(),
        'operation_type': fields.StringField(),
        'checkpoint_id': fields.StringField(nullable=True),
        'plan_id': fields.StringField(nullable=True),
        'provider_id': fields.StringField(nullable=True),
        'restore_id': fields.StringField(nullable=True),
        'verification_id': fields.StringField(nullable=True),
        'source_checkpoint_id': fields.StringField(nullable=True),
        'scheduled_operation_id': fields.StringField(nullable=True),
        'status': fields.StringField(nullable=True),
        'status_details': fields.StringField(nullable=True),
        'started_at': base.MomentField(nullable=True),
        'ended_at': base.MomentField(nullable=True),
        'error_info': fields.StringField(nullable=True),
        'extra_info': base.JsonField(nullable=True),
        'resumable': fields.BooleanField(nullable=True),
        'user_id': fields.StringField(nullable=True),
        'roles': base.JsonField(nullable=True),
        'request_id': fields.StringField(nullable=True),
        'parameters': base.JsonField(nullable=True),
        'owner': fields.StringField(nullable=True),
        'expires_at': fields.FloatField(nullable=True),
        'created_at': base.MomentField(nullable=True),
    }
