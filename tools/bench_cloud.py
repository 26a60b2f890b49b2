# SPDX-License-Identifier: Apache-2.0
"""Several workers, an idle cluster, and the sandbox cloud: figures of three processes on a database server.

`idle_statements_per_s` counts on the whole server what reads or writes rows: nothing else should use it meanwhile.
"""

import contextlib
import datetime
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bench_content
import bench_service
import requests
import sqlalchemy as sa
from bench_service import COMMANDS, Project, Site

from karbor.tests.services.deployment import CLOUD, Deployment

Figures = Iterator[tuple[str, float, str]]
Json = dict[str, Any]
Ask = Callable[..., Any]

IDLE_SECONDS = 20
WORKERS = (1, 2, 4)
AT_ONCE = 8  # operations, which the workers share
EACH = 1000  # resources of each of them
SHARES = 1000
# A backup waits for a third of its time until it begins.
BACK_END_SECONDS = {
    'OS::Manila::Share': 30,
    'OS::Trove::Instance': 40,
}
SANDBOX_SECONDS = 0.3  # of work at speed 1
CLOUD_NAMES = ['protect_1000_shares_s', 'cloud_calls_per_resource']
WORKER_NAMES = [f'workers_{number}_resources_per_s' for number in WORKERS]
COUNTED = ('Com_select', 'Com_insert', 'Com_update', 'Com_delete')


def idle(site: Site) -> Figures:
    """Statements a second that reach the database when nobody wants anything: of API, engine and one worker."""
    counts = []
    for pause in (0, IDLE_SECONDS):
        time.sleep(pause)
        counts.append(_statements(site.database_url))
    yield 'idle_statements_per_s', (counts[1] - counts[0]) / IDLE_SECONDS, '1/s'


def workers(site: Site) -> Figures:
    """Resources a second that so many worker processes protect, when more operations wait than there are workers."""
    with contextlib.ExitStack() as stack:
        running = 1
        for number in WORKERS:
            for further in range(running, number):
                stack.enter_context(_worker(site.deployment, f'worker{further}'))
            running = number
            took = _protect(site, AT_ONCE, EACH)
            yield f'workers_{number}_resources_per_s', AT_ONCE * EACH / took, '1/s'


def shares(site: Site) -> Figures:
    """Shares of the sandbox over HTTP; the calls are those to all its services while it lasts, polls included."""
    ids = _make_shares(site, SHARES)
    cloud = site.cloud['faults_url'].removesuffix('/faults')
    admin = bench_service.log_in(site.cloud, 'admin').headers
    requests.delete(f'{cloud}/calls', headers=admin, timeout=30).raise_for_status()
    resources = [{'id': id, 'type': 'OS::Manila::Share', 'name': id} for id in ids]
    plan = _made(site, site.reads, 'plan', {**_plan(CLOUD), 'resources': resources})
    began = time.perf_counter()
    checkpoint = _checkpoint(site, site.reads, CLOUD, plan['id'])
    _until_ended(site, {checkpoint['id']}, 'available')
    yield CLOUD_NAMES[0], time.perf_counter() - began, 's'
    calls = requests.get(f'{cloud}/calls', headers=admin, timeout=30).json()['calls']
    yield CLOUD_NAMES[1], sum(sum(one.values()) for one in calls.values()) / SHARES, 'calls'


def overhead(database: str, folder: Path) -> Figures:
    """From the POST to the end of the operation, less the 30 or 40 s of the back end: of 20 operations, as many as
    two projects may have at once. Each instance has one of them: Trove makes one backup of it at a time.
    """
    with bench_service.site(database, folder, SANDBOX_SECONDS / BACK_END_SECONDS['OS::Manila::Share']) as site:
        due: dict[str, datetime.datetime] = {}
        owned = ((site.reads, ['shop-db', 'wiki-db'] + 8 * ['photos']), (site.writes, ['ledger-db'] + 9 * ['papers']))
        for project, names in owned:
            for name in names:
                kind = 'OS::Trove::Instance' if name.endswith('db') else 'OS::Manila::Share'
                takes = datetime.timedelta(seconds=BACK_END_SECONDS[kind])
                resource = {'id': _found(site, project, kind, name), 'type': kind, 'name': name}
                plan = _made(site, project, 'plan', {**_plan(CLOUD), 'resources': [resource]})
                began = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
                due[_checkpoint(site, project, CLOUD, plan['id'])['id']] = began + takes
                time.sleep(0.37)  # which is no part of any interval of polls
        ended = _until_ended(site, set(due), 'available', 120)
    over = sorted((ended[id] - due[id]).total_seconds() for id in due)
    yield 'overhead_p95_s', over[round(0.95 * len(over)) - 1], 's'


