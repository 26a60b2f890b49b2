# SPDX-License-Identifier: Apache-2.0
"""What versioned objects share: persistence, written once."""

import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

import karbor.native_threads  # noqa: F401 isort: skip  oslo.versionedobjects imports oslo.messaging
from oslo_utils import timeutils, uuidutils
from oslo_versionedobjects import base, fields

from karbor import exception
from karbor.db import models, repository

registry = base.VersionedObjectRegistry


class Json(fields.FieldType):
    """A value that JSON can carry, as it is."""

    def coerce(self, obj: Any, attr: str, value: Any) -> Any:
        return value

    def to_primitive(self, obj: Any, attr: str, value: Any) -> Any:
        return value

    def from_primitive(self, obj: Any, attr: str, value: Any) -> Any:
        return value


class JsonField(fields.AutoTypedField):
    AUTO_TYPE = Json()


class Moment(fields.DateTime):
    """A naive time in UTC, as the database has it."""

    def __init__(self) -> None:
        super().__init__(tzinfo_aware=False)


class MomentField(fields.AutoTypedField):
    AUTO_TYPE = Moment()


class KarborObject(base.VersionedObject):
    """A row with fields that cross RPC. ``model`` is its table; ``not_found`` what `get` raises."""

    OBJ_PROJECT_NAMESPACE = 'karbor'
    OBJ_SERIAL_NAMESPACE = 'karbor'
    VERSION = '1.0'

    if TYPE_CHECKING:  # the fields become attributes when a class is registered

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    model: ClassVar[type[models.Base]]
    not_found: ClassVar[type[exception.NotFound]] = exception.NotFound

    @classmethod
    def new(cls, **values: Any) -> Self:
        """An object with None in what ``values`` leaves out, and an id of its own where that is left out or None; not
        written yet.
        """
        values['id'] = values.get('id') or uuidutils.generate_uuid()
        return cls(**({name: None for name in cls.fields} | values))

    @classmethod
    def get(cls, id: str, **filters: Any) -> Self:
        """The object ``id`` that passes the filters. Raises ``not_found``."""
        row = cls._read(id, filters)
        if row is None:
            raise cls.not_found(id=id)
        found = cls(**cls._values(row))
        found.obj_reset_changes()  # what nobody changes is not written: somebody else may do that now
        return found

    @classmethod
    def was_made(cls, id: str) -> bool:
        """Whether there is, or was, the object ``id``: an earlier attempt of a request may have made it."""
        return repository.get(cls.model, id, deleted=repository.OneOf((True, False))) is not None

    @classmethod
    def _read(cls, id: str, filters: dict[str, Any]) -> Any:
        return repository.get(cls.model, id, **filters)

    @classmethod
    def _values(cls, row: Any) -> dict[str, Any]:
        return {name: getattr(row, name) for name in cls.fields}

    def _row(self) -> models.Base:
        return self.model(**{name: getattr(self, name) for name in self.fields if name in self.model.__table__.c})

    def create(self) -> None:
        """Insert it; ``created_at`` is known afterwards, where there is one."""
        row = repository.create(self._row())
        if 'created_at' in self.fields:
            self.created_at = row.created_at
        self.obj_reset_changes()

    def save(self, **expected: Any) -> bool:  # type: ignore[override]
        """Write what was changed, if the row still is as ``expected``; tells whether it was.

        The row's `updated_at` moves with each write, what is not in the row itself included.
        """
        changed = self.obj_get_changes()
        values = {k: v for k, v in changed.items() if k in self.model.__table__.c}
        values['updated_at'] = self._next(expected.get('updated_at'))
        saved = not changed or repository.update(self.model, self.id, values, **expected)
        if saved:
            self.obj_reset_changes()
        return saved

    @staticmethod
    def _next(last: datetime.datetime | None) -> datetime.datetime:
        """Now, and later than ``last`` on whatever clock that was: one who expects ``last`` finds it gone."""
        now = timeutils.utcnow()
        return now if last is None else max(now, last + datetime.timedelta(microseconds=1))

    def destroy(self, **expected: Any) -> bool:
        """Delete it, if it still is as ``expected``; tells whether it was there."""
        return repository.delete(self.model, self.id, **expected)
