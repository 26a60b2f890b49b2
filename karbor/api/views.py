# SPDX-License-Identifier: Apache-2.0
"""Values as replies show them, and stored JSON spliced into a reply instead of read and written."""

import datetime
from typing import Any

import orjson
import sqlalchemy as sa


def as_text(column: Any) -> Any:
    """``column`` (JSON) as `repository.find` selects its text, under its own name."""
    return sa.type_coerce(column.class_.__table__.c[column.key], sa.Text).label(column.key)


def stored(text: str | None, nothing: Any = None) -> Any:
    """What renders as the JSON ``text`` of a column; ``nothing`` where there is none."""
    return orjson.Fragment(text) if text else nothing


def moment(value: datetime.datetime | None) -> str | None:
    """A time in UTC as `YYYY-MM-DDTHH:MM:SS.ffffff`."""
    return None if value is None else value.isoformat(timespec='microseconds')
