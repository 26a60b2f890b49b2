# SPDX-License-Identifier: Apache-2.0
"""The broker dies and comes back, answers get lost: what was accepted is done, once; the rest is refused."""

import contextlib
import subprocess
import threading
import time

import pytest

from karbor.tests.infrastructure import work
from karbor.tests.infrastructure.proxy import Proxy
from karbor.tests.services.deployment import ACCEPT_SECONDS, COMMANDS, free_port
from karbor.tests.services.user import checkpoints_of

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(300),
    pytest.mark.parametrize('server', ['mariadb'], indirect=True),
]

MANY = 300
BACK_SECONDS = 20  # until everybody has found the broker again


def test_operations_go_on_and_requests_are_refused_in_time_while_the_broker_is_away(karbor, demo, rows):
    plan = work.plan_of(demo, MANY)
    small = work.plan_of(demo, 1)
    made = demo.make_checkpoint(plan)
    karbor.until(lambda: len(karbor.cloud.objects()) > 10, 'work begins')
    accepted, slowest = [], 0.0
    karbor.broker.kill()
    karbor.broker.launch()
    is_back = threading.Thread(target=karbor.broker.until_ready)
    is_back.start()
    refused, end = 0, None
    while end is None or time.monotonic() < end:
        began = time.monotonic()
        reply = demo.ask('POST', checkpoints_of(small), {'checkpoint': {'plan_id': small['id']}})
        slowest = max(slowest, time.monotonic() - began)
        if work.is_refused(reply):
            refused += 1
        else:
            accepted.append(reply.json()['checkpoint'])
            if not is_back.is_alive():
                break
        assert demo.ask('GET', '/plans').status_code == 200  # what needs no broker goes on
        if end is None and not is_back.is_alive():
            end = time.monotonic() + BACK_SECONDS
    assert refused > 0
    assert accepted, f'nothing is accepted {BACK_SECONDS} s after the broker is back'
    assert slowest < ACCEPT_SECONDS + 1 + 2
    work.assert_as_if_nothing_happened(karbor, rows, work.ended(demo, made), MANY)
    for checkpoint in accepted:
        work.assert_as_if_nothing_happened(karbor, rows, work.ended(demo, checkpoint), 1)
    time.sleep(ACCEPT_SECONDS + 1)  # for calls that were still on their way
    known = rows('SELECT id FROM checkpoint_records WHERE plan_id = :id', id=small['id'])
    assert {row.id for row in known} == {checkpoint['id'] for checkpoint in accepted}
    assert karbor.answers()


@pytest.mark.parametrize('unheard', [b'reply_', b''], ids=['answer', 'everything'])
def test_what_was_accepted_is_found_when_the_answer_gets_lost(karbor, demo, rows, unheard):
    plan = work.plan_of(demo, 2)
    assert demo.get('/protectables')  # the API has its connections

    def operations(checkpoint):
        found = rows('SELECT operation_type FROM operation_logs WHERE checkpoint_id = :id', id=checkpoint['id'])
        return sorted(row.operation_type for row in found)

    def unanswered(method, path, body=None):
        """The reply to a request that arrives at the protection service, whose answer gets lost."""
        for _ in range(20):
            karbor.until(lambda: demo.ask('GET', '/protectables').status_code == 200, 'the API answers')
            with karbor.wire.losing(unheard):
                began = time.monotonic()
                reply = demo.ask(method, path, body)
                lost = karbor.wire.swallowed
            assert time.monotonic() - began < ACCEPT_SECONDS + 1 + 2
            if not work.is_refused(reply):  # its worker has found back from the last time that the wire was cut
                assert lost > 0
                return reply
        raise AssertionError('no request arrives')

    path = checkpoints_of(plan)
    made = unanswered('POST', path, {'checkpoint': {'plan_id': plan['id']}}).json()['checkpoint']
    work.assert_as_if_nothing_happened(karbor, rows, work.ended(demo, made), 2)
    fields = {'provider_id': plan['provider_id'], 'checkpoint_id': made['id'], 'parameters': {}}
    restore = unanswered('POST', '/restores', {'restore': fields}).json()['restore']
    assert demo.ended(demo.restore, restore)['status'] == 'success'
    unanswered('DELETE', f'{path}/{made["id"]}')
    assert work.ended(demo, made)['status'] == 'deleted'
    # What was published twice, or is tried again by the client, is one operation.
    assert operations(made) == ['delete', 'protect', 'restore']
    assert demo.ask('DELETE', f'{path}/{made["id"]}').status_code in (404, 409)
    assert len(rows('SELECT id FROM checkpoint_records WHERE plan_id = :id', id=plan['id'])) == 1
    assert len(rows('SELECT id FROM restores WHERE checkpoint_id = :id', id=made['id'])) == 1


@pytest.mark.parametrize('comes', [True, False], ids=['comes', 'never comes'])
def test_service_waits_for_its_broker_and_ends_when_it_is_told_to(karbor, broker, tmp_path, comes):
    port, file, log = free_port(), tmp_path / 'karbor.conf', tmp_path / 'log'
    text = (karbor.folder / 'karbor.conf').read_text()
    file.write_text(text.replace(broker.url, f'rabbit://guest:guest@127.0.0.1:{port}/'))
    command = [COMMANDS / 'karbor-operationengine', f'--config-file={file}', f'--log-file={log}']
    process = subprocess.Popen(command)
    try:
        karbor.until(lambda: log.exists() and 'Connection failed' in log.read_text(), 'it looks for the broker')
        assert ' is up' not in log.read_text()
        with contextlib.ExitStack() as stack:
            if comes:
                stack.enter_context(contextlib.closing(Proxy(broker.port, port)))
                karbor.until(lambda: ' is up' in log.read_text(), 'it serves')
            process.terminate()
            assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
