# SPDX-License-Identifier: Apache-2.0
"""The `sql` job board of TaskFlow: an operation's row is the job, so nothing can get lost between them."""

import functools
from collections.abc import Callable, Collection
from typing import Any

import sqlalchemy as sa
from oslo_config import cfg
from taskflow import states
from taskflow.jobs import base

from karbor.db import engine, repository
from karbor.protection.board import OPERATION, ROW, TABLE, WINDOW, Claims, is_running, translated

CONF = cfg.CONF


class SqlJob(base.Job):
    """An operation that can be claimed."""

    def __init__(self, board: 'SqlJobBoard', row: Any) -> None:
        super().__init__(board, row.id, uuid=row.id, details={'operation_id': row.id})
        self.epoch: int = row.epoch
        self.left_by: str = row.owner
        self.cancel_requested: bool = row.cancel_requested
        self._created_on = row.created_at

    @property
    def state(self) -> str:
        return states.UNCLAIMED  # only claimable ones are fetched; the claim itself tells

    @property
    def priority(self) -> Any:
        return base.JobPriority.NORMAL

    @property
    def created_on(self) -> Any:
        return self._created_on

    @property
    def last_modified(self) -> Any:
        return self._created_on


class SqlJobBoard(Claims, base.JobBoard):
    """The open operations of ``providers``, as their rows tell."""

    def __init__(
        self,
        name: str,
        conf: Any,
        persistence: Any = None,
        providers: Callable[[], Collection[str]] = tuple,
        cancel: Callable[[Collection[str]], None] = lambda ids: None,
    ) -> None:
        base.JobBoard.__init__(self, name, conf)
        Claims.__init__(self, providers, cancel)
        self._is_connected = False

    @property
    def connected(self) -> bool:
        return self._is_connected

    def connect(self) -> None:
        self._is_connected = True
        self.leases.start()

    def close(self) -> None:
        self.leases.stop()
        self._is_connected = False

    @property
    def job_count(self) -> int:
        with engine.reading() as session:
            return session.scalar(sa.select(sa.func.count()).select_from(TABLE).where(self._claimable())) or 0

    def find_owner(self, job: Any) -> str | None:
        row = next(iter(repository.find(OPERATION, ['owner'], {'id': job.uuid, 'ended_at': None})), None)
        return row.owner if row else None

    def post(self, name: str, book: Any = None, details: Any = None, priority: Any = None) -> None:
        """The operation ``name`` was posted by the transaction that accepted it."""

    @translated
    @base.check_who
    def claim(self, job: SqlJob, who: str) -> None:
        self._take(job, who)

    @translated
    @base.check_who
    def consume(self, job: SqlJob, who: str) -> None:
        """The operation has ended: its row says so already."""
        self.leases.drop(job.uuid, job.epoch)

    @translated
    @base.check_who
    def abandon(self, job: SqlJob, who: str) -> None:
        self._give_back(job, who)

    def trash(self, job: Any, who: str) -> None:
        """Nothing is thrown away: what cannot be begun is given back."""
        self.abandon(job, who)

    # -- how

    @translated
    def _fetch(self) -> list[SqlJob]:
        """One statement for what can be claimed and for what is to be cancelled here."""
        held = self.leases.held()
        with engine.reading() as session:
            limit = CONF.max_concurrent_operations_per_project
            wanted = self._statement(f'wanted, {limit} a project', functools.partial(self._wanted, limit))
            rows = session.execute(wanted, {'most': WINDOW + len(held)}).all()
        cancelled = [row.id for row in rows if row.mine]
        if cancelled:
            self.cancel(cancelled)
        return [SqlJob(self, row) for row in rows if not row.mine]

    def _wanted(self, limit: int) -> Any:
        names = ('id', 'owner', 'epoch', 'priority', 'created_at', 'cancel_requested')
        columns = [ROW[name] for name in names]
        can = _number(self._claimable())
        mine = sa.and_(ROW.owner == self.worker, ROW.cancel_requested == sa.true(), is_running())
        rows = sa.select(*columns, can.label('can'), _number(mine).label('mine'))
        if limit:
            waits = sa.case((ROW.cancel_requested == sa.true(), 0), else_=can)
            order = (ROW.priority.desc(), ROW.created_at, ROW.id)
            place = sa.func.row_number().over(partition_by=(ROW.project_id, waits), order_by=order)
            runs = sa.func.sum(_number(is_running())).over(partition_by=ROW.project_id)
            rows = rows.add_columns(place.label('place'), runs.label('runs'))
        found = rows.where(ROW.ended_at.is_(None), ROW.owner.is_not(None)).subquery()
        wanted = found.c.can == 1
        if limit:
            wanted = sa.and_(wanted, sa.or_(found.c.cancel_requested, found.c.place + found.c.runs <= limit))
        query = sa.select(found).where(sa.or_(wanted, found.c.mine == 1))
        first = (found.c.cancel_requested.desc(), found.c.priority.desc(), found.c.created_at, found.c.id)
        return query.order_by(*first).limit(sa.bindparam('most', type_=sa.Integer))


def _number(condition: Any) -> Any:
    return sa.case((condition, 1), else_=0)
