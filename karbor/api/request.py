# SPDX-License-Identifier: Apache-2.0
"""A request and a reply, as Pecan is to see them, and as a method of the API does."""

from dataclasses import dataclass, field
from typing import Any

import orjson
from pecan import core

from karbor.context import RequestContext

_JSON = 'karbor.json'


class Request(core.Request):
    """A request whose JSON is parsed once. ``route`` and ``variables`` are what the routing table found."""

    @property
    def json(self) -> Any:
        """The body. Raises ValueError when it is not JSON."""
        if _JSON not in self.environ:
            self.environ[_JSON] = orjson.loads(self.body)
        return self.environ[_JSON]

    json_body = json

    @property
    def params(self) -> Any:
        """The query alone: nothing here takes forms."""
        return self.GET


class Response(core.Response):
    """A reply that keeps its 200: Pecan turns one without a body into 204, and users compare."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if self.status_int == 204:  # type: ignore[has-type]
            self.status_int = 200
            self.content_type = 'application/json'
        return super().__call__(environ, start_response)


@dataclass
class Answer:
    """What a method of the API answers, for the reply to carry."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Call:
    """What a method gets besides the variables of its path. ``body`` and ``query`` are as their schemas say,
    None where the method declares none. What it creates has the ``id``, or any where that is None; ``again`` tells
    that an earlier attempt of the same request may have created it. ``headers`` are for the reply.
    """

    request: core.Request
    context: RequestContext
    body: Any = None
    query: Any = None
    id: str | None = None
    again: bool = False
    headers: dict[str, str] = field(default_factory=dict)
