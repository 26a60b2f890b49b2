# SPDX-License-Identifier: Apache-2.0
"""The processes themselves: threads, heartbeats, the end; two API processes are as good as one."""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from karbor.tests.services import watched
from karbor.tests.services.deployment import BINARIES, REPORT_SECONDS, STOP_SECONDS
from karbor.tests.services.user import User, checkpoints_of, volumes

# A module that each process has to have loaded, or the look into it would prove nothing.
LOADED = {
    'karbor-api': 'karbor.api.v1.plans',
    'karbor-protection': 'karbor.protection.wave',
    'karbor-operationengine': 'karbor.operationengine.service',
}
NATIVE = {
    'socket': 'socket',
    'select': 'select',
    'sleep': 'time',
    'thread': '_thread',
    'lock': '_thread',
    'read': 'posix',
}


@pytest.mark.parametrize('binary', BINARIES)
def test_threads_are_native_when_a_process_serves(karbor, demo, binary):
    demo.ended(demo.checkpoint, demo.make_checkpoint(demo.make_plan(volumes(3))))
    process = karbor.processes[binary]
    for pid in [process.pid, *process.workers]:
        told = watched.facts(karbor.folder.parent, pid)
        assert told['modules'] == NATIVE
        assert told['patched'] == []
        assert not told['gevent']
        if pid != process.pid:
            assert LOADED[binary] in told['karbor']
            assert told['threads'] > 1


@pytest.mark.parametrize('binary', ['karbor-protection', 'karbor-operationengine'])
def test_service_reports_that_it_is_up_when_time_goes_by(karbor, rows, binary):
    def report():
        statement = 'SELECT report_count, updated_at, topic FROM services WHERE binary = :binary AND host = :host'
        quoted = statement.replace('binary =', '`binary` =' if 'mysql' in karbor.database else '"binary" =')
        (row,) = rows(quoted, binary=binary, host=karbor.host)
        return row

    first = report()
    assert first.topic == binary
    karbor.until(lambda: report().report_count > first.report_count, 'the next report', 5 * REPORT_SECONDS)
    assert report().updated_at > first.updated_at
    listed = [line for line in karbor.manage('service', 'list').splitlines() if karbor.host in line]
    assert sorted(line.split()[1] for line in listed) == ['karbor-operationengine', 'karbor-protection']
    assert all(':-)' in line for line in listed)


@pytest.mark.parametrize('binary', BINARIES)
def test_process_ends_in_time_and_starts_again_when_it_is_told_to_end(karbor, demo, binary):
    process = karbor.processes[binary]
    children = process.workers
    assert len(children) == (2 if binary == 'karbor-api' else 1)
    assert process.stop() < STOP_SECONDS
    assert [pid for pid in children if Path(f'/proc/{pid}').exists()] == []
    if binary == 'karbor-protection':
        karbor.start_protection()
    else:
        process.start()
        karbor.until(lambda: len(process.workers) == len(children), 'the workers')
        karbor.until(karbor.answers, 'the API answers')
    assert demo.ask('GET', '/plans').status_code == 200


class Worker(http.client.HTTPConnection):
    """A connection that leads to one of the API processes: always the same, as long as it is open."""

    def ask(self, user: User, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and body of the reply to a request below the user's project."""
        headers = {'X-Auth-Token': user.token, 'Content-Type': 'application/json'}
        self.request(method, f'/v1/{user.project_id}{path}', json.dumps(body) if body else None, headers)
        reply = self.getresponse()
        content = reply.read()
        return reply.status, json.loads(content or 'null')

    def server(self, processes: list[int]) -> int:
        """Which of the processes is at the other end."""
        loopback = socket.inet_aton('127.0.0.1')[::-1].hex().upper()
        wanted = [f'{loopback}:{end[1]:04X}' for end in (self.sock.getpeername(), self.sock.getsockname())]
        lines = [line.split() for line in Path('/proc/net/tcp').read_text().splitlines()]
        (inode,) = (line[9] for line in lines if line[1:3] == wanted)
        (pid,) = (pid for pid in processes if f'socket:[{inode}]' in _open_files(pid))
        return pid


def _open_files(pid: int) -> list[str]:
    found = []
    for link in Path(f'/proc/{pid}/fd').iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return found


@pytest.fixture
def workers(karbor, demo) -> Iterator[list[Worker]]:
    """A connection to each of the two API processes."""
    found: dict[int, Worker] = {}
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            worker = stack.enter_context(contextlib.closing(Worker('127.0.0.1', karbor.port, timeout=30)))
            assert worker.ask(demo, 'GET', '/plans')[0] == 200
            found.setdefault(worker.server(karbor.processes['karbor-api'].workers), worker)
            if len(found) == 2:
                break
        assert len(found) == 2, f'all connections lead to {list(found)}'
        yield list(found.values())


def test_answers_are_the_same_when_either_api_process_is_asked(demo, workers):
    plan = demo.make_plan(volumes(2))
    checkpoint = demo.make_checkpoint(plan)
    demo.ended(demo.checkpoint, checkpoint)
    paths = [
        '/plans',
        f'/plans/{plan["id"]}',
        '/providers',
        '/protectables',
        checkpoints_of(plan),
        f'{checkpoints_of(plan)}/{checkpoint["id"]}',
        '/operation_logs',
        '/restores',
    ]
    for path in paths:
        one, two = (worker.ask(demo, 'GET', path) for worker in workers)
        assert one == two
        assert one[0] == 200


def test_change_is_seen_at_once_when_the_other_api_process_made_it(demo, workers):
    one, two = workers
    id = demo.make_plan(volumes(1))['id']
    for n in range(10):
        assert one.ask(demo, 'PUT', f'/plans/{id}', {'plan': {'name': f'name {n}'}})[0] == 200
        assert two.ask(demo, 'GET', f'/plans/{id}')[1]['plan']['name'] == f'name {n}'
    assert two.ask(demo, 'DELETE', f'/plans/{id}')[0] == 200
    assert one.ask(demo, 'GET', f'/plans/{id}')[0] == 404
