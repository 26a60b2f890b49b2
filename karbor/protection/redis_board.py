# SPDX-License-Identifier: Apache-2.0
"""TaskFlow's `redis` job board, made to keep its promises here.

Redis carries the jobs and spares the database the looking; what an operation is and who owns it
is in its row. So nothing is lost with Redis but time: claims there run out by themselves, and a
reaper posts every open operation that has no job.
"""

import collections
import copy
import datetime
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from oslo_config import cfg
from oslo_log import log
from redis import backoff, retry
from redis import exceptions as redis_exceptions
from taskflow import exceptions as taskflow_exceptions
from taskflow import states
from taskflow.jobs import base
from taskflow.jobs.backends import impl_redis

from karbor import exception
from karbor.db import engine, repository
from karbor.protection.board import ANYONE, OPERATION, ROW, WINDOW, Claims, now, translated

CONF = cfg.CONF
LOG = log.getLogger(__name__)
REAP_SECONDS = 3.0  # between two looks of all workers together for operations without a job
CANCEL_SECONDS = 0.4  # between two looks of a worker for operations to be cancelled, while there are any at all

# TaskFlow extends a claim whoever holds it. One that Redis has lost is made again, unless the job is gone.
_EXTEND = """
local owner = redis.call("get", KEYS[1])
if owner == ARGV[1] then
    return redis.call("pexpire", KEYS[1], ARGV[2])
elseif not owner and redis.call("hexists", KEYS[2], ARGV[3]) == 1 then
    redis.call("set", KEYS[1], ARGV[1], "px", ARGV[2])
    return 1
end
return 0
"""


class RedisJob(impl_redis.RedisJob):
    """A posted operation that nobody has claimed. Its details are what a worker chooses by."""

    epoch = 0
    left_by = ANYONE
    cancel_requested = False

    @property
    def state(self) -> str:
        return states.UNCLAIMED  # only such ones are fetched; the claim itself tells

    @property
    def place(self) -> tuple[Any, ...]:
        """Sorts cancelled ones first, then by priority, then the oldest."""
        return not self.cancel_requested, -self.details['priority'], self.sequence, self.uuid

    def is_for(self, host: str, providers: Collection[str]) -> bool:
        bound = self.details['host']
        return bound == host or (not bound and self.details['provider_id'] in providers)


