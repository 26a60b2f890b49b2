# SPDX-License-Identifier: Apache-2.0
"""Sessions: with the token that a user came with, and with Karbor's own credentials."""

import functools
import threading
from collections.abc import Callable
from typing import Any, cast

import requests
from keystoneauth1 import access, loading, plugin, service_token
from keystoneauth1 import exceptions as keystone_exceptions
from keystoneauth1 import session as keystone_session
from keystoneauth1.access import service_catalog
from keystoneauth1.identity import access as identity
from keystoneauth1.identity import base as identity_base
from keystoneauth1.identity import generic, v3
from oslo_config import cfg

from karbor import exception
from karbor.context import RequestContext

CONF = cfg.CONF

# Who the service is, in the order of preference.
GROUPS = ('trustee', 'keystone_authtoken')
# The options that say what a login is for; of a login through a trust none is set but the trust.
SCOPES = (
    'project_id',
    'project_name',
    'project_domain_id',
    'project_domain_name',
    'domain_id',
    'domain_name',
    'system_scope',
)
# Where services tell what they logged a request under.
REQUEST_IDS = ('x-openstack-request-id', 'x-compute-request-id')
_latest = threading.local()


class Session(keystone_session.Session):
    """A session for many threads, which waits `[protection] http_timeout` seconds for an answer.

    ``allow`` is called right before each request, and raises where it must not be made.
    """

    def __init__(
        self,
        auth: plugin.BaseAuthPlugin | None,
        verify: bool | str | None = True,
        allow: Callable[[], None] = lambda: None,
    ) -> None:
        self._allow = allow
        kept = requests.Session()
        threads = CONF.protection.hook_threads + CONF.protection.poll_threads
        for scheme in list(kept.adapters):
            kept.mount(scheme, keystone_session.TCPKeepAliveAdapter(pool_maxsize=threads))
        super().__init__(auth=auth, session=kept, verify=verify, timeout=CONF.protection.http_timeout)

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """The answer, as of any session; what the service logged the request under is kept for `latest_request_id`.

        A client library gets keystoneauth's exceptions, also where it would raise its own: those of
        manilaclient and troveclient fail on an answer 503 that has a `Retry-After`.
        """
        _latest.request_id = None
        self._allow()
        reply = super().request(*args, **kwargs)
        _latest.request_id = next((reply.headers[name] for name in REQUEST_IDS if name in reply.headers), None)
        if reply.status_code >= 400 and kwargs.get('endpoint_override'):
            raise keystone_exceptions.from_response(reply, str(kwargs.get('method') or args[1]), reply.url)
        return reply


def latest_request_id() -> str | None:
    """What a service logged the latest request of this thread under; None if it told no id, or did not answer."""
    return getattr(_latest, 'request_id', None)


def session(context: RequestContext) -> keystone_session.Session:
    """A session with the user's token and the services of its catalogue; Keystone is not asked for anything.

    With `[service_auth] send_service_token`, Karbor's own token goes along.
    """
    return session_of(identity.AccessInfoPlugin(_access(context), auth_url=auth_url()))


def session_of(auth: plugin.BaseAuthPlugin) -> keystone_session.Session:
    """A session that works as ``auth`` says, which acts for a user."""
    if CONF.service_auth.send_service_token:
        auth = service_token.ServiceTokenAuthWrapper(user_auth=auth, service_auth=service_auth())
    return Session(auth, _verify())


def service_session() -> keystone_session.Session:
    """A session of the user in [trustee], else of the one in [keystone_authtoken]. Raises ConfigurationError."""
    return Session(service_auth(), _verify())


@functools.cache
def service_auth() -> plugin.BaseAuthPlugin:
    """Karbor's own credentials, read once, so that all sessions share one token. Raises ConfigurationError."""
    return _loaded()


def trust_login(trust_id: str) -> identity_base.BaseIdentityPlugin:
    """Karbor's own credentials, to act through a trust that was made for them. Raises ConfigurationError.

    Keystone takes a password for that, and no application credential.
    """
    if not isinstance(service_auth(), generic.Password | v3.Password):
        raise exception.ConfigurationError(reason='a trust needs a service user whose auth_type is password')
    return cast(identity_base.BaseIdentityPlugin, _loaded(trust_id=trust_id, **dict.fromkeys(SCOPES)))


def _loaded(**options: Any) -> plugin.BaseAuthPlugin:
    for group in GROUPS:
        loading.register_auth_conf_options(CONF, group)
        auth = loading.load_auth_from_conf_options(CONF, group, **options)
        if auth is not None:
            return auth
    raise exception.ConfigurationError(reason='neither [trustee] nor [keystone_authtoken] has an auth_type')


def catalog(of: keystone_session.Session) -> service_catalog.ServiceCatalog:
    """The services that the session's token names; where its catalogue was left out, Keystone is asked."""
    auth: Any = getattr(of.auth, 'user_auth', of.auth)
    found = auth.get_access(of).service_catalog
    return found if found.catalog else _asked_catalog(of)


def auth_url() -> str | None:
    """Keystone's address with its version, as far as the configuration tells it."""
    places = (
        ('clients_keystone', 'auth_uri'),
        *((group, 'auth_url') for group in GROUPS),
        ('keystone_authtoken', 'www_authenticate_uri'),
    )
    for group, option in places:
        url = _option(group, option)
        if url:
            url = url.rstrip('/')
            return url if url.endswith('/v3') else f'{url}/v3'
    return None


def _asked_catalog(of: keystone_session.Session) -> service_catalog.ServiceCatalog:
    url = auth_url()
    if url is None:
        return service_catalog.ServiceCatalogV3([])
    reply = of.get(f'{url}/auth/catalog', headers={'Accept': 'application/json'})
    return service_catalog.ServiceCatalogV3(reply.json().get('catalog', []))


def _access(context: RequestContext) -> access.AccessInfoV3:
    token = {
        'catalog': [_as_v3(service) for service in context.service_catalog],
        'user': {'id': context.user_id},
        'project': {'id': context.project_id, 'name': context.project_name},
    }
    return access.AccessInfoV3({'token': token}, auth_token=context.auth_token)


def _as_v3(service: dict[str, Any]) -> dict[str, Any]:
    """A catalogue entry in the form of Keystone v3: keystonemiddleware hands them on in that of v2."""
    endpoints = []
    for endpoint in service.get('endpoints', ()):
        if 'interface' in endpoint:
            endpoints.append(endpoint)
            continue
        region = endpoint.get('region') or endpoint.get('region_id')
        endpoints.extend(
            {'interface': name, 'url': endpoint[f'{name}URL'], 'region': region, 'region_id': region}
            for name in ('public', 'internal', 'admin')
            if endpoint.get(f'{name}URL')
        )
    return {**service, 'endpoints': endpoints}


def _verify() -> bool | str:
    """How Keystone's certificate is checked: as keystonemiddleware is told to."""
    if _option('keystone_authtoken', 'insecure'):
        return False
    return _option('keystone_authtoken', 'cafile') or True


def _option(group: str, name: str) -> Any:
    """The option, or None where whatever registers it is not in use."""
    try:
        return CONF[group][name]
    except (cfg.NoSuchGroupError, cfg.NoSuchOptError):
        return None
