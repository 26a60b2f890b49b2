# SPDX-License-Identifier: Apache-2.0
"""The protection service is away, or is ended in the middle of its work: nothing is lost, nothing is half done."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest

from karbor.tests.services.deployment import ACCEPT_SECONDS, CLOUD, STOP_SECONDS
from karbor.tests.services.user import SHARE, checkpoints_of, volumes

# Enough for seconds of work, so that SIGTERM comes in the middle.
MANY = 6000


@contextmanager
def _away(karbor) -> Iterator[None]:
    """Within the block there is no protection service."""
    assert karbor.processes['karbor-protection'].stop() < STOP_SECONDS
    try:
        yield
    finally:
        karbor.start_protection()


def _counts(rows) -> list[int]:
    # What was refused is kept as a deleted row, so that it cannot be accepted later.
    logs = 'operation_logs WHERE NOT deleted'
    tables = ('checkpoint_records', 'checkpoint_graphs', logs, 'operation_resources', 'restores')
    return [rows(f'SELECT count(*) FROM {table}')[0][0] for table in tables]


def test_request_is_refused_in_time_and_leaves_nothing_when_protection_is_away(karbor, demo, rows):
    plan = demo.make_plan(volumes(2))
    done = demo.make_checkpoint(plan)
    demo.ended(demo.checkpoint, done)
    before = _counts(rows)
    with _away(karbor):
        refused = [
            ('POST', checkpoints_of(plan), {'checkpoint': {'plan_id': plan['id']}}),
            ('DELETE', f'{checkpoints_of(plan)}/{done["id"]}', None),
            (
                'POST',
                '/restores',
                {'restore': {'provider_id': plan['provider_id'], 'checkpoint_id': done['id'], 'parameters': {}}},
            ),
        ]
        for method, path, body in refused:
            began = time.monotonic()
            reply = demo.ask(method, path, body)
            assert (reply.status_code, list(reply.json())) == (503, ['serviceUnavailable'])
            assert int(reply.headers['Retry-After']) > 0
            assert time.monotonic() - began < ACCEPT_SECONDS + 1
        # What needs no protection service goes on.
        assert demo.make_plan(volumes(1))['status'] == 'suspended'
        assert demo.checkpoint(done)['status'] == 'available'
        assert demo.get('/providers')['providers']
    # The calls that were given up are not made when it is back.
    assert demo.get('/protectables')['protectable_type']
    assert _counts(rows) == before
    assert demo.ended(demo.checkpoint, demo.make_checkpoint(plan))['status'] == 'available'


def test_operation_goes_on_when_protection_was_ended_in_the_middle(karbor, demo, rows):
    plan = demo.make_plan(volumes(MANY))
    made = demo.make_checkpoint(plan)

    def states() -> dict[str | None, int]:
        statement = (
            'SELECT r.status, count(*) FROM operation_resources r JOIN operation_logs o ON o.id = r.operation_id'
            ' WHERE o.checkpoint_id = :id GROUP BY r.status'
        )
        return {status: number for status, number in rows(statement, id=made['id'])}

    def listed(_) -> dict:
        # Without the graph, which is nearly a megabyte.
        (shown,) = demo.get(f'{checkpoints_of(plan)}?plan_id={plan["id"]}')['checkpoints']
        return shown

    def index() -> dict:
        (file,) = (f for f in karbor.bank.rglob('index.json') if made['id'] in str(f))
        return orjson.loads(file.read_bytes())

    demo.until(states, lambda seen: seen.get('active', 0) > 0)
    with _away(karbor):
        stopped = states()
        assert 0 < stopped['active'] < MANY, 'SIGTERM did not come in the middle'
        assert set(stopped) == {'active', None}  # nothing is left between start and end
        assert listed(made)['status'] == index()['status'] == 'protecting'
    assert demo.ended(listed, made)['status'] == 'available'
    assert states() == {'active': MANY}
    assert index()['status'] == 'available'
    (attempts,) = rows('SELECT epoch FROM operation_logs WHERE checkpoint_id = :id', id=made['id'])
    assert attempts.epoch == 2


@pytest.fixture
def slow_cloud(karbor) -> Iterator[None]:
    """Work takes ten seconds."""
    usual, karbor.sandbox.clock.speed = karbor.sandbox.clock.speed, 0.03
    yield
    karbor.sandbox.clock.speed = usual


def test_operation_of_a_cloud_goes_on_when_the_token_went_with_protection(karbor, demo, rows, slow_cloud):
    (share,) = (s for s in demo.get(f'/protectables/{SHARE}/instances')['instances'] if s['name'] == 'scratch')
    plan = demo.make_plan([{k: share[k] for k in ('id', 'type', 'name')}], CLOUD)
    made = demo.make_checkpoint(plan)
    demo.until(lambda: demo.checkpoint(made), lambda c: [r['status'] for r in c['resources']] == ['build'])
    with _away(karbor):
        assert demo.checkpoint(made)['status'] == 'protecting'
    ended = demo.ended(demo.checkpoint, made)
    assert (ended['status'], ended['status_details']) == ('available', None)
    assert [r['status'] for r in ended['resources']] == ['active']
    assert [s.share.id for s in karbor.sandbox.shares.snapshots.values()].count(share['id']) == 1
    (operation,) = rows('SELECT resumable, epoch FROM operation_logs WHERE checkpoint_id = :id', id=made['id'])
    assert (bool(operation.resumable), operation.epoch) == (True, 2)
    # Others of the project have trusts of their own.
    who = {'user': demo.known['id'], 'project': demo.project_id}
    assert len(rows('SELECT id FROM trusts WHERE user_id = :user AND project_id = :project', **who)) == 1
    assert rows('SELECT id FROM operation_logs WHERE ended_at IS NULL AND owner IS NOT NULL') == []