class RedisJobBoard(Claims, impl_redis.RedisJobBoard):
    """The jobs in Redis of the operations of ``providers``."""

    SCRIPT_TEMPLATES = impl_redis.RedisJobBoard.SCRIPT_TEMPLATES | {'extend': _EXTEND}

    def __init__(
        self,
        name: str,
        conf: Any,
        client: Any = None,
        persistence: Any = None,
        providers: Callable[[], Collection[str]] = tuple,
        cancel: Callable[[Collection[str]], None] = lambda ids: None,
    ) -> None:
        impl_redis.RedisJobBoard.__init__(self, name, conf, client=client)
        Claims.__init__(self, providers, cancel)
        self._to_post: collections.deque[str] = collections.deque()
        self._known: dict[bytes, tuple[bytes, RedisJob]] = {}
        self._due: dict[str, float] = {}

    @classmethod
    def _make_client(cls, conf: Any) -> Any:
        client = super()._make_client(conf)
        client.set_retry(retry.Retry(backoff.NoBackoff(), 1))  # the conductor looks again by itself, and soon
        return client

    def connect(self) -> None:
        """Raises JobBoardAway, and may be called again."""
        try:
            super().connect()
        except taskflow_exceptions.TaskFlowException as fault:
            raise exception.JobBoardAway(reason=fault.__cause__ or fault) from fault
        self.leases.start()

    def close(self) -> None:
        if self.connected:  # not when TaskFlow closes before it connects
            self.leases.stop()
        super().close()

    def post(self, name: str, book: Any = None, details: Any = None, priority: Any = None) -> None:
        """Post the operation ``name`` at the next look: whoever accepts it does not wait for Redis."""
        self._to_post.append(name)

    @translated
    @base.check_who
    def claim(self, job: RedisJob, who: str) -> None:
        """Claim the job in Redis until the lease is over, then the operation in its row.

        Raises UnclaimableJob, and NotFound for a job whose operation has ended.
        """
        super().claim(job, who, expiry=self.leases.seconds)
        is_mine = False
        try:
            row = next(iter(repository.find(OPERATION, ['epoch', 'owner'], {'id': job.uuid, 'ended_at': None})), None)
            if row is None:
                super().consume(job, who)
                raise taskflow_exceptions.NotFound(f'operation {job.uuid} has ended')
            job.epoch, job.left_by = row.epoch, row.owner
            self._take(job, who)
            is_mine = True
        finally:
            if not is_mine:
                self._let_go(super().abandon, job, who)

    @translated
    @base.check_who
    def consume(self, job: RedisJob, who: str) -> None:
        """The operation has ended: its row says so already. A job that Redis has lost need not be taken off."""
        self.leases.drop(job.uuid, job.epoch)
        self._let_go(super().consume, job, who)

    @translated
    @base.check_who
    def abandon(self, job: RedisJob, who: str) -> None:
        self._give_back(job, who)
        self._let_go(super().abandon, job, who)

    def trash(self, job: Any, who: str) -> None:
        """Nothing is thrown away: what cannot be begun is given back."""
        self.abandon(job, who)

    # -- how

    @staticmethod
    def _let_go(call: Callable[..., None], job: RedisJob, who: str) -> None:
        try:
            call(job, who)
        except (taskflow_exceptions.NotFound, taskflow_exceptions.JobFailure) as fault:
            # The row is what counts. The claim in Redis runs out by itself, and a job of what has ended is taken off
            # by whoever claims it next.
            LOG.debug('The claim of operation %s in Redis is left to run out: %s', job.uuid, fault)

    @translated
    def _fetch(self) -> list[RedisJob]:
        with _redis_faults():
            self._post_accepted()
            if self._is_due('reap', REAP_SECONDS / 2) and self._is_first():
                self._reap()
            if self._is_due('extend', self.leases.seconds / 3):
                self._extend()
            jobs = self._posted()
            owners = self._client.mget([job.owner_key for job in jobs]) if jobs else []
        if (jobs or self.leases.held()) and self._is_due('cancel', CANCEL_SECONDS):
            self._look_for_cancelled()
        free = [job for job, owner in zip(jobs, owners, strict=True) if owner is None]
        running = collections.Counter(
            job.details['project_id'] for job, owner in zip(jobs, owners, strict=True) if owner is not None
        )
        return self._chosen(free, running)

    def _chosen(self, free: list[RedisJob], running: Mapping[str, int]) -> list[RedisJob]:
        """The first of ``free`` that this process may claim, without those of projects at their limit."""
        limit, taken = CONF.max_concurrent_operations_per_project, collections.Counter(running)
        chosen, providers = [], set(self.providers())
        for job in sorted(free, key=lambda job: job.place):
            if not job.is_for(CONF.host, providers):
                continue
            if not job.cancel_requested:
                project = job.details['project_id']
                if limit and taken[project] >= limit:
                    continue
                taken[project] += 1
            chosen.append(copy.copy(job))  # each claim has an epoch of its own
            if len(chosen) == WINDOW:
                break
        return chosen

    def _is_due(self, what: str, seconds: float) -> bool:
        at = time.monotonic()
        if at < self._due.get(what, 0.0):
            return False
        self._due[what] = at + seconds
        return True

    def _is_first(self) -> bool:
        """Whether no other worker has looked for operations without a job in the last seconds."""
        return bool(self._client.set(self.join('reaped'), CONF.host, nx=True, px=int(REAP_SECONDS * 1000)))

    def _posted(self) -> list[RedisJob]:
        listed = self._client.hgetall(self.listings_key)
        known = {}
        for key, raw in listed.items():
            kept = self._known.get(key)
            job = kept[1] if kept and kept[0] == raw else self._read(key, raw)
            if job is not None:
                known[key] = (raw, job)
        self._known = known
        return [job for _, job in known.values()]

    def _read(self, key: bytes, raw: bytes) -> RedisJob | None:
        """The job; one that cannot be read is taken off, and posted anew by the reaper."""
        try:
            told = self._loads(raw)
            details = {name: told['details'][name] for name in ('project_id', 'provider_id', 'host', 'priority')}
            return RedisJob(
                self, told['name'], told['sequence'], key, told['uuid'], details=details, created_on=told['created_on']
            )
        except (taskflow_exceptions.JobFailure, KeyError, TypeError) as fault:
            LOG.warning('What Redis has as job %s cannot be read, and is taken off: %r', key, fault)
            self._client.hdel(self.listings_key, key)
            return None

    def _post_accepted(self) -> None:
        accepted = []
        while self._to_post:
            accepted.append(self._to_post.popleft())
        if accepted:  # what cannot be posted now is posted by the reaper
            self._put(self._open(ROW.id.in_(accepted)), {})

    def _reap(self) -> None:
        """Post every open operation that has no job."""
        rows = self._open()
        if rows:
            self._put(rows, self._client.hgetall(self.listings_key))

    @staticmethod
    def _open(*conditions: Any) -> list[Any]:
        columns = ('id', 'project_id', 'provider_id', 'priority', 'created_at', 'resumable', 'owner')
        is_late = sa.case((ROW.expires_at < now(), 1), else_=0).label('is_late')
        query = sa.select(*(ROW[name] for name in columns), is_late)
        with engine.reading() as session:
            wanted = query.where(ROW.ended_at.is_(None), ROW.owner.is_not(None), *conditions)
            return list(session.execute(wanted))

    def _put(self, rows: Collection[Any], listed: Mapping[bytes, bytes]) -> None:
        pipe = self._client.pipeline(transaction=False)
        for row in rows:
            key = row.id.encode()
            if row.resumable and key in listed:
                continue
            posting = self._posting(row)  # one for a host says whether that lives
            if listed.get(key) != posting:
                pipe.hset(self.listings_key, key, posting)
        if len(pipe):
            pipe.execute()

    def _posting(self, row: Any) -> bytes:
        # One that is not resumable is for its host alone, as long as that lives.
        host = row.owner.partition('/')[0] if not row.resumable and not row.is_late else ANYONE
        details = {n: getattr(row, n) for n in ('project_id', 'provider_id', 'priority')} | {'host': host}
        posting = base.format_posting(row.id, row.id, created_on=row.created_at, details=details)
        # Its place in the order, the same when it is posted again.
        posting['sequence'] = int(row.created_at.replace(tzinfo=datetime.UTC).timestamp() * 1_000_000)
        return self._dumps(posting)

    def _extend(self) -> None:
        """Keep the claims of what is held: the lease itself is kept in the rows, by its heartbeat."""
        script, pipe = self._get_script('extend'), self._client.pipeline(transaction=False)
        for operation_id in self.leases.held():
            key = operation_id.encode()
            owner_key = self.join(key + self.OWNED_POSTFIX)
            milliseconds = int(self.leases.seconds * 1000)
            script(keys=[owner_key, self.listings_key], args=[self.worker, milliseconds, key], client=pipe)
        if len(pipe):
            pipe.execute()

    def _look_for_cancelled(self) -> None:
        wanted = {'ended_at': None, 'cancel_requested': True, 'owner': repository.Not(None)}
        rows = repository.find(OPERATION, ['id', 'owner'], wanted)
        ids = {row.id for row in rows}
        for _, job in self._known.values():
            job.cancel_requested = job.uuid in ids
        mine = [row.id for row in rows if row.owner == self.worker]
        if mine:
            self.cancel(mine)


@contextmanager
def _redis_faults() -> Iterator[None]:
    try:
        yield
    except redis_exceptions.RedisError as fault:
        raise taskflow_exceptions.JobFailure(f'redis: {type(fault).__name__}') from fault
