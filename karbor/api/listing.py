# SPDX-License-Identifier: Apache-2.0
"""Lists: limit, marker, offset, sort and filters of a query, and the link to the next page.

A page takes at most three statements: the marker's row, the page, and what belongs to its rows.
"""

import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oslo_config import cfg
from pecan import core

from karbor import exception
from karbor.api.method import Call
from karbor.api.schema import TEXT, Schema
from karbor.db import models, repository

CONF = cfg.CONF
_SORTS = {'id': 'id', 'name': 'name', 'status': 'status', 'created_at': 'created_at'}
MANY: Schema = {'type': 'array', 'items': TEXT}

QUERY: dict[str, Schema] = {
    'limit': {'type': 'integer', 'minimum': 1, 'maximum': 2**31 - 1},
    'offset': {'type': 'integer', 'minimum': 0, 'maximum': 2**31 - 1},
    'marker': TEXT,
    'sort': TEXT,
    'sort_key': TEXT,
    'sort_dir': TEXT,
}
TENANTS: dict[str, Schema] = {'all_tenants': {'type': 'boolean'}, 'project_id': TEXT}


def exactly(values: list[str]) -> Any:
    """A filter: the column is one of these."""
    return values[0] if len(values) == 1 else repository.OneOf(tuple(values))


def containing(values: list[str]) -> Any:
    """A filter: the column holds this text somewhere."""
    return repository.Contains(values[-1])


@dataclass(frozen=True)
class Page:
    """One page of a list, as `repository.find` takes it."""

    limit: int
    sort: Sequence[tuple[str, str]]
    after: Any = None
    offset: int = 0


@dataclass
class Collection:
    """A table as the API lists it.

    ``filters`` maps a key of the query to what makes a filter of its texts, ``columns`` a key to its
    column where they differ; ``option`` names the configuration option with the keys that users may
    use, ``added`` are those that they may use in any case. ``sorts`` maps sort keys to columns;
    ``ties`` end every sort.
    """

    key: str
    model: type[models.Base]
    filters: dict[str, Callable[[list[str]], Any]] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    option: str | None = None
    added: frozenset[str] = frozenset()
    sorts: dict[str, str] = field(default_factory=lambda: dict(_SORTS))
    default_sort: str = 'created_at:desc'
    ties: tuple[str, ...] = ('created_at', 'id')
    id: str = 'id'

    @property
    def query(self) -> dict[str, Schema]:
        """The keys of the query that the list takes."""
        owned = TENANTS if 'project_id' in self.model.__table__.c else {}
        return {**QUERY, **owned, **{name: MANY for name in self.filters}}

    def read(
        self,
        call: Call,
        columns: Sequence[Any] | None,
        within: Mapping[str, Any] | None = None,
        also: Mapping[str, Any] | None = None,
    ) -> Sequence[Any]:
        """The ``columns`` (None: whole rows) of the page's rows, in at most two statements.

        ``within`` are filters that make the collection (a marker has to pass them), ``also`` further ones.
        """
        whose = {**self._whose(call), **(within or {})}
        page = self.page(call, whose)
        filters = {**(also or {}), **self._filters(call), **whose}
        return repository.find(self.model, columns, filters, page.sort, page.limit, page.after, page.offset)

    def select(self, call: Call, rows: Sequence[Any]) -> Sequence[Any]:
        """The page of ``rows`` that are all in memory; as in the database, None sorts lowest."""
        rows = [row for row in rows if all(_passes(row, *pair) for pair in self._filters(call).items())]
        for column, direction in reversed(self._sort(call.query)):
            rows = sorted(rows, key=_sort_key(column), reverse=direction == 'desc')
        marker, first = call.query.get('marker'), call.query.get('offset', 0)
        if marker is not None:
            ids = [getattr(row, self.id) for row in rows]
            if marker not in ids:
                raise self._unknown()
            first += ids.index(marker) + 1
        return rows[first : first + limit_of(call)]

    def page(self, call: Call, whose: Mapping[str, Any]) -> Page:
        """What the query says about place and order; the marker is looked for among the rows that are ``whose``."""
        sort = self._sort(call.query)
        marker = call.query.get('marker')
        after = None if marker is None else self._after(marker, sort, whose)
        return Page(limit_of(call), sort, after, call.query.get('offset', 0))

    def _after(self, marker: str, sort: Sequence[tuple[str, str]], whose: Mapping[str, Any]) -> Any:
        wanted = {self.id: marker, **whose}
        if 'deleted' in self.model.__table__.c:
            # The last one of a page may be gone before the next page is asked for.
            wanted['deleted'] = repository.OneOf((False, True))
        found = repository.find(self.model, [column for column, _ in sort], wanted, limit=1)
        if not found:
            raise self._unknown()
        return found[0]

    def _unknown(self) -> exception.InvalidInput:
        return exception.InvalidInput(field='marker', reason=f'nothing in {self.key} has this id')

    def reply(self, call: Call, items: Sequence[Any], last: str | None = None) -> dict[str, Any]:
        """As `reply` below."""
        return reply(call, self.key, items, last)

    def _whose(self, call: Call) -> dict[str, Any]:
        if 'project_id' not in self.model.__table__.c:
            return {}
        if not (call.context.is_admin and call.query.get('all_tenants')):
            return {'project_id': call.context.project_id}
        return {'project_id': call.query['project_id']} if 'project_id' in call.query else {}

    def _filters(self, call: Call) -> dict[str, Any]:
        return {
            self.columns.get(name, name): make(call.query[name])
            for name, make in self.filters.items()
            if name in call.query and self._may_use(name, call)
        }

    def _may_use(self, name: str, call: Call) -> bool:
        return self.option is None or call.context.is_admin or name in self.added or name in CONF[self.option]

    def _sort(self, query: Mapping[str, Any]) -> list[tuple[str, str]]:
        wanted = wanted_sort(query, self.sorts, self.default_sort)
        columns: dict[str, str] = {}
        for key, direction in wanted:
            columns.setdefault(self.sorts[key], direction)
        for column in self.ties:
            columns.setdefault(column, wanted[0][1])
        # What stands behind the unique one changes nothing, and no index would have it.
        names = list(columns)
        return [(name, columns[name]) for name in names[: names.index(self.ties[-1]) + 1]]


