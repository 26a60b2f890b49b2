# SPDX-License-Identifier: Apache-2.0
"""A worker: a process that accepts operations as the protection service does, and runs them on real leases.

`python -m karbor.tests.faults.worker` is the process that workers are forked from, so that one is there in no time:
it has imported everything, has no thread, and forks one for each line `FOLDER NAME` that it reads. A worker takes
commands, a JSON object a line, from the socket `FOLDER/NAME` and answers each with a line.
"""

import json
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import karbor.native_threads  # noqa: F401 isort: skip
from oslo_config import cfg
from oslo_log import log
from sqlalchemy import orm
from troveclient.v1 import client as _  # noqa: F401  plugins import it late

from karbor.conf import opts
from karbor.context import RequestContext
from karbor.db import engine
from karbor.objects.plan import Plan
from karbor.objects.restore import Restore
from karbor.objects.verification import Verification
from karbor.plugins import database, project, share  # noqa: F401  what would be imported by name
from karbor.protection.conductor import Conductor
from karbor.protection.manager import Manager
from karbor.protection.protectables import Protectables
from karbor.protection.provider import Providers
from karbor.tests.faults import boundaries

CONF = cfg.CONF
LOG = log.getLogger(__name__)


class Worker:
    """What the commands do."""

    def __init__(self, folder: Path, name: str) -> None:
        opts.parse([f'--config-file={folder}/karbor.conf', f'--log-file={folder}/{name}.log'])
        logging.getLogger('karbor').setLevel(logging.INFO)
        CONF.set_override('host', name)
        engine.configure(CONF)
        providers, protectables = Providers.load(), Protectables()
        self.conductor = Conductor(providers, protectables.containers(), protectables.children)
        gate = boundaries.Gate(folder / 'gate', name)
        boundaries.install(gate, providers.values(), type(self.conductor._jobboard))
        self.manager = Manager(providers, protectables, self.conductor)

    def start(self) -> None:
        """Claim operations from now on."""
        self.conductor.start()

    def is_idle(self) -> bool:
        """Whether it runs nothing."""
        return not self.conductor._dispatched

    def protect(self, context: dict[str, Any], plan: dict[str, Any], checkpoint_id: str, operation_id: str) -> None:
        properties = {'extra_info': {'created_by': 'manual'}}
        self.manager.protect(_context(context), Plan.new(**plan), checkpoint_id, operation_id, properties)

    def restore(self, context: dict[str, Any], restore: dict[str, Any], operation_id: str) -> None:
        self.manager.restore(_context(context), Restore.new(**restore), operation_id)

    def verify(self, context: dict[str, Any], verification: dict[str, Any], operation_id: str) -> None:
        self.manager.verification(_context(context), Verification.new(**verification), operation_id)

    def delete(self, context: dict[str, Any], provider_id: str, checkpoint_id: str, operation_id: str) -> None:
        self.manager.delete(_context(context), provider_id, checkpoint_id, operation_id)


def _context(told: dict[str, Any]) -> RequestContext:
    return RequestContext.from_dict(told)


def _serve(folder: Path, name: str) -> None:
    commands = socket.socket(socket.AF_UNIX)
    commands.connect(str(folder / 'commands'))
    worker = Worker(folder, name)
    commands.sendall(json.dumps({'name': name, 'pid': os.getpid()}).encode() + b'\n')
    for line in commands.makefile('rb'):
        command = json.loads(line)
        try:
            answer = {'answer': getattr(worker, command.pop('do'))(**command)}
        except Exception as fault:  # noqa: BLE001  the test is told whatever it is
            LOG.exception('A command failed.')
            answer = {'fault': repr(fault)}
        commands.sendall(json.dumps(answer).encode() + b'\n')


def _fork(folder: Path, name: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _serve(folder, name)
    except BaseException:  # noqa: BLE001  it must never get back into the loop of its parent
        logging.getLogger(__name__).exception('The worker %s ended.', name)
    finally:
        os._exit(0)


def main() -> None:
    """Fork workers until standard input ends."""
    opts.register()
    orm.configure_mappers()
    Protectables()
    assert threading.active_count() == 1, 'a fork would lose threads'
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever is killed is gone at once
    for line in sys.stdin:
        folder, name = line.split()
        print(_fork(Path(folder), name), flush=True)


if __name__ == '__main__':
    main()
