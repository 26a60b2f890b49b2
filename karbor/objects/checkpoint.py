# SPDX-License-Identifier: Apache-2.0
"""A checkpoint, as the database has it: the row that lists and accepting work on. The bank has its durable truth."""

from typing import Any

import orjson
from oslo_versionedobjects import fields

from karbor import exception
from karbor.db import models, repository
from karbor.objects import base
from karbor.statuses import CheckpointStatus

NO_GRAPH = '[{}, []]'
COPIED = {'copy_status': str(CheckpointStatus.FINISHED)}


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


def told_of(extend_info: str | None) -> dict[str, Any]:
    """What was kept with a checkpoint: its ``extend_info`` as an object, empty if it is none."""
    try:
        found = orjson.loads(extend_info or '{}')
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def is_copied(extend_info: str | None) -> bool:
    """Whether the checkpoint needs no copy: it has one, or is one."""
    return COPIED.items() <= told_of(extend_info).items()


def as_copied(extend_info: str | None) -> str:
    """``extend_info`` of a checkpoint that needs no copy any more."""
    return orjson.dumps(told_of(extend_info) | COPIED).decode()
