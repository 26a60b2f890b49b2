# SPDX-License-Identifier: Apache-2.0
"""What a project may have, counted from the rows themselves under a lock, so that it cannot drift.

The lock is the row of project and resource in `quota_usages`; it is held until the caller's
transaction ends, which inserts what was reserved.
"""

from typing import Any

import sqlalchemy as sa
from oslo_config import cfg
from oslo_utils import timeutils
from sqlalchemy import orm
from sqlalchemy.dialects import mysql, postgresql, sqlite

from karbor import exception
from karbor.db import engine, models
from karbor.statuses import CheckpointStatus

CONF = cfg.CONF
UNLIMITED = -1
USAGE = models.QuotaUsage

# resource -> its table, and which rows count
_COUNTED: dict[str, tuple[Any, Any]] = {
    'plans': (models.Plan, models.Plan.deleted == sa.false()),
    'checkpoints': (
        models.CheckpointRecord,
        sa.and_(
            models.CheckpointRecord.deleted == sa.false(),
            models.CheckpointRecord.checkpoint_status != CheckpointStatus.DELETED,
        ),
    ),
}


def limit(resource: str, project_id: str) -> int:
    """How many of ``resource`` (`plans`, `checkpoints`) the project may have; -1 is no limit."""
    return CONF[f'quota_{resource}']


def in_use(resource: str, project_id: str) -> int:
    """How many of ``resource`` the project has."""
    model, counts = _COUNTED[resource]
    query = sa.select(sa.func.count()).select_from(model).where(model.project_id == project_id, counts)
    if _is_mysql():
        # A repeatable read would count what was there when the transaction began, before the lock.
        query = query.with_for_update(read=True)
    with engine.reading() as session:
        return session.scalar(query) or 0


def reserve(resource: str, project_id: str) -> None:
    """Make sure that the project may have one more. Call it within the `engine.writing` block that inserts it,
    which has to be `engine.repeated`. Raises OverQuota.
    """
    allowed = limit(resource, project_id)
    if allowed == UNLIMITED:
        return
    with engine.writing() as session:
        _lock(session, resource, project_id)
        used = in_use(resource, project_id)
    if used >= allowed:
        raise exception.OverQuota(in_use=used, limit=allowed, resource=resource)


def _lock(session: orm.Session, resource: str, project_id: str) -> None:
    query = sa.select(USAGE.id).where(USAGE.project_id == project_id, USAGE.resource == resource).with_for_update()
    if session.scalar(query) is None:
        session.execute(_insert_if_missing(resource, project_id))
        session.scalar(query)


def _insert_if_missing(resource: str, project_id: str) -> Any:
    now = timeutils.utcnow()
    row = {'project_id': project_id, 'resource': resource, 'created_at': now, 'deleted': False}
    row |= {'in_use': 0, 'reserved': 0}
    if _is_mysql():
        return mysql.insert(USAGE).values(**row).on_duplicate_key_update(resource=resource)
    insert = sqlite.insert if engine.engine().dialect.name == 'sqlite' else postgresql.insert
    return insert(USAGE).values(**row).on_conflict_do_nothing(index_elements=['project_id', 'resource'])


def _is_mysql() -> bool:
    return engine.engine().dialect.name in ('mysql', 'mariadb')
