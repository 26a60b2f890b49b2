# SPDX-License-Identifier: Apache-2.0
"""The figures of Karbor, as JSON lines on standard output: name, value, unit, database, transport, when, machine.

It measures the standalone service on SQLite and, where the servers run on this machine, three processes on
MariaDB and RabbitMQ. Progress, and answers that were not 200, go to standard error. It judges nothing.
"""

import argparse
import contextlib
import datetime
import http.client
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import bench_cloud
import bench_content
import bench_engine
import bench_lists
import bench_load
import bench_service
import bench_takeover
from bench_service import Project, Site

SECONDS = 1.2  # of one round of load
ROUNDS = {1: 1, 8: 3}  # new connections in each: the kernel spreads them over the API's processes
LISTED = 1000
PAGE = 50
ENGINE_RESOURCES = 2000
BURST = 100  # checkpoints that are asked for at once
RUNS = {1: 9, 10: 7, 100: 5, 500: 3, 1000: 3, 10000: 1}  # number of resources -> checkpoints that are made of them
Figures = Iterator[tuple[str, float, str]]
Json = dict[str, Any]


class Bench:
    """The measurements on one site. ``wanted`` tells of the name of a figure whether it is asked for."""

    def __init__(self, site: Site, wanted: Callable[[str], bool]) -> None:
        self.site, self.wanted = site, wanted
        self.statuses: Counter[str] = Counter()
        self._filled = False
        self._multiplied: tuple[str, str] | None = None  # a plan and its checkpoint
        self._took: dict[int, float] = {}
        self._plan_ids: list[str] = []
        self._connection = http.client.HTTPConnection(*site.address, timeout=60)

    def figures(self) -> Figures:
        """(name, value, unit) of everything that is wanted, as it is measured."""
        for names, measure in self._phases():
            if any(map(self.wanted, names)):
                _say(f'{self.site.database}: {names[0]}')
                self._connection.close()  # a server hangs up on who has been silent; it is opened again by itself
                for figure in measure():
                    if self.wanted(figure[0]):
                        yield figure
        if self.wanted('errors_5xx'):
            faults = sum(n for status, n in self.statuses.items() if status[0] == '5' or not status.isdigit())
            yield 'errors_5xx', faults, 'replies'
        refused = {status: number for status, number in self.statuses.items() if status != '200'}
        if refused:
            _say(f'{self.site.database}: not 200: {refused}')

    def _phases(self) -> Iterator[tuple[list[str], Callable[[], Figures]]]:
        if self.site.database == 'mariadb':
            yield ['idle_statements_per_s'], lambda: bench_cloud.idle(self.site)
        yield [f'rss_{name}_mb' for name in self.site.pids], self._memory
        yield _rates('post_plan'), lambda: self._rate('post_plan', self.site.writes, self._post_plan())
        for name, requests in self._reads().items():
            yield _rates(name), lambda name=name, requests=requests: self._read(name, requests)
        for number in RUNS:
            names = [f'checkpoint_{number}_s', *_post_name(number)]
            if number == max(RUNS):
                names.append(f'rss_protection_{number}_mb')
            yield names, lambda number=number: self._checkpoints(number)
        yield ['checkpoint_fit_r2', 'checkpoint_fit_ms_per_resource'], self._fit
        yield ['checkpoints_100x10_posted_s', 'checkpoints_100x10_done_s'], self._burst
        names = ['resources_per_s', 'sql_statements_per_resource', 'sql_commits_per_resource', 'flow_build_10000_s']
        yield names, self._engine
        if self.site.deployment:
            yield bench_cloud.WORKER_NAMES, lambda: bench_cloud.workers(self.site)
            yield bench_cloud.CLOUD_NAMES, lambda: bench_cloud.shares(self.site)
        if self.site.database != 'sqlite':  # last: it leaves a database of a million rows
            for size in bench_lists.SIZES:
                yield bench_lists.names(size), lambda size=size: self._lists(size)

    # -- memory

    def _memory(self) -> Figures:
        """Idle, but not untouched: each process has answered some requests, and run an operation."""
        made = self._post('/plans', bench_content.plan(self.site.provider_id, 2))['plan']
        for _ in range(8):
            self._available(made['id'])
            self._ask('GET', '/plans')
        time.sleep(0.5)
        for name, megabytes in self.site.resident_mb().items():
            yield f'rss_{name}_mb', megabytes, 'MB'

    # -- load

    def _post_plan(self) -> list[Json]:
        return [self._request(self.site.writes, 'POST', '/plans', bench_content.plan(self.site.provider_id, 2))]

    def _reads(self) -> Mapping[str, Callable[[], list[str]]]:
        provider = f'/providers/{self.site.provider_id}'
        return {
            'get_plan': lambda: [f'/plans/{id}' for id in self._plan_ids[:100]],
            'list50_plans': lambda: [f'/plans?limit={PAGE}'],
            'list50_checkpoints': lambda: [f'{provider}/checkpoints?limit={PAGE}'],
            'list50_operation_logs': lambda: [f'/operation_logs?limit={PAGE}'],
            'get_providers': lambda: ['/providers'],
        }

    def _read(self, name: str, paths: Callable[[], list[str]]) -> Figures:
        self._fill()
        requests = [self._request(self.site.reads, 'GET', path) for path in paths()]
        yield from self._rate(name, self.site.reads, requests)

    def _rate(self, name: str, project: Project, requests: list[Json]) -> Figures:
        for clients, rounds in ROUNDS.items():
            self._load(clients, SECONDS / 4, requests)
            rates = [self._load(clients, SECONDS, requests) for _ in range(rounds)]
            yield f'{name}_c{clients}_per_s', statistics.mean(rates), '1/s'

    def _load(self, clients: int, seconds: float, requests: list[Json]) -> float:
        """Answers of status 200 a second."""
        measured = bench_load.measure(self.site.address, clients, seconds, requests)
        self.statuses.update(measured['statuses'])
        return measured['statuses'].get('200', 0) / measured['seconds']

    def _fill(self) -> None:
        """A thousand plans, checkpoints of a hundred resources, and operation logs in the project that is read."""
        if self._filled:
            return
        provider, url = self.site.provider_id, self.site.database_url
        for path in ('/plans', f'/providers/{provider}/checkpoints', '/operation_logs'):
            assert self._ask('GET', path, project=self.site.reads)[1], f'{path} cannot be listed'
        small = self._post('/plans', bench_content.plan(provider, 2), self.site.reads)['plan']
        self._plan_ids = bench_content.multiply_plan(url, small['id'], LISTED - 2)
        large = self._post('/plans', bench_content.plan(provider, 100), self.site.reads)['plan']
        checkpoint = self._available(large['id'], self.site.reads)[2]
        bench_content.multiply_checkpoint(url, checkpoint, LISTED - 1)
        self._filled = True

    def _lists(self, size: int) -> Figures:
        if not self._multiplied:
            plan = self._post('/plans', bench_content.plan(self.site.provider_id, 2), self.site.reads)['plan']
            self._multiplied = plan['id'], self._available(plan['id'], self.site.reads)[2]
        yield from bench_lists.measure(self.site, size, *self._multiplied)

    # -- operations

    def _checkpoints(self, number: int) -> Figures:
        """The medians of the seconds from POST to `available`, and of the milliseconds of the POST alone."""
        plan = self._post('/plans', bench_content.plan(self.site.provider_id, number))['plan']
        posted, done = [], []
        for _ in range(RUNS[number]):
            post, whole, _ = self._available(plan['id'])
            posted.append(post * 1000)
            done.append(whole)
        self._took[number] = statistics.median(done)
        yield f'checkpoint_{number}_s', self._took[number], 's'
        for name in _post_name(number):
            yield name, statistics.median(posted), 'ms'
        if number == max(RUNS) and 'protection' in self.site.pids:
            yield f'rss_protection_{number}_mb', self.site.resident_mb()['protection'], 'MB'

    def _fit(self) -> Figures:
        """How well a line through the times of all sizes tells them, and its slope."""
        for number in RUNS.keys() - self._took.keys():
            for _ in self._checkpoints(number):
                pass
        sizes, seconds = zip(*self._took.items(), strict=True)
        yield 'checkpoint_fit_r2', statistics.correlation(sizes, seconds) ** 2, ''
        yield 'checkpoint_fit_ms_per_resource', 1000 * statistics.linear_regression(sizes, seconds).slope, 'ms'

    def _burst(self) -> Figures:
        """A hundred checkpoints of ten resources asked for at once: until all POSTs are answered, and all available."""
        plan = self._post('/plans', bench_content.plan(self.site.provider_id, 10))['plan']
        path = f'/providers/{self.site.provider_id}/checkpoints'
        request = self._request(self.site.writes, 'POST', path, {'checkpoint': {'plan_id': plan['id']}})
        began = time.perf_counter()
        with futures.ThreadPoolExecutor(BURST) as pool:
            replies = list(pool.map(self._once, [request] * BURST))
        posted = time.perf_counter() - began
        self.statuses.update(str(status) for status in replies)
        while self._ask('GET', f'{path}?plan_id={plan["id"]}&status=protecting&limit=1')[1]['checkpoints']:
            time.sleep(0.02)
        done = time.perf_counter() - began
        available = self._ask('GET', f'{path}?plan_id={plan["id"]}&status=available')[1]['checkpoints']
        if len(available) != BURST:
            raise RuntimeError(f'{len(available)} of {BURST} checkpoints are available')
        yield 'checkpoints_100x10_posted_s', posted, 's'
        yield 'checkpoints_100x10_done_s', done, 's'

    def _once(self, request: Json) -> int:
        """The status of the answer, over a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection(*self.site.address, timeout=60)) as connection:
            headers = request['headers'] | {'Content-Type': 'application/json'}
            connection.request(request['method'], request['path'], json.dumps(request['body']), headers)
            return connection.getresponse().status

    def _available(self, plan_id: str, project: Project | None = None) -> tuple[float, float, str]:
        """Seconds of the POST, seconds until the new checkpoint is available, and its id."""
        path = f'/providers/{self.site.provider_id}/checkpoints'
        began = time.perf_counter()
        made = self._post(path, {'checkpoint': {'plan_id': plan_id}}, project)['checkpoint']
        posted = time.perf_counter() - began
        # The list of one is the cheapest way to ask: the detail would hold the whole graph.
        latest = f'{path}?plan_id={plan_id}&limit=1'
        while (seen := self._ask('GET', latest, project=project)[1]['checkpoints'][0])['status'] != 'available':
            if seen['status'] != 'protecting' or time.perf_counter() - began > 60:
                raise RuntimeError(f'the checkpoint is {seen["status"]}')
            time.sleep(max(0.002, (time.perf_counter() - began) / 50))
        assert seen['id'] == made['id']
        return posted, time.perf_counter() - began, made['id']

    def _engine(self) -> Figures:
        """What one process does without HTTP and broker."""
        with self.site.empty_database() as url:
            measured = bench_engine.measure(self.site.folder / 'engine', url, ENGINE_RESOURCES)
        yield 'resources_per_s', ENGINE_RESOURCES / measured['seconds'], '1/s'
        yield 'sql_statements_per_resource', measured['statements'] / ENGINE_RESOURCES, 'statements'
        yield 'sql_commits_per_resource', measured['commits'] / ENGINE_RESOURCES, 'commits'
        if self.wanted('flow_build_10000_s'):
            with self.site.empty_database() as url:
                measured = bench_engine.measure(self.site.folder / 'large', url, max(RUNS))
            yield 'flow_build_10000_s', measured['flow_build'], 's'

    # -- single requests

    def _request(self, project: Project, method: str, path: str, body: Any = None) -> Json:
        headers = {'Accept': 'application/json', **project.headers}
        return {'method': method, 'path': f'/v1/{project.id}{path}', 'headers': headers, 'body': body}

    def _post(self, path: str, body: Json, project: Project | None = None) -> Json:
        status, reply = self._ask('POST', path, body, project)
        if status != 200:
            raise RuntimeError(f'POST {path}: {status} {reply}')
        return reply

    def _ask(self, method: str, path: str, body: Any = None, project: Project | None = None) -> tuple[int, Any]:
        """Status and body of the answer to one request, over the connection that is kept for such."""
        told = self._request(project or self.site.writes, method, path, body)
        headers = told['headers'] | {'Content-Type': 'application/json'}
        self._connection.request(method, told['path'], json.dumps(body) if body else None, headers)
        reply = self._connection.getresponse()
        content = reply.read()
        self.statuses[str(reply.status)] += 1
        return reply.status, json.loads(content or 'null')


def _rates(name: str) -> list[str]:
    return [f'{name}_c{clients}_per_s' for clients in ROUNDS]


def _post_name(number: int) -> list[str]:
    """The POST alone is told of the smallest checkpoint and of a large one."""
    return [f'post_checkpoint_{number}_ms'] if number in (1, 1000) else []


def _machine() -> str:
    """Processor, number of processors, memory, kernel and Python."""
    lines = Path('/proc/cpuinfo').read_text().splitlines()
    model = next((line.split(': ')[1] for line in lines if line.startswith('model name')), platform.machine())
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    system = f'{platform.system()} {platform.release()}, Python {platform.python_version()}'
    return f'{model}, {os.cpu_count()} processors, {memory:.0f} GiB, {system}'


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _measure(database: str, folder: Path, prefix: str, machine: str) -> None:
    absent = bench_service.missing(database)
    if absent:
        _say(f'{database}: left out, {absent} does not answer')
        return
    about = {'database': database, 'transport': 'local' if database == 'sqlite' else 'rabbit', 'machine': machine}
    with bench_service.site(database, folder / database) as site:
        _print(Bench(site, lambda name: name.startswith(prefix)).figures(), about)
    if database != 'sqlite' and 'overhead_p95_s'.startswith(prefix):
        _say(f'{database}: overhead_p95_s')
        _print(bench_cloud.overhead(database, folder / f'{database}-slow'), about)


def _print(figures: Figures, about: Json) -> None:
    for name, value, unit in figures:
        when = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
        print(json.dumps({'name': name, 'value': _rounded(value), 'unit': unit, 'when': when, **about}), flush=True)


def _rounded(value: float) -> float:
    """Four significant digits."""
    return float(f'{value:.4g}')


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--only', metavar='PREFIX', default='', help='figures whose name begins so')
    parser.add_argument(
        '--database',
        action='append',
        choices=['sqlite', 'mariadb', 'postgresql'],
        help='where to measure; may be repeated; default: sqlite and mariadb',
    )
    told = parser.parse_args()
    machine = _machine()
    with tempfile.TemporaryDirectory(prefix='karbor-bench-', ignore_cleanup_errors=True) as folder:
        for database in told.database or ['sqlite', 'mariadb']:
            with contextlib.suppress(KeyboardInterrupt):
                _measure(database, Path(folder), told.only, machine)
    if not told.database and any(name.startswith(told.only) for name in bench_takeover.NAMES):
        _say('takeover')
        for figure in bench_takeover.measure():
            if figure['name'].startswith(told.only):
                print(json.dumps(figure | {'machine': machine}), flush=True)


if __name__ == '__main__':
    main()
