# SPDX-License-Identifier: Apache-2.0
"""Who owns an operation: its row says so, whatever board carries the jobs.

A claim is a lease on the row: owner, and expiry by the database's clock. It is a compare-and-swap
that raises the operation's epoch, which fences off every earlier owner. What ran out may be
claimed by anyone. ``owner`` is

* empty for an operation that any worker may begin or go on with,
* the name of a host for one that only this host can do, since the caller's token is in its memory;
  the host keeps the row alive, and when it is gone the others end the operation with a reason,
* the name of a worker, new in each incarnation, while it runs; it has a slash, which no host has,
* NULL for an operation of Karbor 1.6, which nobody may claim.
"""

import functools
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from oslo_config import cfg
from oslo_db import exception as db_exception
from oslo_log import log
from taskflow import exceptions as taskflow_exceptions
from taskflow.jobs import backends, base

from karbor import exception
from karbor.db import engine, models, repository
from karbor.protection.lease import Claim, Leases

CONF = cfg.CONF
LOG = log.getLogger(__name__)
OPERATION = models.OperationLog
TABLE = repository.table_of(OPERATION)
ROW = TABLE.c
ANYONE = ''
WINDOW = 16  # jobs that are looked at in one round

Result = TypeVar('Result')

_NOW = {
    'sqlite': "((julianday('now') - 2440587.5) * 86400.0)",
    'mysql': 'UNIX_TIMESTAMP(NOW(6))',
    'mariadb': 'UNIX_TIMESTAMP(NOW(6))',
    'postgresql': 'EXTRACT(EPOCH FROM clock_timestamp())',
}


def now() -> sa.ColumnElement[float]:
    """The database's clock, in seconds since 1970: the one clock that leases are compared by."""
    return sa.literal_column(_NOW[engine.engine().dialect.name], sa.Double)


def posted(resumable: bool) -> dict[str, Any]:
    """``resumable``, ``owner`` and ``expires_at`` of an operation that is accepted here."""
    if resumable:
        return {'resumable': True, 'owner': ANYONE, 'expires_at': 0.0}
    return {'resumable': False, 'owner': CONF.host, 'expires_at': time.time() + CONF.protection.lease_seconds}


def worker_name() -> str:
    """A name for one incarnation of a worker of this host: a claim of the one before is somebody else's."""
    return f'{CONF.host}/{os.getpid()}/{uuid.uuid4().hex[:8]}'


def is_running() -> sa.ColumnElement[bool]:
    """The operation is open, and a worker holds it whose lease has not run out."""
    return sa.and_(ROW.ended_at.is_(None), ROW.owner.like('%/%'), ROW.expires_at >= now())


class Job(Protocol):
    """What the conductor needs of a job; ``epoch`` is that of the claim, once it is claimed, and ``left_by`` the owner
    before it.
    """

    uuid: str
    epoch: int
    left_by: str
    cancel_requested: bool


def fetch(**named: Any) -> Any:
    """The board that `[protection] jobboard` names. Raises ConfigurationError if it cannot be loaded."""
    options = CONF.protection
    told: dict[str, Any] = {'board': options.jobboard}
    if options.jobboard == 'redis':
        told['board'] = 'karbor_redis'  # TaskFlow has one of the plain name
        found = {name: options[f'redis_{name}'] for name in _REDIS}
        told |= {name: value for name, value in found.items() if value not in (None, [])}
    try:
        return backends.fetch('karbor', told, **named)
    except (taskflow_exceptions.NotFound, ImportError) as missing:
        reason = f'the job board {options.jobboard} cannot be loaded ({missing})'
        raise exception.ConfigurationError(reason=reason) from missing


_REDIS = (
    *('host', 'port', 'username', 'password', 'db', 'namespace', 'socket_timeout', 'sentinel', 'sentinel_fallbacks'),
    *('ssl', 'ssl_ca_certs', 'ssl_certfile', 'ssl_keyfile'),
)


def translated(call: Callable[..., Result]) -> Callable[..., Result]:
    """The conductor's loop survives a JobFailure, and nothing else."""

    @functools.wraps(call)
    def taken(*arguments: Any, **named: Any) -> Result:
        try:
            return call(*arguments, **named)
        except (db_exception.DBError, *engine.PASSING_FAULTS) as fault:
            raise taskflow_exceptions.JobFailure(f'database: {type(fault).__name__}') from fault

    return taken


