# SPDX-License-Identifier: Apache-2.0
"""A Galera cluster of three nodes on this machine, of the packages of Debian: mariadb-server and galera-4."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pymysql

from karbor.tests.infrastructure import servers
from karbor.tests.services.deployment import free_port

INSTALL = 'apt-get install mariadb-server galera-4 rsync'
PROVIDERS = ('/usr/lib/galera/libgalera_smm.so', '/usr/lib/libgalera_smm.so')
TIMES = (
    'evs.keepalive_period=PT0.5S;evs.inactive_check_period=PT0.5S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S'
)
OPTIONS = (
    '--wsrep-on=ON',
    '--wsrep-cluster-name=karbor',
    '--wsrep-sst-method=rsync',
    '--binlog-format=ROW',
    '--innodb-autoinc-lock-mode=2',
    '--innodb-flush-log-at-trx-commit=0',
    '--innodb-log-file-size=16M',
    '--innodb-buffer-pool-size=64M',
)


class Node(servers.MariaDB):
    """A node; one whose ``others`` are empty begins a cluster, any other joins theirs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        found = [path for path in PROVIDERS if os.path.exists(path)]
        if not found or not all(map(os.path.exists, ('/usr/bin/rsync', '/usr/bin/wsrep_sst_rsync'))):
            raise servers.Missing(INSTALL)
        self.provider, self.group = found[0], free_port()
        self.transfer, self.increments = free_port(), free_port()
        self.others: Sequence[Node] = ()

    def command(self) -> list[str]:
        joined = ','.join(f'127.0.0.1:{node.group}' for node in self.others)
        told = f'gmcast.listen_addr=tcp://127.0.0.1:{self.group}'
        told += f';ist.recv_addr=127.0.0.1:{self.increments}'  # codespell:ignore ist
        return [
            *super().command(),
            *OPTIONS,
            f'--wsrep-provider={self.provider}',
            f'--wsrep-cluster-address=gcomm://{joined}',
            f'--wsrep-node-address=127.0.0.1:{self.group}',
            f'--wsrep-sst-receive-address=127.0.0.1:{self.transfer}',
            f'--wsrep-provider-options={told};gcache.size=16M;pc.recovery=no;{TIMES}',
        ]

    def is_ready(self) -> bool:
        with contextlib.suppress(pymysql.Error):
            return self.status('ready') == 'ON'
        return False

    def status(self, name: str) -> str:
        """The value of a status variable of Galera."""
        connected = pymysql.connect(host='127.0.0.1', port=self.port, user='root')
        with contextlib.closing(connected) as connection, connection.cursor() as cursor:
            cursor.execute('SHOW STATUS LIKE %s', (f'wsrep_{name}',))
            return str((cursor.fetchone() or ('', ''))[1])


@contextlib.contextmanager
def cluster(number: int = 3) -> Iterator[list[Node]]:
    """Nodes of one cluster, with a database `karbor`; gone afterwards. Raises Missing."""
    with contextlib.ExitStack() as stack:
        nodes: list[Node] = []
        for _ in range(number):
            node = Node(stack.enter_context(servers.folder_for(Node.user)))
            stack.callback(node.kill)
            nodes.append(node)
        nodes[0].install()
        nodes[0].start()
        nodes[0].create()
        for node in nodes[1:]:
            node.data.mkdir()
            servers.give(node.data, node.user)
            node.others = [nodes[0]]
            node.start()
        for node in nodes:  # from now on any of them may go, and come back to those that are left
            node.others = [other for other in nodes if other is not node]
        yield nodes
