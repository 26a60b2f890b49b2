# SPDX-License-Identifier: Apache-2.0
"""Clients of cloud services, as plugins written for Karbor 1.6 ask for them."""

import copy
import importlib
from collections.abc import Mapping
from typing import Any

from keystoneauth1 import session as keystone_session
from oslo_config import cfg

from karbor import clients, exception, keystone
from karbor.clients import Cloud, Library
from karbor.context import RequestContext

CONF = cfg.CONF


class Context(RequestContext):
    """Who asks, as a hook gets it: user, project and roles, and ``cloud``, which has the credentials. There is no token
    in it: clients come from `ClientFactory`.
    """

    def __init__(self, cloud: Cloud, **kwargs: Any) -> None:
        who = {'user_id': cloud.user_id, 'project_id': cloud.project_id, 'project_name': cloud.project_name}
        super().__init__(overwrite=False, **{**who, **kwargs})
        self.cloud = cloud

    def __deepcopy__(self, memo: Any) -> 'Context':
        return copy.copy(self)


class ClientFactory:
    """Makes clients of the services of `LIBRARIES`."""

    @staticmethod
    def create_client(
        service: str, context: Any, conf: cfg.ConfigOpts = CONF, privileged_user: bool = False, **kwargs: Any
    ) -> Any:
        """A client of ``service`` with the user's credentials, or, for ``privileged_user``, with Karbor's own.

        ``conf`` may have a group of options of the service; else those of karbor.conf hold. ``session`` among the
        keywords is used as it is. The client raises the exceptions of its own library. Raises BackendFault for a
        service that is not there.
        """
        library = LIBRARIES.get(service)
        if library is None:
            known = ', '.join(sorted(LIBRARIES))
            raise _missing(f'there is no client of {service}; there are those of {known}')
        options = _options(service, conf)
        session = kwargs.get('session') or _session(context, privileged_user, options)
        project_id = getattr(context, 'project_id', None) or ''
        url = clients.endpoint(service, library, options, session, project_id)
        return library.make(options, session, url)


def _options(service: str, conf: cfg.ConfigOpts) -> cfg.ConfigOpts.GroupAttr:
    group = f'{service}_client'
    for source in (conf, CONF):
        try:
            return source[group]
        except cfg.NoSuchOptError:  # a missing group is one, too
            continue
    raise _missing(f'there is no group of options {group}')


def _session(context: Any, privileged_user: bool, options: cfg.ConfigOpts.GroupAttr) -> keystone_session.Session:
    """A session that leaves faults to the client library: plugins catch the library's exceptions."""
    if privileged_user or context is None:
        found = keystone.service_session()
    else:
        cloud = context.cloud if isinstance(context, Context) else Cloud.from_context(context)
        found = cloud.session()
    verify = False if options.auth_insecure else options.ca_cert_file or found.verify
    return keystone_session.Session(auth=found.auth, verify=verify, timeout=CONF.protection.http_timeout)


def _missing(detail: str) -> exception.BackendFault:
    return exception.BackendFault('unsupported', 'karbor', detail=detail)


def _imported(module: str, package: str) -> Any:
    """Karbor does not bring these libraries along: they come with the plugin that needs them."""
    try:
        return importlib.import_module(module)
    except ImportError as fault:
        raise _missing(f'the client library {package} is not installed') from fault


def _cinder(options: cfg.ConfigOpts.GroupAttr, session: keystone_session.Session, url: str) -> Any:
    library = _imported('cinderclient.client', 'python-cinderclient')
    return library.Client(options.version or '3', session=session, endpoint_override=url)


def _glance(options: cfg.ConfigOpts.GroupAttr, session: keystone_session.Session, url: str) -> Any:
    library = _imported('glanceclient.client', 'python-glanceclient')
    return library.Client(options.version or '2', endpoint=url, session=session)


def _neutron(options: cfg.ConfigOpts.GroupAttr, session: keystone_session.Session, url: str) -> Any:
    library = _imported('neutronclient.v2_0.client', 'python-neutronclient')
    return library.Client(session=session, endpoint_override=url)


def _nova(options: cfg.ConfigOpts.GroupAttr, session: keystone_session.Session, url: str) -> Any:
    library = _imported('novaclient.client', 'python-novaclient')
    return library.Client(options.version or '2', session=session, endpoint_override=url)


# One line for each service; the options of a service are in `karbor/conf/clients.py`.
LIBRARIES: Mapping[str, Library] = {
    **clients.LIBRARIES,
    'cinder': Library(_cinder, project_in_url=True),
    'glance': Library(_glance),
    'neutron': Library(_neutron),
    'nova': Library(_nova, project_in_url=True),
}
