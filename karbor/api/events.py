# SPDX-License-Identifier: Apache-2.0
"""What notifications tell of a request: start, and end or error, with keys that a method declares beside itself."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from karbor import notifications
from karbor.api import hooks
from karbor.api.request import Call

BINARY = 'karbor-api'
Find = Callable[[Call, dict[str, str]], Any]  # (the call, the variables of the path) -> a value of the payload


class Event:
    """The events `karbor.<name>.start`, `.end` and `.error` of a method; ``keys`` of their payload, and where from."""

    def __init__(self, name: str, /, **keys: Find) -> None:
        self.name, self.keys = name, keys


def given(*names: str) -> Find:
    """What the body has under these names, one inside the other; None where one is missing. Secrets are masked."""

    def find(call: Call, variables: dict[str, str]) -> Any:
        found = call.body
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return notifications.public(found)

    return find


def variable(name: str) -> Find:
    """A variable of the path."""
    return lambda call, variables: variables[name]


@contextlib.contextmanager
def told(event: Event | None, call: Call, variables: dict[str, str]) -> Iterator[list[Any]]:
    """Tell that the block begins, and how it ended; it puts its result into the list."""
    results: list[Any] = []
    if event is None or not notifications.is_on():
        yield results
        return
    payload = {
        'tenant_id': call.context.project_id,
        'user_id': call.context.user_id,
        'client_ip': call.request.remote_addr,
        'request_id': call.context.request_id,
        **{key: find(call, variables) for key, find in event.keys.items()},
    }
    notifications.send(BINARY, f'{event.name}.start', payload)
    try:
        yield results
    except Exception as error:  # whatever ends a request is told, and raised again
        fault = hooks.known(error)
        failed = {'message': hooks.told(fault), 'exception': [type(fault).__name__]}
        notifications.send(BINARY, f'{event.name}.error', payload | failed)
        raise
    notifications.send(BINARY, f'{event.name}.end', payload | _made(call, results))


def _made(call: Call, results: list[Any]) -> dict[str, Any]:
    """The id of what a POST has made."""
    if call.request.method != 'POST':
        return {}
    shown = next(iter(results[0].values()), None) if results and isinstance(results[0], dict) else None
    return {'id': shown['id']} if isinstance(shown, dict) and 'id' in shown else {}
