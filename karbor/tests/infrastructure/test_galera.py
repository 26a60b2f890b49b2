# SPDX-License-Identifier: Apache-2.0
"""A Galera cluster with writers on all of its nodes: claims stay exclusive, a node may die."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from karbor.sandbox.cloud import Sandbox
from karbor.tests.infrastructure import conftest, galera, servers, work
from karbor.tests.services.deployment import Process
from karbor.tests.services.user import User

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

MANY = 240
BATCH, BATCHES = 20, 8


@pytest.fixture(scope='module')
def nodes() -> Iterator[list[galera.Node]]:
    if not os.environ.get('KARBOR_TEST_ALL'):
        pytest.skip('only in the whole run: make test-faults ALL=1, or KARBOR_TEST_ALL=1')
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(galera.cluster())
        except servers.Missing as needed:
            pytest.skip(str(needed))


@pytest.fixture(scope='module')
def karbor(nodes: list[galera.Node], broker: servers.RabbitMQ, tmp_path_factory: Any) -> Iterator[conftest.Karbor]:
    """API and engine work on the third node, a worker each on the first and the second."""
    folder = tmp_path_factory.mktemp('galera')
    with Sandbox(folder / 'cloud') as sandbox:
        made = conftest.deploy(folder / 'karbor', nodes[2], broker, sandbox)
        for process, node in zip(made.processes.values(), (nodes[0], nodes[2], nodes[2]), strict=True):
            _connect(process, node)
        other = _second_worker(made, nodes[1])
        with contextlib.closing(made.wire), made.serving():
            other.start()
            try:
                made.until(lambda: 'serves the providers' in other.log(), 'the second worker serves')
                yield made
            finally:
                other.stop()


def _connect(process: Process, node: galera.Node) -> None:
    # What one node has committed is to be seen on all.
    process.environment |= {'OS_DATABASE__CONNECTION': node.url, 'OS_DATABASE__MYSQL_WSREP_SYNC_WAIT': '1'}
    process.environment['OS_PROTECTION__CLAIM_INTERVAL'] = '0.05'


def _second_worker(made: conftest.Karbor, node: galera.Node) -> Process:
    folder = made.folder.with_name('second')
    folder.mkdir()
    text = (made.folder / 'karbor.conf').read_text()
    (folder / 'karbor.conf').write_text(text.replace(f'host = {made.host}', 'host = second'))
    shutil.copytree(made.folder / 'providers.d', folder / 'providers.d')
    worker = Process('karbor-protection', folder, conftest.ENVIRONMENT)
    _connect(worker, node)
    return worker


@pytest.fixture
def rows(nodes):
    """rows(statement, **values) are what the third node answers, when it has applied what the others committed."""
    with contextlib.closing(conftest.Rows(nodes[2].url)) as made:
        yield lambda statement, **values: made(f'SET STATEMENT wsrep_sync_wait=1 FOR {statement}', **values)


def _conflicts(nodes):
    names = ('local_cert_failures', 'local_bf_aborts')
    return sum(int(node.status(name)) for node in nodes for name in names)


def test_every_operation_is_claimed_once_when_workers_are_on_different_nodes(karbor, nodes, demo, rows):
    assert nodes[2].status('cluster_size') == '3'
    begun = _conflicts(nodes)
    made = []
    for _ in range(BATCHES):
        plans = [work.plan_of(demo, 2) for _ in range(BATCH)]
        made += [demo.make_checkpoint(plan) for plan in plans]
        for checkpoint in made[-BATCH:]:
            work.assert_as_if_nothing_happened(karbor, rows, work.ended(demo, checkpoint), 2)
        if _conflicts(nodes) > begun:
            break
    met = _conflicts(nodes) - begun
    print(f'{met} transactions of {len(made)} operations were overtaken')
    assert met > 0, 'no two transactions met: nothing was proven'
    assert {row.epoch for row in rows('SELECT epoch FROM operation_logs')} == {1}


def test_operation_ends_as_ever_when_the_node_of_its_worker_dies(karbor, nodes, demo, rows):
    checkpoint = demo.make_checkpoint(work.plan_of(demo, MANY))
    karbor.until(lambda: len(karbor.cloud.made(_operation(rows, checkpoint).id)) > 30, 'work begins')
    owner = _operation(rows, checkpoint).owner
    node = nodes[1] if owner.startswith('second:') else nodes[0]
    node.kill()
    work.assert_as_if_nothing_happened(karbor, rows, work.ended(demo, checkpoint), MANY)
    assert _operation(rows, checkpoint).epoch > 1
    host = owner.partition(':')[0]

    def beats():
        found = rows('SELECT report_count FROM services WHERE host = :host AND `binary` = :name', host=host, name=NAME)
        return found[0].report_count

    before = beats()
    node.start()
    karbor.until(lambda: beats() > before, 'its worker is back')
    assert nodes[2].status('cluster_size') == '3'


NAME = 'karbor-protection'


def _operation(rows, checkpoint):
    (found,) = rows('SELECT id, owner, epoch FROM operation_logs WHERE checkpoint_id = :id', id=checkpoint['id'])
    return found


@pytest.fixture
def demo(karbor):
    """A member of the project demo."""
    return User(karbor, 'demo')
