# SPDX-License-Identifier: Apache-2.0
"""The engine by itself: a protection service in this process, RPC within it, and every SQL statement counted.

`python bench_engine.py FOLDER DATABASE-URL RESOURCES` protects so many no-op resources, and writes one JSON
object to standard output: seconds, statements and commits, from the call that accepts to the end, and the seconds
of `flow_build`, from the operation to its compiled flow. With `--profile` the functions that took the most time go
to standard error.
"""

import argparse
import contextlib
import cProfile
import json
import pstats
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import karbor.native_threads  # noqa: F401 isort: skip
import sqlalchemy as sa
from oslo_config import cfg
from taskflow import engines

from karbor.cmd import standalone
from karbor.conf import opts
from karbor.context import RequestContext
from karbor.db import engine, migration
from karbor.objects.plan import Plan
from karbor.rpc import transport

CONF = cfg.CONF
PROVIDER = 'b766f37c-d011-4026-8228-28730d734a3f'
CONFIGURATION = """\
[DEFAULT]
host = engine
state_path = {folder}
transport_url = local://
provider_config_dir = {folder}/providers.d
use_stderr = false
log_file = {folder}/engine.log

[database]
connection = {database}
"""


def measure(folder: Path, database: str, resources: int) -> dict[str, float]:
    """What protecting so many resources took, measured in another process on an empty ``database``."""
    command = [sys.executable, __file__, str(folder), database, str(resources)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f'the engine could not be measured:\n{done.stderr[-2000:]}')
    return json.loads(done.stdout)


def _configure(folder: Path, database: str) -> None:
    (folder / 'providers.d').mkdir(parents=True)
    (folder / 'providers.d' / 'noop.conf').write_text(standalone.PROVIDERS['noop.conf'].format(state=folder))
    path = folder / 'engine.conf'
    path.write_text(CONFIGURATION.format(folder=folder, database=database))
    opts.parse([f'--config-file={path}'])
    engine.configure(CONF)
    migration.sync()
    transport.init(CONF)


class Counted:
    """The statements and commits of every thread within a `with` block."""

    def __enter__(self) -> 'Counted':
        self.statements = self.commits = 0
        self._listen(sa.event.listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._listen(sa.event.remove)

    def _listen(self, change: Any) -> None:
        for one in {engine.engine(), *self._readers()}:
            change(one, 'after_cursor_execute', self._executed)
            change(one, 'commit', self._committed)

    @staticmethod
    def _readers() -> list[sa.Engine]:
        with engine.reading() as session:
            return [session.get_bind()]  # type: ignore[list-item]

    def _executed(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        self.statements += not statement.startswith('BEGIN')  # which only SQLite is sent as a statement

    def _committed(self, *_: Any) -> None:
        self.commits += 1


@contextlib.contextmanager
def _profiled(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    from karbor.protection import conductor

    profile = cProfile.Profile()
    run = conductor.Conductor._run
    conductor.Conductor._run = lambda self, job: profile.runcall(run, self, job)  # type: ignore[method-assign]
    yield
    pstats.Stats(profile, stream=sys.stderr).sort_stats('cumulative').print_stats(60)


def _flow_build(build: Callable[[Any], Any], took: list[float]) -> Callable[[Any], Any]:
    """``build`` of `flows`, which also measures how long this and the compilation take, with a flow of its own."""

    def measured(run: Any) -> Any:
        began = time.perf_counter()
        engines.load(build(run), engine='serial').compile()
        took.append(time.perf_counter() - began)
        return build(run)

    return measured


def _protect(resources: int) -> dict[str, float]:
    from karbor import submission
    from karbor.protection import flows
    from karbor.protection.service import ProtectionService

    built: list[float] = []
    flows.build = _flow_build(flows.build, built)

    service = ProtectionService()
    service.start()
    project = str(uuid.uuid4())
    context = RequestContext(user_id='bench', project_id=project, is_admin=True, roles=['admin'])
    try:
        for number in (10, resources):  # the first one warms up
            plan = _plan(project, number)
            with Counted() as counted:
                began = time.perf_counter()
                checkpoint = submission.protect(context, plan)
                if not service.conductor.wait_idle(100):
                    raise RuntimeError('the operation does not end')
                took = time.perf_counter() - began
        status = type(checkpoint).get(checkpoint.id).checkpoint_status
        if status != 'available':
            raise RuntimeError(f'the checkpoint is {status}')
    finally:
        service.stop()
    return {
        'seconds': took,
        'statements': counted.statements,
        'commits': counted.commits,
        'flow_build': built[-1],
    }


def _plan(project: str, number: int) -> Plan:
    named = [{'id': str(uuid.uuid4()), 'type': 'OS::Cinder::Volume', 'name': f'volume {n}'} for n in range(number)]
    plan = Plan.new(
        name='bench', project_id=project, provider_id=PROVIDER, status='suspended', resources=named, parameters={}
    )
    plan.create()
    return plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument('database')
    parser.add_argument('resources', type=int)
    parser.add_argument('--profile', action='store_true')
    told = parser.parse_args()
    _configure(told.folder, told.database)
    with _profiled(told.profile):
        json.dump(_protect(told.resources), sys.stdout)


if __name__ == '__main__':
    main()