def _protect(site: Site, operations: int, resources: int) -> float:
    """Seconds from the first POST until so many checkpoints of so many resources are available."""
    plan = _made(site, site.writes, 'plan', bench_content.plan(site.provider_id, resources)['plan'])
    began = time.perf_counter()
    ids = {_checkpoint(site, site.writes, site.provider_id, plan['id'])['id'] for _ in range(operations)}
    _until_ended(site, ids, 'available')
    return time.perf_counter() - began


@contextlib.contextmanager
def _worker(deployment: Deployment | None, host: str) -> Iterator[None]:
    """One more protection service, with a host name of its own."""
    assert deployment is not None
    own, log = deployment.folder / f'{host}.conf', deployment.folder / f'{host}.log'
    own.write_text(f'[DEFAULT]\nhost = {host}\n')
    command = [str(COMMANDS / 'karbor-protection'), f'--config-file={deployment.folder}/karbor.conf']
    process = subprocess.Popen([*command, f'--config-file={own}', f'--log-file={log}'])
    try:
        deployment.until(lambda: log.exists() and 'serves the providers' in log.read_text(), f'{host} serves')
        yield
    finally:
        process.terminate()
        process.wait(30)


def _statements(url: str) -> int:
    """What the server has executed that reads or writes rows."""
    server = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with server.connect() as connection:
        rows = connection.execute(sa.text("SHOW GLOBAL STATUS LIKE 'Com\\_%'"))
        return sum(int(value) for name, value in rows if name in COUNTED)


def _until_ended(site: Site, ids: set[str], status: str, seconds: float = 60) -> dict[str, datetime.datetime]:
    """When each of the checkpoints' operations ended, once all have. Raises RuntimeError when one ended otherwise."""
    wanted = sa.text('SELECT checkpoint_id, status, ended_at FROM operation_logs WHERE checkpoint_id IN :ids')
    wanted = wanted.bindparams(sa.bindparam('ids', list(ids), expanding=True))
    server, end = sa.create_engine(site.database_url), time.monotonic() + seconds
    try:
        while True:
            with server.connect() as connection:
                rows = connection.execute(wanted).all()
            ended = {row.checkpoint_id: row.ended_at for row in rows if row.ended_at}
            wrong = {row.status for row in rows if row.ended_at and row.status != status}
            if wrong or time.monotonic() > end:
                raise RuntimeError(f'{len(ended)} of {len(ids)} operations ended after {seconds} s; {wrong}')
            if len(ended) == len(ids):
                return ended
            time.sleep(0.02)
    finally:
        server.dispose()


def _make_shares(site: Site, number: int) -> list[str]:
    """The ids of so many new shares of the project that is read, when they are available."""
    url = f'{site.cloud["urls"]["manila"].format(project_id=site.reads.id)}/shares'
    body = {'share': {'share_proto': 'NFS', 'size': 1}}
    with requests.Session() as session:
        session.headers.update({**site.reads.headers, 'X-OpenStack-Manila-API-Version': '2.60'})
        ids = []
        for _ in range(number):
            reply = session.post(url, json=body, timeout=30)
            reply.raise_for_status()
            ids.append(reply.json()['share']['id'])
    time.sleep(2 * SANDBOX_SECONDS)
    return ids


def _found(site: Site, project: Project, kind: str, name: str) -> str:
    listed = _ask(site, project, 'GET', f'/protectables/{kind}/instances')['instances']
    return next(one['id'] for one in listed if one['name'] == name)


def _plan(provider_id: str) -> Json:
    return bench_content.plan(provider_id, 0)['plan']


def _made(site: Site, project: Project, kind: str, body: Json) -> Json:
    return _ask(site, project, 'POST', f'/{kind}s', {kind: body})[kind]


def _checkpoint(site: Site, project: Project, provider_id: str, plan_id: str) -> Json:
    path = f'/providers/{provider_id}/checkpoints'
    return _ask(site, project, 'POST', path, {'checkpoint': {'plan_id': plan_id}})['checkpoint']


def _ask(site: Site, project: Project, method: str, path: str, body: Json | None = None) -> Json:
    host, port = site.address
    url = f'http://{host}:{port}/v1/{project.id}{path}'
    reply = requests.request(method, url, json=body, headers=project.headers, timeout=60)
    if not reply.ok:
        raise RuntimeError(f'{method} {path}: {reply.status_code} {reply.text}')
    return reply.json()