def _sort_key(column: str) -> Callable[[Any], tuple[bool, Any]]:
    def key(row: Any) -> tuple[bool, Any]:
        value = getattr(row, column)
        return value is not None, '' if value is None else value

    return key


def _passes(row: Any, column: str, wanted: Any) -> bool:
    value = getattr(row, column)
    return value in wanted.values if isinstance(wanted, repository.OneOf) else value == wanted


def limit_of(call: Call) -> int:
    """The most items of the page: what the query says, at most `osapi_max_limit`."""
    return min(call.query.get('limit', CONF.osapi_max_limit), CONF.osapi_max_limit)


def wanted_sort(
    query: Mapping[str, Any], keys: Sequence[str] | Mapping[str, str], default: str = 'created_at:desc'
) -> list[tuple[str, str]]:
    """The (key, direction) pairs that the query asks for. A direction that is left out is `desc`. Raises
    InvalidInput for a key that is not among ``keys``.
    """
    single = {name: query[name] for name in ('sort_key', 'sort_dir') if query.get(name)}
    if query.get('sort') and single:
        raise exception.InvalidInput(field='sort', reason='cannot be combined with sort_key and sort_dir')
    if single:
        pairs = [(single.get('sort_key', default.partition(':')[0]), single.get('sort_dir', 'desc'))]
    else:
        parts = (part.partition(':') for part in (query.get('sort') or default).split(','))
        pairs = [(key.strip(), direction.strip() or 'desc') for key, _, direction in parts]
    for key, direction in pairs:
        if key not in keys:
            raise exception.InvalidInput(field='sort', reason=f'keys are {", ".join(keys)}')
        if direction.lower() not in ('asc', 'desc'):
            raise exception.InvalidInput(field='sort', reason='directions are asc and desc')
    return [(key, direction.lower()) for key, direction in pairs]


def reply(call: Call, key: str, items: Sequence[Any], last: str | None = None) -> dict[str, Any]:
    """A collection's envelope. A full page has the link to the next one: its marker is ``last``, or the last id."""
    shown: dict[str, Any] = {key: items}
    if items and len(items) >= limit_of(call):
        href = next_link(call.request, last or items[-1]['id'])
        shown[f'{key}_links'] = [{'rel': 'next', 'href': href}]
    return shown


def base_url(request: core.Request) -> str:
    """Where the client reaches the API: `osapi_karbor_base_URL`, else the host of the request, behind proxies the
    last X-Forwarded-Host.
    """
    if CONF.osapi_karbor_base_URL:
        return str(CONF.osapi_karbor_base_URL).rstrip('/') + request.script_name
    forwarded = request.headers.get('X-Forwarded-Host', '').split(',')[-1].strip()
    host = f'{request.scheme}://{forwarded}' if forwarded else request.host_url
    return host + request.script_name


def next_link(request: core.Request, marker: str) -> str:
    """The URL of this page with another marker; what was left out at the beginning is not left out again."""
    kept = [(k, v) for k, v in request.GET.items() if k not in ('marker', 'offset')]
    path = urllib.parse.quote(request.path_info, safe="/:@!$&'()*+,;=")
    return f'{base_url(request)}{path}?{urllib.parse.urlencode([*kept, ("marker", marker)])}'
