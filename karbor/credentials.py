# SPDX-License-Identifier: Apache-2.0
"""With whose credentials an operation works: the one place that plugins' sessions come from.

An operation that is `resumable` works through the trust of whoever asked for it, and goes on when
the token has expired or the service was restarted. Any other works with the caller's token, which
is kept in memory only: after a restart it ends with the reason `credentials_lost` at its next call
to a cloud.
"""

import threading
from typing import Any

from keystoneauth1 import session as keystone_session

from karbor import exception, keystone, trusts
from karbor.context import RequestContext

_held: dict[str, RequestContext] = {}
_lock = threading.Lock()


def remember(operation_id: str, context: RequestContext) -> None:
    """Keep who asked for the operation until `forget`."""
    with _lock:
        _held[operation_id] = context


def forget(operation_id: str) -> None:
    with _lock:
        _held.pop(operation_id, None)


def session(operation: Any) -> keystone_session.Session:
    """A session with the credentials of who asked for ``operation``: a row of `operation_logs`.

    Raises BackendFault: `credentials_lost`, or `unauthorized` when the trust was revoked. That can also come from any
    call that the session makes.
    """
    if operation.resumable:
        trust_id = trusts.find(operation.user_id, operation.project_id, operation.roles)
        if trust_id is None:
            raise exception.BackendFault('unauthorized', 'keystone', detail=trusts.REVOKED)
        return trusts.session(trust_id)
    with _lock:
        context = _held.get(operation.id)
    if context is None:
        raise exception.BackendFault('credentials_lost', 'keystone')
    return keystone.session(context)
