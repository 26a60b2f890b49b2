# SPDX-License-Identifier: Apache-2.0
"""Keystone trusts: the right to act for a user when the token that the user came with is gone.

There is one for each user, project and set of roles, made with the user's own token when the first
operation is accepted, and kept by its id in the table `trusts`. It has no expiry. What it needs
besides, the password of Karbor's own user, is in the configuration only.
"""

import datetime
import functools
import hashlib
import time
from collections.abc import Sequence
from typing import Any

from keystoneauth1 import access
from keystoneauth1 import exceptions as keystone_exceptions
from keystoneauth1 import session as keystone_session
from keystoneauth1.identity import base as identity_base
from oslo_config import cfg
from oslo_db import exception as db_exception
from oslo_log import log
from oslo_utils import timeutils

from karbor import exception, keystone
from karbor.context import RequestContext
from karbor.db import engine, models, repository

CONF = cfg.CONF
LOG = log.getLogger(__name__)
TRUST = models.Trust

# How fresh `used_at` is kept.
USED = datetime.timedelta(hours=1)
# For how long nobody waits for a Keystone that did not answer, in seconds.
AWAY_SECONDS = 15.0
# Making a trust takes at most that many requests, which share the time that an accept may take.
REQUESTS = 4

REVOKED = 'the trust through which Karbor acted for the user was revoked'
ROLE_LOST = 'the user was disabled, or lost a role that was handed on to Karbor'
REFUSED = 'Keystone does not let these credentials make a trust'
AWAY = 'Keystone did not answer when a trust was to be made'
NOT_CONFIGURED = 'Karbor has no user of its own that a trust could be made for'
NOT_AUTHENTICATED = 'there is no user of a Keystone to act for'
NO_ROLES = 'the user has none of the roles that may be handed on to Karbor'
OWN_CREDENTIALS = "Keystone does not accept Karbor's own credentials"

# Keystone is there, and does not want to.
_Refusal = (
    keystone_exceptions.BadRequest,
    keystone_exceptions.Unauthorized,
    keystone_exceptions.Forbidden,
    keystone_exceptions.NotFound,
    keystone_exceptions.Conflict,
)


class _Keystone:
    """When the latest attempt to make a trust found no Keystone, by the monotonic clock."""

    missed: float | None = None


def ensure(context: RequestContext) -> tuple[str | None, str | None]:
    """(id of the trust of who asks, None), or (None, why there is none, as a tenant may read it).

    Keystone is asked only for the first trust of a user, project and set of roles. It takes no part in a transaction
    of the caller, and never raises because of Keystone.
    """
    if CONF.auth_strategy == 'noauth' or not (context.user_id and context.project_id and context.auth_token):
        return None, NOT_AUTHENTICATED
    roles = delegated(context.roles)
    if not roles:
        return None, NO_ROLES
    known = find(context.user_id, context.project_id, context.roles)
    if known is not None:
        return known, None
    return _made(context, roles)


def delegated(roles: Sequence[str] | None) -> list[str]:
    """Those of a user's roles that the user hands on, sorted; `[trustee] delegated_roles` says which."""
    held, wanted = set(roles or ()), {role.lower() for role in CONF.trustee.delegated_roles}
    if wanted:
        return sorted(role for role in held if role.lower() in wanted)
    return sorted(role for role in held if role.lower() != 'admin') or sorted(held)


def find(user_id: str | None, project_id: str | None, roles: Sequence[str] | None) -> str | None:
    """The id of the trust for a user with these roles in the project, or None; it counts as used now."""
    who = {'user_id': user_id, 'project_id': project_id, 'roles_digest': _digest(delegated(roles))}
    row = next(iter(repository.find(TRUST, ['id', 'used_at'], who)), None)
    if row is None:
        return None
    now = timeutils.utcnow()
    if row.used_at is None or row.used_at < now - USED:
        repository.update(TRUST, row.id, {'used_at': now})
    return str(row.id)


def forget(id: str) -> None:
    """Keep the trust no longer: the next operation of the user makes another."""
    repository.delete(TRUST, id)


