# SPDX-License-Identifier: Apache-2.0
"""A checkpoint, as the database has it: the row that lists and accepting work on. The bank has its durable truth."""

from typing import Any

from oslo_versionedobjects import fields

from karbor import exception
from karbor.db import models, repository
from karbor.objects import base

NO_GRAPH = '[{}, []]'


@base.registry.register
class Checkpoint(base.KarborObject):
    """``protection_plan`` is the plan as it was; ``extend_info`` JSON text; ``status`` a word of CheckpointStatus."""

    model = models.CheckpointRecord
    not_found = exception.CheckpointNotFound

    fields = {
        'id': fields.UUIDField(),
        'project_id': fields.StringField(),
        'checkpoint_status': fields.StringField(),
        'status_details': fields.StringField(nullable=True),
        'provider_id': fields.StringField(),
        'plan_id': fields.StringField(),
        'operation_id': fields.StringField(nullable=True),
        'create_by': fields.StringField(nullable=True),
        'extend_info': fields.StringField(nullable=True),
        'protection_plan': base.JsonField(nullable=True),
        'created_at': base.MomentField(nullable=True),
    }

    def _row(self) -> models.Base:
        row = super()._row()
        row.checkpoint_id = self.id
        return row

    def graph(self) -> str:
        """The resource graph as JSON text, `[{}, []]` until it is known."""
        found: Any = repository.get(models.CheckpointGraph, self.id)
        return found.graph if found else NO_GRAPH
