# SPDX-License-Identifier: Apache-2.0
"""`@method`: what a method of the API needs and takes, and what it answers; checked before and after it runs."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import jsonschema
import orjson
from oslo_config import cfg
from oslo_utils import strutils
from pecan import core

from karbor import exception, policies
from karbor.api import etag, events, hooks, idempotency, schema
from karbor.api.request import Answer, Call
from karbor.api.schema import Schema
from karbor.context import RequestContext

CONF = cfg.CONF

# The deepest body that is taken: what is read has to be written again, by libraries with limits of their own.
MAX_DEPTH = 64


@dataclass
class Method:
    """A function ``(call, **variables of the path)`` with its declarations; ``public`` needs no token."""

    function: Callable[..., Any]
    policy: str | None = None
    body: Schema | None = None
    query: dict[str, Schema] | None = None
    reply: Schema | None = None
    status: int = 200
    event: events.Event | None = None
    tagged: bool = False
    faults: tuple[int, ...] = ()
    path: dict[str, Schema] = field(default_factory=dict)
    checks: dict[str, jsonschema.Draft202012Validator] = field(default_factory=dict)

    # Tests turn this on: every reply is checked against its schema, every fault against `codes`.
    check_replies = False

    def __post_init__(self) -> None:
        query = {'type': 'object', 'properties': self.query} if self.query is not None else None
        for name, found in (('body', self.body), ('query', query), ('reply', self.reply)):
            if found is not None:
                self.checks[name] = schema.validator(found)

    @property
    def public(self) -> bool:
        return self.policy is None

    def __call__(self, request: core.Request, variables: dict[str, str]) -> Answer:
        """The answer. Raises what the caller did wrong as a KarborError."""
        if not self.check_replies:
            return self._answer_of(Call(request, request.context), variables)
        try:
            return self._answer_of(Call(request, request.context), dict(variables))
        except Exception as error:  # whatever ends a request is looked at by the test, and raised again
            code = hooks.known(error).code
            assert code == 500 or code in self.codes(request.method, variables), f'{code} is not declared'
            raise

    def codes(self, verb: str, variables: Collection[str]) -> set[int]:
        """The codes of the faults that a call may be answered with, by what the method declares: THE place for them.

        ``variables`` are the names of those in the path. What nobody foresaw, 500, is not among them.
        """
        codes = {400, *self.faults}
        if not self.public:
            codes |= {401, 403, 503}
        if not {'project_id'}.issuperset(variables):
            codes.add(404)
        if self.body is not None:
            codes.add(413)
        if verb == 'POST':
            codes |= {409, 422}  # Idempotency-Key
        if self.tagged and verb in ('PUT', 'DELETE'):
            codes.add(412)
        return codes

    def schema_of(self, variable: str) -> Schema:
        """What the variable of the path has to be: an id, unless ``path`` says otherwise."""
        return self.path.get(variable) or (schema.TEXT if variable == 'project_id' else schema.UUID)

    def _answer_of(self, call: Call, variables: dict[str, str]) -> Answer:
        request = call.request
        if not self.public:
            self._admit(call.context, variables)
        if self.query is not None:
            call.query = self._read_query(request)
        if self.body is not None:
            call.body = self._read_body(request)
        if request.method == 'POST' and idempotency.HEADER in request.headers:
            return idempotency.once(call, lambda: self._answer(call, variables))
        return self._answer(call, variables)

    def _answer(self, call: Call, variables: dict[str, str]) -> Answer:
        with events.told(self.event, call, variables) as results:
            result = self.function(call, **variables)
            results.append(result)
        if etag.is_known(call):
            return Answer(304, b'', call.headers)
        return Answer(self.status, self._rendered(result), call.headers)

    def _admit(self, context: RequestContext, variables: dict[str, str]) -> None:
        if variables.pop('project_id') != context.project_id:
            raise exception.BadRequest('The project of the URL is not the project of the token.')
        policies.enforce(str(self.policy), context)
        for name, value in variables.items():
            if name.endswith('_id') and not schema.is_uuid(value):
                raise exception.InvalidInput(field=name, reason='must be a UUID')

    def _read_query(self, request: core.Request) -> dict[str, Any]:
        """The declared keys of the query, by their types; a key given several times is a list where its schema
        takes one. Other keys are ignored.
        """
        given, read = request.GET, {}
        for name, wanted in (self.query or {}).items():
            if name in given:
                many = wanted.get('type') == 'array'
                read[name] = given.getall(name) if many else _typed(given.getall(name)[-1], wanted.get('type'))
        schema.check(self.checks['query'], read, 'query')
        return read

    def _read_body(self, request: core.Request) -> Any:
        if request.content_type != 'application/json':
            raise exception.BadRequest('Content-Type: must be application/json.')
        try:
            body = request.json
        except ValueError:
            raise exception.BadRequest('body: must be JSON in UTF-8.') from None
        if _is_deep(request.body, body):
            raise exception.BadRequest(f'body: must not be nested deeper than {MAX_DEPTH} levels.')
        schema.check(self.checks['body'], body)
        return body

    def _rendered(self, result: Any) -> bytes:
        rendered = b'' if result is None else orjson.dumps(result)
        if self.check_replies:
            assert (result is None) == (self.reply is None)
            if self.reply is not None:
                self.checks['reply'].validate(orjson.loads(rendered))
        return rendered


def method(
    policy: str | None,
    *,
    body: Schema | None = None,
    query: dict[str, Schema] | None = None,
    reply: Schema | None = None,
    status: int = 200,
    event: events.Event | None = None,
    tagged: bool = False,
    faults: tuple[int, ...] = (),
    path: dict[str, Schema] | None = None,
) -> Callable[[Callable[..., Any]], Method]:
    """The one decorator of API methods.

    ``policy`` is the rule that the caller needs, None for a public method. ``body`` is the schema
    of the body, which the method gets alone; ``query`` maps keys of the query to schemas; ``reply``
    is the schema of what the method returns, which may be anything orjson renders, or None for an
    empty body. ``event`` is what notifications tell of it. ``tagged`` replies have an `ETag`, or the request
    may depend on it: see `etag`. ``faults`` are the codes that it answers beyond what `Method.codes` tells by the
    other declarations. ``path`` maps variables of the path that are no ids to schemas.
    """
    return lambda function: Method(function, policy, body, query, reply, status, event, tagged, faults, path or {})


def _typed(text: str, kind: Any) -> Any:
    """``text`` of a query as the schema's type; left as it is where it cannot be, for the schema to refuse."""
    try:
        if kind == 'integer':
            return int(text) if len(text) < 20 else text
        if kind == 'boolean':
            return strutils.bool_from_string(text, strict=True)
    except ValueError:
        pass
    return text


def _is_deep(raw: bytes, value: Any) -> bool:
    if raw.count(b'{') + raw.count(b'[') <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
    return bool(level)


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
