# SPDX-License-Identifier: Apache-2.0
"""A plan: what belongs together, and the options of its protection."""

from typing import Any

import sqlalchemy as sa
from oslo_versionedobjects import fields
from sqlalchemy import orm

from karbor import exception
from karbor.db import engine, models, repository
from karbor.objects import base


@base.registry.register
class Plan(base.KarborObject):
    """``resources`` is a list of ``{id, type, name[, extra_info]}``; ``parameters`` maps a type or
    `type#id` to options.
    """

    model = models.Plan
    not_found = exception.PlanNotFound

    fields = {
        'id': fields.UUIDField(),
        'name': fields.StringField(nullable=True),
        'description': fields.StringField(nullable=True),
        'provider_id': fields.StringField(nullable=True),
        'project_id': fields.StringField(nullable=True),
        'status': fields.StringField(nullable=True),
        'parameters': base.JsonField(nullable=True),
        'resources': base.JsonField(nullable=True),
    }

    @classmethod
    def _read(cls, id: str, filters: dict[str, Any]) -> Any:
        query = sa.select(models.Plan).options(orm.joinedload(models.Plan.resources))
        query = query.filter_by(id=id, deleted=False, **filters)
        with engine.reading() as session:
            return session.scalars(query).unique().one_or_none()

    @classmethod
    def _values(cls, row: Any) -> dict[str, Any]:
        values = {name: getattr(row, name) for name in cls.fields if name != 'resources'}
        return values | {'resources': [_shown(r) for r in row.resources]}

    def create(self) -> None:
        """Insert the plan with its resources."""
        with engine.writing():
            super().create()
            self._add_resources()

    def save(self, **expected: Any) -> bool:  # type: ignore[override]
        """As in the base; ``resources`` replaces the whole list."""
        replaced = 'resources' in self.obj_what_changed()
        with engine.writing() as session:
            if not super().save(**expected):
                return False
            if replaced:
                session.execute(sa.delete(models.Resource).where(models.Resource.plan_id == self.id))
                self._add_resources()
        return True

    def _add_resources(self) -> None:
        """A row each, in as few statements as the database allows."""
        rows = [{'plan_id': self.id} | {column: r.get(key) for column, key in _COLUMNS.items()} for r in self.resources]
        repository.create_many(models.Resource, rows)


_COLUMNS = {
    'resource_id': 'id',
    'resource_type': 'type',
    'resource_name': 'name',
    'resource_extra_info': 'extra_info',
}


def _shown(row: models.Resource) -> dict[str, Any]:
    shown = {'id': row.resource_id, 'type': row.resource_type, 'name': row.resource_name}
    return shown | {'extra_info': row.resource_extra_info} if row.resource_extra_info else shown
