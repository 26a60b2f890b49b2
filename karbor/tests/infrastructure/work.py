# SPDX-License-Identifier: Apache-2.0
"""What a user asks for while a server is away, and what has to be so afterwards."""

import contextlib
import time
from typing import Any

import requests

from karbor.tests.infrastructure.cloud import PROVIDER
from karbor.tests.services.user import User, checkpoints_of, volumes

SECONDS = 60
Json = dict[str, Any]


def plan_of(user: User, number: int) -> Json:
    return user.make_plan(volumes(number), PROVIDER)


def ended(user: User, made: Json) -> Json:
    """The checkpoint as its list shows it, without its graph, when its operation has ended; faults of the API are
    waited out.
    """
    end = time.monotonic() + SECONDS
    while True:
        with contextlib.suppress(requests.ConnectionError):
            path = f'{checkpoints_of(made["protection_plan"])}?plan_id={made["protection_plan"]["id"]}&status=deleted'
            if user.ask('GET', path).status_code == 200:
                shown = [c for c in user.get(path)['checkpoints'] if c['id'] == made['id']]
                path = path.partition('&')[0]
                shown += [c for c in user.get(path)['checkpoints'] if c['id'] == made['id']]
                if shown and shown[0]['status'] not in ('protecting', 'deleting'):
                    return shown[0]
        assert time.monotonic() < end, f'checkpoint {made["id"]} does not end'
        time.sleep(0.1)


def is_refused(reply: requests.Response) -> bool:
    """Whether it is 503 with Retry-After; anything else has to be a success."""
    if reply.status_code == 503:
        assert list(reply.json()) == ['serviceUnavailable']
        assert int(reply.headers['Retry-After']) > 0
        return True
    assert reply.status_code in (200, 202, 204), (reply.status_code, reply.text)
    return False


def assert_as_if_nothing_happened(karbor: Any, rows: Any, checkpoint: Json, number: int) -> None:
    """The checkpoint is whole, and each resource was begun once."""
    assert checkpoint['status'] == 'available', checkpoint
    found = rows('SELECT id FROM operation_logs WHERE checkpoint_id = :id', id=checkpoint['id'])
    (operation,) = [row.id for row in found]
    counted = rows('SELECT status, count(*) FROM operation_resources WHERE operation_id = :id GROUP BY 1', id=operation)
    assert [tuple(row) for row in counted] == [('active', number)]
    made = karbor.cloud.made(operation)
    assert len(made) == number
    assert made.total() == number, [tag for tag, times in made.items() if times > 1]
