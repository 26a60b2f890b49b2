# SPDX-License-Identifier: Apache-2.0
"""The clouds: one table of client libraries, where services are found, and what their faults mean."""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import manilaclient
import requests
from keystoneauth1 import exceptions as keystone_exceptions
from keystoneauth1 import session as keystone_session
from manilaclient import api_versions
from manilaclient import exceptions as manila_exceptions
from manilaclient.v2 import client as manila_client
from oslo_config import cfg
from oslo_log import log

from karbor import exception, keystone
from karbor.conf.clients import SERVICES
from karbor.context import RequestContext

CONF = cfg.CONF
LOG = log.getLogger(__name__)

# The newest microversion of Manila that Karbor is tested with; where a cloud's is older, that one is used.
MANILA_VERSION = '2.90'
# For how long a cloud's answer about its versions holds, in seconds.
VERSION_SECONDS = 600.0


@dataclass(frozen=True)
class Library:
    """How a client is made: from the options of its service, a session and an endpoint."""

    make: Callable[[cfg.ConfigOpts.GroupAttr, keystone_session.Session, str], Any]
    project_in_url: bool = False


class Cloud:
    """The services of a cloud as one user in one project sees them.

    ``session`` is a keystoneauth session, or a function that makes one and is called when a client
    is first asked for. ``allow`` is called right before each request of a client, and raises where it
    must not be made. A `Cloud` may be used by many threads.
    """

    def __init__(
        self,
        session: keystone_session.Session | Callable[[], keystone_session.Session],
        project_id: str,
        user_id: str | None = None,
        project_name: str | None = None,
        allow: Callable[[], None] = lambda: None,
    ) -> None:
        self._session, self._allow = session, allow
        self.project_id, self.user_id, self.project_name = project_id, user_id, project_name
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_context(cls, context: RequestContext) -> 'Cloud':
        """The cloud of whoever made the request."""
        return cls(lambda: keystone.session(context), context.project_id or '', context.user_id, context.project_name)

    def client(self, service: str) -> Any:
        """The client of the service (a name of `LIBRARIES`), made once. Raises BackendFault when it has no endpoint.

        The client never tries a request again by itself: whoever works with it decides.
        """
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make(service, self._made_session())
            return self._clients[service]

    def session(self) -> keystone_session.Session:
        """The session that all clients work with, for what has no client here."""
        with self._lock:
            return self._made_session()

    def _made_session(self) -> keystone_session.Session:
        if callable(self._session):
            self._session = self._session()
        return self._session

    def _make(self, service: str, session: keystone_session.Session) -> Any:
        library, options = LIBRARIES[service], CONF[f'{service}_client']
        verify = False if options.auth_insecure else options.ca_cert_file or session.verify
        own = keystone.Session(session.auth, verify, self._allow)
        url = endpoint(service, library, options, own, self.project_id)
        try:
            client = library.make(options, own, url)
        except Exception as unexpected:  # what a library raises while it looks at its service is that service's fault
            self._allow()  # if it was that, it says so again
            raise fault(service, unexpected) from unexpected
        for manager in vars(client).values():
            if hasattr(manager, 'completion_cache'):
                _keep_from_disk(manager)
        return client


def _manila(options: cfg.ConfigOpts.GroupAttr, session: keystone_session.Session, url: str) -> Any:
    def client(version: api_versions.APIVersion) -> Any:
        return manila_client.Client(
            session=session, service_catalog_url=url, service_type='sharev2', api_version=version, retries=0
        )

    return client(_manila_version(options.version, url, client))


def _trove(options: cfg.ConfigOpts.GroupAttr, session: keystone_session.Session, url: str) -> Any:
    # Imported when it is needed: it brings 15 MB of other libraries along.
    from troveclient.v1 import client as trove_client

    return trove_client.Client(session=session, endpoint_override=url, service_type=options.service_type, retries=0)


LIBRARIES: Mapping[str, Library] = {
    'manila': Library(_manila),
    'trove': Library(_trove, project_in_url=True),
}
_versions: dict[tuple[str, str], tuple[float, api_versions.APIVersion]] = {}


def _manila_version(wanted: str | None, url: str, client: Callable[[api_versions.APIVersion], Any]) -> Any:
    """The newest microversion that cloud and Karbor know, at most ``wanted``; an answer holds `VERSION_SECONDS`."""
    # Karbor 1.6 took the major version here.
    limit = api_versions.APIVersion(wanted if wanted and re.fullmatch(r'2\.\d+', wanted) else MANILA_VERSION)
    limit = min(limit, manilaclient.API_MAX_VERSION)
    asked, found = _versions.get((url, limit.get_string()), (None, None))
    if asked is None or time.monotonic() - asked > VERSION_SECONDS:
        # An older Manila refuses even this question in a version that it does not know.
        found = api_versions.discover_version(client(api_versions.APIVersion('2.0')), limit)
        _versions[url, limit.get_string()] = time.monotonic(), found
    return found


def _keep_from_disk(manager: Any) -> None:
    """Client libraries note ids in files of the home directory for their shells; with threads those notes break."""
    manager.completion_cache = lambda *_, **__: contextlib.nullcontext()
    manager.write_to_completion_cache = lambda *_: None


# --- where a service is ----------------------------------------------------------------------------


