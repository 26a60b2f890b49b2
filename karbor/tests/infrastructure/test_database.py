# SPDX-License-Identifier: Apache-2.0
"""The database cuts connections, dies and comes back: operations end as if nothing had happened."""

import subprocess
import threading
import time

import pytest
import requests

from karbor.tests.infrastructure import servers, work
from karbor.tests.services.deployment import ACCEPT_SECONDS, COMMANDS, free_port
from karbor.tests.services.user import checkpoints_of

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

MANY = 240
AWAY_SECONDS = 5


@pytest.fixture
def asking(demo):
    """asking(is_over) posts checkpoints of one resource and reads, until it is over: (the plan, accepted, refused)."""

    plan = work.plan_of(demo, 1)

    def ask(is_over):
        accepted, refused = [], 0
        while not is_over():
            began = time.monotonic()
            reply = demo.ask('POST', checkpoints_of(plan), {'checkpoint': {'plan_id': plan['id']}})
            if work.is_refused(reply):
                refused += 1
            else:
                accepted.append(reply.json()['checkpoint'])
            refused += work.is_refused(demo.ask('GET', '/plans'))
            assert time.monotonic() - began < ACCEPT_SECONDS + 1 + 15
        return plan, accepted, refused

    return ask


def test_operation_ends_as_ever_when_connections_are_cut_every_few_milliseconds(karbor, demo, rows, asking):
    plan = work.plan_of(demo, MANY)
    made = demo.make_checkpoint(plan)
    karbor.until(lambda: len(karbor.cloud.objects()) > 10, 'work begins')
    cuts, over = servers.Connections(karbor.server), threading.Event()
    cutting = threading.Thread(target=cuts.cut_until, args=(over.is_set, 0.005))
    cutting.start()
    try:
        end = time.monotonic() + 6
        small, accepted, _ = asking(lambda: time.monotonic() > end)
    finally:
        over.set()
        cutting.join()
    assert cuts.cut > 50
    work.assert_as_if_nothing_happened(karbor, rows, work.ended(demo, made), MANY)
    for checkpoint in accepted:
        work.assert_as_if_nothing_happened(karbor, rows, work.ended(demo, checkpoint), 1)
    known = rows('SELECT id FROM checkpoint_records WHERE plan_id = :id', id=small['id'])
    assert {row.id for row in known} == {checkpoint['id'] for checkpoint in accepted}


@pytest.mark.parametrize('how', ['stop', 'kill'])
def test_operation_ends_as_ever_when_the_server_is_away_for_seconds(karbor, demo, rows, asking, how):
    plan = work.plan_of(demo, MANY)
    made = demo.make_checkpoint(plan)
    karbor.until(lambda: len(karbor.cloud.objects()) > 10, 'work begins')
    workers = {name: process.workers for name, process in karbor.processes.items()}
    getattr(karbor.server, how)()
    began = time.monotonic()
    while time.monotonic() < began + AWAY_SECONDS:
        assert work.is_refused(demo.ask('GET', '/plans'))
        refusal = demo.ask('POST', checkpoints_of(plan), {'checkpoint': {'plan_id': plan['id']}})
        assert work.is_refused(refusal)
    karbor.server.start()
    back = time.monotonic()
    karbor.until(lambda: demo.ask('GET', '/plans').status_code == 200, 'the API answers again')
    assert time.monotonic() - back < 10
    work.assert_as_if_nothing_happened(karbor, rows, work.ended(demo, made), MANY)
    assert len(rows('SELECT id FROM checkpoint_records WHERE plan_id = :id', id=plan['id'])) == 1
    assert {name: process.workers for name, process in karbor.processes.items()} == workers, 'a process was replaced'
    work.ended(demo, demo.make_checkpoint(work.plan_of(demo, 1)))


def test_processes_wait_when_the_database_is_away_at_their_start(karbor, demo):
    for binary in karbor.processes:
        karbor.kill(binary)
    karbor.server.stop()
    told = {binary: process.log().count('Waiting for the database') for binary, process in karbor.processes.items()}
    for process in karbor.processes.values():
        process.start()
    for binary in ('karbor-protection', 'karbor-operationengine'):
        process = karbor.processes[binary]
        karbor.until(lambda p=process, b=binary: p.log().count('Waiting for the database') > told[b], 'it waits')
    karbor.until(lambda: _is_listening(karbor), 'the API listens')
    assert work.is_refused(demo.ask('GET', '/plans'))
    workers = {binary: process.workers for binary, process in karbor.processes.items()}
    time.sleep(3)
    assert {binary: process.workers for binary, process in karbor.processes.items()} == workers, 'forked again'
    for binary, process in karbor.processes.items():
        assert process.log().count('Waiting for the database') - told[binary] <= 1, 'it says so too often'
    karbor.server.start()
    known = karbor._binds()
    karbor.until(lambda: karbor._binds() > known or karbor.answers(), 'all serve')
    karbor.until(lambda: demo.ask('GET', '/protectables').status_code == 200, 'all serve')
    assert work.ended(demo, demo.make_checkpoint(work.plan_of(demo, 2)))['status'] == 'available'


def _is_listening(karbor):

    try:
        return requests.get(karbor.url, timeout=5).status_code == 300
    except requests.ConnectionError:
        return False


def test_process_ends_when_it_is_told_to_while_it_waits_for_the_database(karbor, tmp_path):
    file = tmp_path / 'karbor.conf'
    url = karbor.database.replace(str(karbor.server.port), str(free_port()))
    file.write_text((karbor.folder / 'karbor.conf').read_text().replace(karbor.database, url))
    log = tmp_path / 'log'
    process = subprocess.Popen([COMMANDS / 'karbor-operationengine', f'--config-file={file}', f'--log-file={log}'])
    karbor.until(lambda: log.exists() and 'Waiting for the database' in log.read_text(), 'it waits')
    process.terminate()
    assert process.wait(10) == 0


def test_db_sync_fails_at_once_with_one_line_when_the_server_cannot_be_reached(karbor, tmp_path):
    file = tmp_path / 'karbor.conf'
    url = karbor.database.replace(str(karbor.server.port), str(free_port()))
    file.write_text((karbor.folder / 'karbor.conf').read_text().replace(karbor.database, url))
    command = [COMMANDS / 'karbor-manage', f'--config-file={file}', f'--log-file={tmp_path}/log', 'db', 'sync']
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert time.monotonic() - began < 20
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith('karbor-manage: The database cannot be used: ')
