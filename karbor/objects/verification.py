# SPDX-License-Identifier: Apache-2.0
"""A verification of a checkpoint: whether its copies are still good."""

from oslo_versionedobjects import fields

from karbor import exception
from karbor.db import models
from karbor.objects import base


@base.registry.register
class Verification(base.KarborObject):
    """What is known of each resource is in the rows of its operation, `operation_resource`."""

    model = models.Verification
    not_found = exception.VerificationNotFound

    fields = {
        'id': fields.UUIDField(),
        'project_id': fields.StringField(nullable=True),
        'provider_id': fields.StringField(),
        'checkpoint_id': fields.StringField(),
        'parameters': base.JsonField(nullable=True),
        'status': fields.StringField(nullable=True),
        'created_at': base.MomentField(nullable=True),
    }