def session(id: str) -> keystone_session.Session:
    """A session of the user through the trust, which renews its token by itself; all of one trust share it.

    Raises ConfigurationError without a user of Karbor's own. Where Keystone does not let it log in, its calls raise
    BackendFault (unauthorized) of `keystone`; a trust that is gone is forgotten.
    """
    return keystone.session_of(_auth(id))


def remove_unused(days: float) -> int:
    """The number of trusts that nobody used for ``days`` and that are gone now, here and in Keystone.

    A trust of a user with an unfinished operation or an enabled schedule in the project stays. Keystone lets a token
    of a trust end that trust, so Karbor's own user needs no more rights for it.
    """
    before = timeutils.utcnow() - datetime.timedelta(days=days)
    unused = repository.find(TRUST, filters={'used_at': repository.Between(end=before)}, sort=[('used_at', 'asc')])
    return sum(_removed(row) for row in unused if not _is_needed(row))


# --- making ----------------------------------------------------------------------------------------


def _made(context: RequestContext, roles: list[str]) -> tuple[str | None, str | None]:
    """As `ensure`: by asking Keystone."""
    if _Keystone.missed is not None and time.monotonic() - _Keystone.missed < AWAY_SECONDS:
        return None, AWAY
    try:
        user = _impatient(keystone.session(context))
        id = _create(user, context, roles)
    except exception.ConfigurationError as missing:
        LOG.warning('Operations cannot go on after a restart: %s', missing)
        return None, NOT_CONFIGURED
    except _Refusal as refused:
        LOG.info('No trust of user %s in project %s: %s', context.user_id, context.project_id, refused)
        return None, REFUSED
    except Exception:  # noqa: BLE001  whatever stands in the way of a trust, the operation can run without one
        _Keystone.missed = time.monotonic()
        LOG.warning('No trust of user %s in project %s', context.user_id, context.project_id, exc_info=True)
        return None, AWAY
    return _kept(id, user, context, roles)


def _create(user: keystone_session.Session, context: RequestContext, roles: list[str]) -> str:
    # https://docs.openstack.org/api-ref/identity/v3-ext/#create-trust
    wanted = {
        'trustor_user_id': context.user_id,
        'trustee_user_id': _trustee(),
        'project_id': context.project_id,
        'roles': [{'name': role} for role in roles],
        'impersonation': True,
        'expires_at': None,
    }
    return str(user.post(_url(), json={'trust': wanted}).json()['trust']['id'])


def _trustee() -> str:
    """The id of Karbor's own user. Raises ConfigurationError when there is none, or it cannot log in through trusts."""
    keystone.trust_login('')
    try:
        return str(_impatient(keystone.service_session()).get_user_id())
    except _Refusal as refused:
        raise exception.ConfigurationError(reason=f'{OWN_CREDENTIALS}: {refused}') from refused


def _kept(
    id: str, user: keystone_session.Session, context: RequestContext, roles: list[str]
) -> tuple[str | None, str | None]:
    """As `ensure`: the trust is written down, or, where somebody else was faster, ended and that one's taken."""
    try:
        _insert(id, context, roles)
    except db_exception.DBDuplicateEntry:
        _end(id, user)
        # What was faster may have been forgotten already: the next operation tries again.
        return (known, None) if (known := find(context.user_id, context.project_id, roles)) else (None, REVOKED)
    except db_exception.DBError:
        _end(id, user)
        raise
    return id, None


@engine.repeated
def _insert(id: str, context: RequestContext, roles: list[str]) -> None:
    values = {'user_id': context.user_id, 'project_id': context.project_id, 'roles_digest': _digest(roles)}
    repository.create(TRUST(id=id, **values, used_at=timeutils.utcnow()))


def _digest(roles: Sequence[str]) -> str:
    return hashlib.sha256('\n'.join(roles).encode()).hexdigest()


def _impatient(of: keystone_session.Session) -> keystone_session.Session:
    """The session, to be used while somebody waits for an operation to be accepted."""
    of.timeout = min(float(CONF.protection.http_timeout), CONF.rpc_accept_timeout / REQUESTS)
    return of


def _url(id: str = '') -> str:
    return f'{keystone.auth_url()}/OS-TRUST/trusts' + (f'/{id}' if id else '')


