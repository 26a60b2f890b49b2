# SPDX-License-Identifier: Apache-2.0
"""A request with an Idempotency-Key whose API process is killed after the operation was accepted."""

import os
import signal
import threading
import time

import pytest
import requests
import sqlalchemy as sa

from karbor.tests.services.user import volumes


@pytest.fixture
def rows_locked(karbor):
    """The rows of `idempotency_keys` are locked by the connection that it gives, until that is rolled back."""
    engine = sa.create_engine(karbor.database, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        yield connection
        connection.rollback()
    engine.dispose()


def _protecting(karbor) -> list[int]:
    process = karbor.processes['karbor-protection']
    return [process.pid, *process.workers]


def test_what_was_accepted_is_found_when_the_api_was_killed_before_it_could_note_its_answer(
    karbor, demo, rows, rows_locked
):
    plan = demo.make_plan(volumes(2))
    path = f'{karbor.url}/v1/{demo.project_id}/providers/{plan["provider_id"]}/checkpoints'
    headers = {'X-Auth-Token': demo.token, 'Idempotency-Key': 'killed'}
    replies: list[object] = []

    def post() -> requests.Response:
        return requests.post(path, json={'checkpoint': {'plan_id': plan['id']}}, headers=headers, timeout=60)

    def first() -> None:
        try:
            replies.append(post())
        except requests.RequestException as fault:
            replies.append(fault)

    taken = 'SELECT id FROM idempotency_keys WHERE status IS NULL'
    made = 'SELECT id, status FROM operation_logs WHERE plan_id = :plan'
    waiting, stopped = threading.Thread(target=first), _protecting(karbor)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        waiting.start()
        karbor.until(lambda: rows(taken), 'the key is taken')
        rows_locked.execute(sa.text(f'{taken} FOR UPDATE'))
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    karbor.until(lambda: rows(made, plan=plan['id']), 'the operation is accepted')
    time.sleep(0.5)  # by now the API has the answer, and waits for the row
    assert not replies
    for pid in karbor.processes['karbor-api'].workers:
        os.kill(pid, signal.SIGKILL)
    waiting.join(30)
    assert isinstance(replies[0], requests.RequestException)
    rows_locked.rollback()

    karbor.until(karbor.answers, 'the API is there again')
    assert len(rows(taken)) == 1
    refused = post()
    assert refused.status_code == 409
    assert refused.headers['Retry-After'] == '1'
    found = karbor.until(lambda: (reply := post()).status_code == 200 and reply, 'the claim has run out', 40)
    checkpoint = found.json()['checkpoint']
    assert demo.ended(demo.checkpoint, checkpoint)['status'] == 'available'
    assert len(rows(made, plan=plan['id'])) == 1
    assert len(rows('SELECT id FROM checkpoint_records WHERE plan_id = :plan', plan=plan['id'])) == 1
    again = post()
    assert again.headers['Idempotent-Replayed'] == 'true'
    assert again.json() == found.json()