class Claims:
    """What the boards share: claims in rows, of the operations of ``providers``, those that this process has loaded.

    ``cancel`` is called with the operations held here whose cancellation somebody has asked for, within a second and
    until they are given back.
    """

    def __init__(
        self,
        providers: Callable[[], Collection[str]] = tuple,
        cancel: Callable[[Collection[str]], None] = lambda ids: None,
    ) -> None:
        self.providers, self.cancel = providers, cancel
        self.worker: str | None = None
        self.leases = Leases(CONF.protection.lease_seconds, self._renew)
        self._is_away = False
        self._statements: dict[str, tuple[Any, Any]] = {}

    # -- what TaskFlow's conductor calls

    def register_entity(self, entity: Any) -> None:
        """Workers are known by their claims."""

    def iterjobs(self, only_unclaimed: bool = False, ensure_fresh: bool = False) -> Iterator[Any]:
        """Those that can be claimed here: cancelled ones first, then by priority, then the oldest.

        A project at its limit is left out. There are none while the board is away.
        """
        return base.JobBoardIterator(self, LOG, board_fetch_func=self._seen)

    def wait(self, timeout: float | None = None) -> Iterator[Any]:
        """The jobs that there are now: the conductor looks again by itself."""
        return self.iterjobs()

    # -- how

    def _fetch(self) -> list[Any]:
        raise NotImplementedError

    def _seen(self, ensure_fresh: bool = False) -> list[Any]:
        try:
            found = self._fetch()
        except taskflow_exceptions.JobFailure as fault:
            if not self._is_away:
                LOG.error('The job board cannot be read, trying again: %s', fault)
            self._is_away = True
            return []
        if self._is_away:
            LOG.warning('The job board can be read again.')
        self._is_away = False
        return found

    def _statement(self, name: str, build: Callable[[], Any]) -> Any:
        """What ``build`` makes, kept as long as nothing changes that goes into it: to build a statement takes longer
        than the database needs for it.
        """
        state = (engine.engine().dialect.name, *self.providers()), self.worker, CONF.host
        known, made = self._statements.get(name, (None, None))
        if known != state:
            made = build()
            self._statements[name] = state, made
        return made

    def _claimable(self) -> Any:
        return sa.and_(
            ROW.ended_at.is_(None),
            ROW.owner.is_not(None),
            # What was posted here for a provider that is gone since has to be ended here.
            sa.or_(ROW.provider_id.in_(list(self.providers())), ROW.owner == CONF.host),
            sa.or_(ROW.expires_at.is_(None), ROW.expires_at < now(), ROW.owner == CONF.host),
        )

    def _take(self, job: Any, who: str) -> None:
        """Make ``who`` the owner and raise the epoch, if it is that of ``job``. Raises UnclaimableJob."""
        asked_at = time.monotonic()
        claim = self._statement('claim', self._claim)
        if not self._swap(claim, job_id=job.uuid, seen=job.epoch, who=who, seconds=self.leases.seconds):
            raise taskflow_exceptions.UnclaimableJob(f'operation {job.uuid} is claimed by somebody else')
        is_left = job.left_by not in (ANYONE, CONF.host)
        if is_left or job.epoch:
            how = f'{job.left_by} left' if is_left else 'was given back'
            LOG.info('Operation %s, which %s, is taken over by %s.', job.uuid, how, who)
        job.epoch += 1
        self.worker = who
        self.leases.hold(job.uuid, job.epoch, asked_at)

    def _claim(self) -> Any:
        wanted = (ROW.id == sa.bindparam('job_id'), ROW.epoch == sa.bindparam('seen'), self._claimable())
        until = now() + sa.bindparam('seconds', type_=sa.Double)
        return sa.update(TABLE).where(*wanted).values(owner=sa.bindparam('who'), epoch=ROW.epoch + 1, expires_at=until)

    def _give_back(self, job: Any, who: str) -> None:
        """To whoever can go on with it."""
        self.leases.drop(job.uuid, job.epoch)
        mine = (ROW.id == job.uuid, ROW.epoch == job.epoch, ROW.owner == who)
        owner = sa.case((ROW.resumable == sa.true(), ANYONE), else_=CONF.host)
        until = sa.case((ROW.resumable == sa.true(), 0.0), else_=now() + self.leases.seconds)
        given_back = sa.update(TABLE).where(*mine, ROW.ended_at.is_(None))
        self._swap(given_back.values(expires_at=until, owner=owner))

    @staticmethod
    @engine.repeated
    def _swap(update: Any, **parameters: Any) -> bool:
        with engine.writing() as session:
            return repository.matched(session, update, **parameters) == 1

    @engine.repeated
    def _renew(self, held: Collection[Claim]) -> Collection[Claim]:
        """Those of ``held`` whose lease is longer now; what waits for this host is kept for it, too."""
        until = {'expires_at': now() + self.leases.seconds}
        ids = [operation_id for operation_id, _ in held]
        mine = sa.and_(ROW.owner == self.worker, ROW.id.in_(ids), ROW.expires_at >= now())
        with engine.writing() as session:
            waiting = sa.and_(ROW.ended_at.is_(None), ROW.owner == CONF.host)
            repository.matched(session, sa.update(TABLE).where(waiting).values(**until))
            if not held:
                return ()
            repository.matched(session, sa.update(TABLE).where(mine, ROW.ended_at.is_(None)).values(**until))
            rows = session.execute(sa.select(ROW.id, ROW.epoch).where(mine))
            return {(row.id, row.epoch) for row in rows}