# --- acting ----------------------------------------------------------------------------------------


class _Through(identity_base.BaseIdentityPlugin):
    """A login through a trust, whose faults are told as a tenant may read them."""

    def __init__(self, trust_id: str) -> None:
        super().__init__()
        self.trust_id = trust_id
        self._login = keystone.trust_login(trust_id)
        self.auth_url = self._login.auth_url

    def get_auth_ref(self, session: keystone_session.Session) -> access.AccessInfo:
        try:
            return self._login.get_auth_ref(session)
        except _Refusal as fault:
            raise _refused(self.trust_id, fault) from fault
        except keystone_exceptions.ClientException as fault:
            raise _absent(fault) from fault

    def get_cache_id_elements(self) -> dict[str, Any]:
        return {'trust_id': self.trust_id}


@functools.lru_cache(maxsize=1000)
def _auth(trust_id: str) -> _Through:
    return _Through(trust_id)


def _absent(fault: Exception) -> exception.BackendFault:
    LOG.warning('Keystone does not answer: %s', fault)
    if isinstance(fault, keystone_exceptions.ConnectTimeout):
        return exception.BackendFault('timeout', 'keystone', transient=True)
    if isinstance(fault, keystone_exceptions.HttpError):
        return exception.BackendFault('unavailable', 'keystone', fault.request_id, transient=True)
    return exception.BackendFault('unreachable', 'keystone', transient=True)


def _refused(trust_id: str, fault: keystone_exceptions.HttpError) -> exception.BackendFault:
    """Why Keystone lets nobody in through the trust. One that is gone is forgotten."""
    LOG.warning('No login through trust %s: %s', trust_id, fault)
    why = REVOKED
    try:
        if _is_there(trust_id):
            # Keystone answers 403 when the user lost a role, and 401 when the password is wrong.
            why = ROLE_LOST if isinstance(fault, keystone_exceptions.Forbidden) else OWN_CREDENTIALS
        else:
            forget(trust_id)
    except keystone_exceptions.Unauthorized:
        why = OWN_CREDENTIALS
    except keystone_exceptions.ClientException as other:
        return _absent(other)
    return exception.BackendFault('unauthorized', 'keystone', fault.request_id, why)


def _is_there(trust_id: str) -> bool:
    """Whether there is such a trust for Karbor's own user."""
    own = keystone.service_session()
    try:
        shown = own.get(_url(trust_id)).json()['trust']
    except (keystone_exceptions.NotFound, keystone_exceptions.Forbidden):
        return False
    return bool(shown['trustee_user_id'] == own.get_user_id())


# --- removing --------------------------------------------------------------------------------------


def _is_needed(row: models.Trust) -> bool:
    who = {'user_id': row.user_id, 'project_id': row.project_id}
    return bool(
        repository.find(models.OperationLog, ['id'], {**who, 'ended_at': None}, limit=1)
        or repository.find(models.ScheduledOperation, ['id'], {**who, 'enabled': True}, limit=1)
    )


def _removed(row: models.Trust) -> bool:
    """Whether the trust is gone. The row goes first, so that nobody is given a trust that is about to end."""
    user = session(row.id)
    try:
        user.get_token()
    except exception.BackendFault as fault:
        if fault.transient or fault.detail == OWN_CREDENTIALS:
            return False
        if fault.detail == REVOKED:
            return True
    if not repository.delete(TRUST, row.id, used_at=row.used_at):
        return False
    # The user may have lost what the trust hands on; then an administrator has to do it, who Karbor's user may be.
    if not (_end(row.id, user) or _end(row.id, keystone.service_session())):
        LOG.warning('Trust %s is not used any more, and could not be ended in Keystone.', row.id)
    return True


def _end(id: str, user: keystone_session.Session) -> bool:
    """Whether Keystone has no such trust any more."""
    try:
        user.delete(_url(id))
    except keystone_exceptions.NotFound:
        return True
    except (exception.BackendFault, keystone_exceptions.ClientException) as fault:
        LOG.info('Trust %s was not ended: %s', id, fault)
        return False
    return True