def endpoint(
    service: str,
    library: Library,
    options: cfg.ConfigOpts.GroupAttr,
    session: keystone_session.Session,
    project_id: str,
) -> str:
    """The address of the service, from its options, then the catalogue. Raises BackendFault when there is none."""
    configured = options[f'{service}_endpoint']
    if configured:
        url = configured.rstrip('/')
        return f'{url}/{project_id}' if library.project_in_url else url
    try:
        catalog = keystone.catalog(session)
    except keystone_exceptions.ClientException as unexpected:
        raise fault('keystone', unexpected) from unexpected
    for kind, name, interface in _places(options, options[f'{service}_catalog_info']):
        with contextlib.suppress(keystone_exceptions.CatalogException):
            url = catalog.url_for(
                service_type=kind,
                service_name=name,
                interface=[interface, 'public'],
                region_name=options.region_id or None,
            )
            return str(url).rstrip('/')
    LOG.error('The catalogue has no endpoint of %s in region %s.', service, options.region_id)
    raise exception.BackendFault('unreachable', service, detail='the catalogue has no endpoint of the service')


def _places(options: cfg.ConfigOpts.GroupAttr, catalog_info: str | None) -> list[tuple[str, str | None, str]]:
    """(type, name, interface) as the service may stand in the catalogue, the likeliest first.

    keystoneauth takes the aliases of a type for the type (OpenStack service types authority).
    """
    interface = options.interface or 'public'
    places: list[tuple[str, str | None, str]] = [
        (options.service_type, options.service_name or None, interface),
        (options.service_type, None, interface),
    ]
    kind, name, interface, *_ = [*(catalog_info or '').split(':'), '', '', '']
    if kind:
        interface = interface.removesuffix('URL') or 'public'
        places += [(kind, name or None, interface), (kind, None, interface)]
    return places


# --- what a fault means ----------------------------------------------------------------------------

# HTTP status -> (reason, whether asking again can help)
_STATUSES = {
    401: ('unauthorized', False),
    403: ('forbidden', False),
    404: ('not_found', False),
    408: ('timeout', True),
    409: ('conflict', False),
    413: ('over_limit', False),
    425: ('unavailable', True),
    429: ('over_limit', True),
    501: ('refused', False),
    504: ('timeout', True),
}
_TIMEOUTS = (keystone_exceptions.ConnectTimeout, requests.exceptions.Timeout)
_UNREACHABLE = (keystone_exceptions.ConnectionError, requests.exceptions.ConnectionError, ConnectionError)
_NO_ENDPOINT = (
    keystone_exceptions.CatalogException,
    keystone_exceptions.DiscoveryFailure,
    manila_exceptions.EndpointException,
)
_NO_VERSION = (manila_exceptions.UnsupportedVersion, manila_exceptions.VersionNotFoundForAPIMethod)


def fault(service: str, unexpected: BaseException) -> exception.BackendFault:
    """What a tenant may read of whatever a call to the service raised; the raw text goes to the log only."""
    if isinstance(unexpected, exception.BackendFault):
        return unexpected
    known = service if service in SERVICES or service == 'keystone' else _service_of(unexpected) or service
    told = _told(known, unexpected)
    if told.reason == 'internal':
        LOG.error('Unexpected fault while working with %s', service, exc_info=unexpected)
    else:
        body = getattr(getattr(unexpected, 'response', None), 'text', '')
        LOG.warning('%s: %s: %s %s', known, type(unexpected).__name__, unexpected, body[:1000])
    return told


def status_of(unexpected: BaseException) -> int | None:
    """The HTTP status that an exception of any client library tells, or None."""
    for name in ('http_status', 'code', 'status_code'):
        status = getattr(unexpected, name, None)
        if isinstance(status, int) and status >= 300:
            return status
    return None


def _told(service: str, unexpected: BaseException) -> exception.BackendFault:
    status = status_of(unexpected) if not isinstance(unexpected, exception.KarborError) else None
    if status is not None:
        usual = ('unavailable', True) if status >= 500 else ('refused', False)
        reason, transient = _STATUSES.get(status, usual)
        wait = _retry_after(unexpected)
        # A quota answers 413 as well as some rate limits do: those say when to come back.
        transient = transient or (status == 413 and bool(wait))
        return exception.BackendFault(reason, service, _request_id(unexpected), transient=transient, retry_after=wait)
    if isinstance(unexpected, _TIMEOUTS):
        return exception.BackendFault('timeout', service, transient=True)
    if isinstance(unexpected, _NO_ENDPOINT):
        return exception.BackendFault('unreachable', service, detail='the catalogue has no endpoint of the service')
    if isinstance(unexpected, _UNREACHABLE):
        return exception.BackendFault('unreachable', service, transient=True)
    if isinstance(unexpected, _NO_VERSION):
        return exception.BackendFault(
            'refused', service, detail='the service has no version of its API that this needs'
        )
    if isinstance(unexpected, exception.BankError):
        is_away = isinstance(unexpected, exception.BankUnavailable)
        return exception.BackendFault('bank', 'karbor', transient=is_away)
    return exception.BackendFault('internal', 'karbor')


def _service_of(unexpected: BaseException) -> str | None:
    """The service whose library raised it, where the caller could only name a type of resource."""
    library = type(unexpected).__module__.partition('.')[0]
    return {'manilaclient': 'manila', 'troveclient': 'trove'}.get(library)


def _headers(unexpected: BaseException) -> Mapping[str, str]:
    headers = getattr(getattr(unexpected, 'response', None), 'headers', None)
    return headers if headers is not None else {}


def _request_id(unexpected: BaseException) -> str | None:
    headers = _headers(unexpected)
    told = next((headers[name] for name in keystone.REQUEST_IDS if name in headers), None)
    told = told or getattr(unexpected, 'request_id', None)
    # It is shown to tenants: only what looks like an id is taken for one.
    return told if told and re.fullmatch(r'[A-Za-z0-9._-]{1,64}', told) else None


def _retry_after(unexpected: BaseException) -> float | None:
    told = str(_headers(unexpected).get('Retry-After', ''))
    return float(told) if told.isdecimal() else None
