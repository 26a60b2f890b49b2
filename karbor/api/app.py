# SPDX-License-Identifier: Apache-2.0
"""The WSGI application: Pecan with its hooks, in its middleware."""

from collections.abc import Callable
from typing import Any

import pecan
from oslo_config import cfg
from oslo_middleware import cors, healthcheck, http_proxy_to_wsgi

from karbor.api import authentication, hooks, idempotency, middleware, pecan_speed, v1
from karbor.api.request import Request, Response

Layer = Callable[[Any], Any]

# `auth_strategy` -> what stands before the API
AUTHENTICATION: dict[str, Callable[[Any, cfg.ConfigOpts], Any]] = {
    'keystone': authentication.Keystone,
    'noauth': authentication.NoAuth,
}


class Root:
    """Leads every request through the routing table to one place."""

    @pecan.expose()
    def _route(self, remainder: list[str], request: Request) -> tuple[Any, list[str]]:
        request.route, request.variables = v1.TABLE.find(request.method, request.path_info)
        return self.serve, []

    @pecan.expose(content_type='application/json')
    def serve(self) -> bytes:
        request = pecan.request
        answer = request.route(request, request.variables)
        pecan.response.status_int = answer.status
        pecan.response.headers.update(answer.headers)
        return answer.body


class JsonHook(pecan.hooks.PecanHook):
    """Every reply is JSON, whatever the Accept header says."""

    def on_route(self, state: Any) -> None:
        state.request.pecan['content_type'] = 'application/json'


def load_app(conf: cfg.ConfigOpts) -> Any:
    """The API as a WSGI application; database and transport of the process are connected."""
    pecan_speed.apply()
    app: Any = pecan.Pecan(
        Root(),
        hooks=[JsonHook(), hooks.ContextHook(), hooks.ErrorHook()],
        request_cls=Request,
        response_cls=Response,
        # A path without a trailing slash is as good as one with it, and an id may hold a dot.
        force_canonical=False,
        guess_content_type_from_ext=False,
    )
    for layer in reversed(_layers(conf, app)):
        app = layer(app)
    return app


def _layers(conf: cfg.ConfigOpts, api: Any) -> list[Layer]:
    """The middleware, from the outside in.

    The request's id comes first, so that everything behind can log and answer with it. CORS is
    before authentication, since a browser asks without a token. What a proxy says about the client
    is taken in before anything makes a link. The guard stands before whatever reads path, query or
    body, and answers for what breaks behind it. Health checks and public paths leave the line
    before a token is asked for; what they lead to never looks at the headers that tell who asks.
    """
    layers: list[Layer] = [middleware.RequestId]
    conditions = ('If-Match', 'If-None-Match')
    cors.set_defaults(
        allow_headers=['Content-Type', 'X-Auth-Token', 'X-Openstack-Request-Id', *conditions, idempotency.HEADER],
        expose_headers=['X-Openstack-Request-Id', 'Retry-After', 'ETag', idempotency.REPLAYED],
        allow_methods=['GET', 'POST', 'PUT', 'DELETE'],
    )
    conf.register_opts(cors.CORS_OPTS, 'cors')
    if conf.cors.allowed_origin:
        layers.append(lambda app: cors.CORS(app, conf))
    conf.register_opts(http_proxy_to_wsgi.OPTS, 'oslo_middleware')
    if conf.oslo_middleware.enable_proxy_headers_parsing:
        layers.append(lambda app: http_proxy_to_wsgi.HTTPProxyToWSGI(app, conf))
    health = healthcheck.Healthcheck.app_factory({})
    public = dict.fromkeys(v1.TABLE.public, api) | {'/healthcheck': health}
    layers += [
        middleware.Guard,
        lambda app: middleware.Paths(public, app),
        lambda app: AUTHENTICATION[conf.auth_strategy](app, conf),
    ]
    return layers
