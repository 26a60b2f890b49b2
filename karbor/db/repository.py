# SPDX-License-Identifier: Apache-2.0
"""The one repository for every table: get, find, count, create, update, put, delete, with filters as data.

Each function takes part in the caller's transaction (`engine.writing`, `engine.reading`) or makes
its own. Rows of tables that keep deleted rows are those not deleted, unless `deleted` is a filter.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from oslo_utils import timeutils
from sqlalchemy import orm
from sqlalchemy.dialects import mysql, postgresql, sqlite

from karbor.db import engine, models

Row = TypeVar('Row', bound=models.Base)
Sort = Sequence[tuple[str, str]]  # (column, 'asc' or 'desc')
MYSQL = ('mysql', 'mariadb')  # the names that SQLAlchemy has for one kind of database


@dataclass(frozen=True)
class Contains:
    """A filter: the column holds this text somewhere; `%` and `_` mean themselves."""

    text: str


@dataclass(frozen=True)
class OneOf:
    """A filter: the column is one of these."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Between:
    """A filter: the column is at least ``first`` and less than ``end``; None is open."""

    first: Any = None
    end: Any = None


@dataclass(frozen=True)
class Not:
    """A filter: the column is not this."""

    value: Any


def get(model: type[Row], id: Any, **filters: Any) -> Row | None:
    """The row whose primary key is ``id`` (a tuple where it has several columns), if it passes the filters."""
    with engine.reading() as session:
        return session.scalars(_select(model, _key(model, id) | filters)).one_or_none()


def lock(model: type[Row], id: Any, **filters: Any) -> Row | None:
    """As `get`, and nobody else writes or locks the row until the caller's transaction ends."""
    with engine.writing() as session:
        query = _select(model, _key(model, id) | filters).with_for_update()
        return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def find(
    model: type[Row],
    columns: Sequence[Any] | None = None,
    filters: Mapping[str, Any] | None = None,
    sort: Sort = (),
    limit: int | None = None,
    after: Any = None,
    offset: int = 0,
) -> Sequence[Any]:
    """Rows of ``model``, or of its ``columns`` only (names, or labelled expressions), in the order of ``sort``.

    ``after`` is a row (or a selection of the sort columns) that the first result must follow in
    that order; NULL sorts lowest. A sort should end in a unique column.
    """
    table = table_of(model)
    query = (
        sa.select(model) if columns is None else sa.select(*(table.c[c] if isinstance(c, str) else c for c in columns))
    )
    query = _page(model, query, filters or {}, sort, limit, after, offset)
    with engine.reading() as session:
        return session.scalars(query).all() if columns is None else session.execute(query).all()


def count(model: type[Row], *conditions: Any, **filters: Any) -> int:
    """How many rows pass the filters, and the ``conditions`` that no filter can tell."""
    query = sa.select(sa.func.count()).select_from(table_of(model)).where(*_conditions(model, filters), *conditions)
    with engine.reading() as session:
        return session.scalar(query) or 0


def create(row: Row) -> Row:
    """``row`` as it was inserted, with the values that the database gave."""
    with engine.writing() as session:
        session.add(row)
        session.flush()
        return row


def create_many(model: type[Row], values: Sequence[Mapping[str, Any]]) -> None:
    """Insert a row for each of ``values``, in as few statements as the database allows."""
    if values:
        with engine.writing() as session:
            session.execute(table_of(model).insert(), list(values))


def update(model: type[Row], id: Any, values: Mapping[str, Any], **expected: Any) -> bool:
    """Whether the row ``id`` was as ``expected`` (a filter for each column) and now holds ``values``: a
    compare-and-swap.
    """
    with engine.writing() as session:
        query = sa.update(table_of(model)).where(*_conditions(model, _key(model, id) | expected)).values(**values)
        return matched(session, query) == 1


def update_all(model: type[Row], values: Mapping[str, Any], **filters: Any) -> int:
    """The number of rows that passed the filters and now hold ``values``."""
    with engine.writing() as session:
        return matched(session, sa.update(table_of(model)).where(*_conditions(model, filters)).values(**values))


