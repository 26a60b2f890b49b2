# SPDX-License-Identifier: Apache-2.0
"""karbor-sandbox as a process of its own."""

import json
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests
from keystoneauth1 import session
from keystoneauth1.identity import v3


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_process_says_when_it_is_ready_and_ends_at_a_signal(tmp_path, number):
    (tmp_path / 'mine').write_text('stays')
    command = [sys.executable, '-m', 'karbor.cmd.sandbox', '--state-dir', str(tmp_path)]
    command += ['--karbor-url', 'http://127.0.0.1:8799']
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            assert set(ready) == {'auth_url', 'users', 'service_user', 'urls', 'faults_url'}
            users = {user['name']: user for user in ready['users']}
            assert set(users) == {'demo', 'reader', 'other', 'admin'}
            demo = users['demo']
            sess = session.Session(
                v3.Password(
                    ready['auth_url'],
                    username='demo',
                    password=demo['password'],
                    user_domain_id='default',
                    project_id=demo['project_id'],
                )
            )
            url = sess.get_endpoint(service_type='data-protect')
            assert url == f'http://127.0.0.1:8799/v1/{demo["project_id"]}'
            assert len(sess.get('/shares', endpoint_filter={'service_type': 'sharev2'}).json()['shares']) == 3
        finally:
            process.send_signal(number)
            start = time.monotonic()
            _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, '')
    assert time.monotonic() - start < 5
    assert [path.name for path in tmp_path.iterdir()] == ['mine']
    with pytest.raises(requests.ConnectionError):
        requests.get(ready['auth_url'], timeout=2)


def test_process_fails_with_a_message_when_its_port_is_taken(tmp_path):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        command = [sys.executable, '-m', 'karbor.cmd.sandbox', '--state-dir', str(tmp_path)]
        command += ['--port', str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (1, '')
    assert 'karbor-sandbox:' in done.stderr
    assert list(tmp_path.iterdir()) == []
