# SPDX-License-Identifier: Apache-2.0
"""Who asks (`auth_strategy`): what stands before the API puts it into the request's headers."""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import webob
from keystonemiddleware import auth_token, opts
from oslo_config import cfg

from karbor import exception
from karbor.api import listing
from karbor.api.middleware import App, Environ

_TOKENS = 'karbor.tokens'


class Tokens:
    """A cache of validated tokens for keystonemiddleware: what it brings itself looks at every entry for each get,
    and warns about being deprecated.
    """

    MOST = 10_000

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[float, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Any:
        """What was set under ``key``, unless its time is over; else None."""
        with self._lock:
            until, value = self._entries.get(key, (0.0, None))
        return value if time.monotonic() < until else None

    def set(self, key: str, value: Any, time: int | None = None) -> None:
        """Keep ``value`` for ``time`` seconds; the oldest goes when there are too many."""
        with self._lock:
            self._entries[key] = (_now() + (time or 0), value)
            self._entries.move_to_end(key)
            while len(self._entries) > self.MOST:
                self._entries.popitem(last=False)


def _now() -> float:
    return time.monotonic()


class Keystone:
    """keystonemiddleware's auth_token, with a cache of tokens unless `[keystone_authtoken]` names one."""

    def __init__(self, app: App, conf: cfg.ConfigOpts) -> None:
        for group, options in opts.list_auth_token_opts():
            conf.register_opts(options, group)
        chosen = conf.keystone_authtoken
        settings: dict[str, Any] = {'oslo_config_config': conf}
        if not chosen.cache and not chosen.memcached_servers:
            settings['cache'] = _TOKENS
        if chosen.http_connect_timeout is None:
            # Without one, an address that nobody answers at holds a thread for minutes.
            settings['http_connect_timeout'] = 10
        self.tokens = Tokens()
        self.app = auth_token.AuthProtocol(app, settings)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ[_TOKENS] = self.tokens
        return self.app(environ, start_response)


class NoAuth:
    """Believes a token of the form `user:project` and makes everybody an administrator."""

    def __init__(self, app: App, conf: cfg.ConfigOpts) -> None:
        self.app = app

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        request = webob.Request(environ)
        token = request.headers.get('X-Auth-Token')
        if token is None:
            return self._login(request)(environ, start_response)
        for name in [n for n in environ if n.startswith(('HTTP_X_', 'HTTP_OPENSTACK_')) and n not in _KEPT]:
            del environ[name]
        user, _, project = token.partition(':')
        environ |= {
            'HTTP_X_USER_ID': user,
            'HTTP_X_PROJECT_ID': project or user,
            'HTTP_X_ROLES': 'admin,member,reader',
            'HTTP_X_IDENTITY_STATUS': 'Confirmed',
        }
        return self.app(environ, start_response)

    @staticmethod
    def _login(request: webob.Request) -> webob.Response:
        """What the first request of an old client is answered: a token for the user and project that it names."""
        user = request.headers.get('X-Auth-User', 'admin')
        project = request.headers.get('X-Auth-Project-Id', 'admin')
        response = webob.Response(status=204, content_type=None)
        response.headers['X-Auth-Token'] = f'{user}:{project}'
        response.headers['X-Server-Management-Url'] = f'{listing.base_url(request)}/v1/{project}'
        return response


_KEPT = frozenset(['HTTP_X_AUTH_TOKEN', 'HTTP_X_FORWARDED_HOST', 'HTTP_X_FORWARDED_FOR', 'HTTP_X_OPENSTACK_REQUEST_ID'])


def check_listen(conf: cfg.ConfigOpts, insecure: bool = False) -> None:
    """Raises ConfigurationError when everybody would be an administrator on an address that others reach."""
    if conf.auth_strategy != 'noauth' or insecure or _is_loopback(conf.osapi_karbor_listen):
        return
    raise exception.ConfigurationError(
        reason='auth_strategy = noauth makes everybody an administrator: listen on 127.0.0.1'
        ' (osapi_karbor_listen), or start with --insecure'
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'