def put(model: type[Row], key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """The row with this ``key`` (all columns of a unique constraint) holds ``values`` and is not deleted: whether there
    was one or not, and whoever else puts one at the same time.
    """
    changes = {**values, 'updated_at': timeutils.utcnow(), 'deleted': False, 'deleted_at': None}
    with engine.writing() as session:
        name = session.get_bind().dialect.name
        if name in ('mysql', 'mariadb'):
            session.execute(mysql.insert(model).values(**key, **values).on_duplicate_key_update(**changes))
        else:
            insert = sqlite.insert if name == 'sqlite' else postgresql.insert
            query = insert(model).values(**key, **values)
            session.execute(query.on_conflict_do_update(index_elements=list(key), set_=changes))


def delete(model: type[Row], id: Any, **expected: Any) -> bool:
    """Whether the row was there, as ``expected``, and is deleted now: marked in tables that keep deleted
    rows, else removed.
    """
    if 'deleted' in model.__table__.c:
        return update(model, id, {'deleted': True, 'deleted_at': timeutils.utcnow()}, **expected)
    with engine.writing() as session:
        return matched(session, sa.delete(table_of(model)).where(*_conditions(model, _key(model, id) | expected))) == 1


def matched(session: orm.Session, query: Any, **parameters: Any) -> int:
    """The number of rows that an UPDATE or DELETE of a table (`table_of`) found."""
    return cast(sa.CursorResult[Any], session.execute(query, parameters)).rowcount


def table_of(model: type[models.Base]) -> sa.Table:
    """The table itself: a statement of tables costs half of what one of models does."""
    return cast(sa.Table, model.__table__)


def _page(
    model: type[Row],
    query: Any,
    filters: Mapping[str, Any],
    sort: Sort,
    limit: int | None,
    after: Any,
    offset: int,
) -> Any:
    """The part of ``query`` that `find` describes."""
    table = table_of(model)
    equal = {name for name, wanted in filters.items() if _is_one(wanted)}
    if 'deleted' in table.c and 'deleted' not in filters:
        equal.add('deleted')
    several = limit and next((name for name, wanted in filters.items() if isinstance(wanted, OneOf)), None)
    if several and index_of(table, equal | {several}, sort) not in (None, index_of(table, equal, sort)):
        # No index has the rows of several values in the order of anything else: a page of each is as good.
        depth = (limit or 0) + offset
        pages = [
            _page(model, sa.select(*table.primary_key), {**filters, several: value}, sort, depth, after, 0)
            for value in filters[several].values
        ]
        found = sa.union_all(*(sa.select(page.subquery()) for page in pages)).subquery()
        query = query.join(found, sa.and_(*(found.c[c.name] == c for c in table.primary_key)))
    else:
        query = query.where(*_conditions(model, filters))
        if after is not None:
            query = query.where(_following(table, sort, after))
        index = index_of(table, equal, sort) if limit else None
        if index is not None:
            # MariaDB looks for a project first, by whatever index, and then sorts all that it has.
            for dialect in MYSQL:
                query = query.with_hint(table, f'FORCE INDEX ({index})', dialect)
    for name, direction in sort:
        query = query.order_by(_ordered(table.c[name], direction))
    return query.limit(limit).offset(offset or None)


def index_of(table: Any, equal: Set[str], sort: Sort) -> str | None:
    """The name of the index that has the rows with the columns ``equal`` fixed in the order of ``sort``, or None.

    An index that begins with what is not every row's, such as a plan, has few rows, and is as good in any order.
    """
    order = [name for name, _ in sort if name not in equal]
    if not sort or len({direction for _, direction in sort}) > 1:
        return None
    found = []
    for name, columns in _indexes(table).items():
        fixed = next((n for n, column in enumerate(columns) if column not in equal), len(columns))
        is_of_few = columns[0] in equal and columns[0] not in _OF_MANY
        if is_of_few or columns[fixed : fixed + len(order)] == order and (fixed or equal <= _OF_MANY - {'project_id'}):
            found.append((is_of_few, fixed, name))
    return max(found)[-1] if found else None


# Columns that many rows have one value of.
_OF_MANY = frozenset(['project_id', 'provider_id', 'deleted'])


@functools.cache
def _indexes(table: Any) -> dict[str, list[str]]:
    """The names of the table's indexes, on MySQL, with their columns."""
    found = {str(index.name): [c.name for c in index.columns] for index in table.indexes}
    return found | {'PRIMARY': [c.name for c in table.primary_key]}


def _is_one(wanted: Any) -> bool:
    return not isinstance(wanted, (Contains, OneOf, Between, Not))


def _key(model: type[Row], id: Any) -> dict[str, Any]:
    names = [c.name for c in model.__table__.primary_key]
    return dict(zip(names, id if isinstance(id, tuple) else (id,), strict=True))


def _select(model: type[Row], filters: Mapping[str, Any]) -> Any:
    return sa.select(model).where(*_conditions(model, filters))


def _conditions(model: type[Row], filters: Mapping[str, Any]) -> Iterator[Any]:
    columns = model.__table__.c
    if 'deleted' in columns and 'deleted' not in filters:
        yield columns.deleted == sa.false()
    for name, wanted in filters.items():
        yield _condition(columns[name], wanted)


def _condition(column: Any, wanted: Any) -> Any:
    match wanted:
        case Contains(text):
            return sa.type_coerce(column, sa.Text).contains(text, autoescape=True)  # the text itself, of JSON, too
        case OneOf(values):
            return column.in_(values)
        case Between(first, end):
            return sa.and_(
                True,
                *([column >= first] if first is not None else []),
                *([column < end] if end is not None else []),
            )
        case Not(None):
            return column.is_not(None)
        case Not(value):
            return column != value
        case None:
            return column.is_(None)
    return column == wanted


def _ordered(column: Any, direction: str) -> Any:
    """NULL lowest on every database: PostgreSQL alone has to be told, MariaDB could not read it."""
    ordered = column.asc() if direction == 'asc' else column.desc()
    if _may_be_null(column) and engine.engine().dialect.name == 'postgresql':
        return ordered.nulls_first() if direction == 'asc' else ordered.nulls_last()
    return ordered


def _following(table: Any, sort: Sort, after: Any) -> Any:
    """Rows behind ``after``: (a, b) < (x, y). MariaDB finds a range in it only when it is told as a <= x AND (a < x OR
    (a = x AND …)), and that is the one way, too, where directions differ or NULL has to be lowest.
    """
    directions = {direction for _, direction in sort}
    columns = [table.c[name] for name, _ in sort]
    is_plain = len(directions) == 1 and not any(map(_may_be_null, columns))
    if is_plain and engine.engine().dialect.name not in MYSQL:
        one, other = sa.tuple_(*columns), sa.tuple_(*(getattr(after, name) for name, _ in sort))
        return one > other if directions == {'asc'} else one < other
    following: Any = sa.false()
    for name, direction in reversed(sort):
        column, value = table.c[name], getattr(after, name)
        following = sa.or_(_behind(column, direction, value), sa.and_(_condition(column, value), following))
    name, direction = sort[0]
    column, value = table.c[name], getattr(after, name)
    if value is None:
        return following
    at_most = column >= value if direction == 'asc' else column <= value
    if _may_be_null(column) and direction == 'desc':
        at_most = sa.or_(at_most, column.is_(None))
    return sa.and_(at_most, following)


def _behind(column: Any, direction: str, value: Any) -> Any:
    if direction == 'asc':
        return column.is_not(None) if value is None else column > value
    if value is None:
        return sa.false()
    return sa.or_(column < value, column.is_(None)) if _may_be_null(column) else column < value


def _may_be_null(column: Any) -> bool:
    return column.nullable and not column.info.get('is_filled')
