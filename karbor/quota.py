# SPDX-License-Identifier: Apache-2.0
"""What a project may have, and has: the one place of the rule.

A limit is the project's own, else that of the quota class `default`, else the option `quota_<resource>`; -1 is no
limit. What a project has is counted from the rows themselves under a lock, so that it cannot drift: a create that
fails takes nothing. The lock is the row of project and resource in `quota_usages`; it is held until the caller's
transaction ends, which inserts what was reserved.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from oslo_config import cfg
from oslo_utils import timeutils
from sqlalchemy import orm

from karbor import exception
from karbor.db import engine, models, repository
from karbor.statuses import CheckpointStatus

CONF = cfg.CONF
UNLIMITED = -1
HIGHEST = 2**31 - 1
DEFAULT_CLASS = 'default'
OWN, CLASS, USAGE = models.Quota, models.QuotaClass, models.QuotaUsage

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
RESOURCES = tuple(_COUNTED)


def _stored(model: Any, key: str, rank: int) -> Any:
    """The limits in rows with this key, which is given at execution; a higher ``rank`` prevails."""
    wanted = sa.select(model.resource, model.hard_limit, sa.literal(rank).label('rank'))
    return wanted.where(
        getattr(model, key) == sa.bindparam(key), model.deleted == sa.false(), model.hard_limit.is_not(None)
    )


# Built once: building costs more than the answer, and every create asks.
_OF_CLASS = _stored(CLASS, 'class_name', 0)
_OF_PROJECT = sa.union_all(_OF_CLASS, _stored(OWN, 'project_id', 1)).order_by('rank')
_LOCK = sa.select(USAGE.id).where(USAGE.project_id == sa.bindparam('project_id'))
_LOCK = _LOCK.where(USAGE.resource == sa.bindparam('resource')).with_for_update()
_ROWS = {
    resource: sa.select(sa.literal(1)).select_from(model).where(model.project_id == sa.bindparam('project_id'), counts)
    for resource, (model, counts) in _COUNTED.items()
}
_FOLLOWING = {resource: query.offset(sa.bindparam('passed')).limit(1) for resource, query in _ROWS.items()}


def limits(project_id: str) -> dict[str, int]:
    """How many of each resource the project may have."""
    return _limits(_OF_PROJECT, project_id=project_id, class_name=DEFAULT_CLASS)


def class_limits(name: str) -> dict[str, int]:
    """The limits of a quota class. Those of `default` are what a project without limits of its own may have; no
    project is in another class, as in Karbor 1.6.
    """
    return _limits(_OF_CLASS, class_name=name)


def _limits(query: Any, **keys: str) -> dict[str, int]:
    with engine.reading() as session:
        found = session.execute(query, keys).all()
    stored = {row.resource: row.hard_limit for row in found}
    return {name: stored.get(name, CONF[f'quota_{name}']) for name in RESOURCES}


def set_limits(project_id: str, wanted: Mapping[str, int]) -> None:
    """Give the project limits of its own. What it has beyond a lower one stays."""
    _put(OWN, {'project_id': project_id}, wanted)


def set_class_limits(name: str, wanted: Mapping[str, int]) -> None:
    """Give the quota class these limits."""
    _put(CLASS, {'class_name': name}, wanted)


@engine.repeated
def _put(model: Any, key: Mapping[str, str], wanted: Mapping[str, int]) -> None:
    with engine.writing():
        for resource in RESOURCES:  # in one order: whoever sets the same ones at the same time waits, and no more
            if resource in wanted:
                repository.put(model, {**key, 'resource': resource}, {'hard_limit': wanted[resource]})


@engine.repeated
def remove_limits(project_id: str) -> None:
    """From now on the project may have what every project may."""
    repository.update_all(OWN, {'deleted': True, 'deleted_at': timeutils.utcnow()}, project_id=project_id)


def in_use(resource: str, project_id: str) -> int:
    """How many of ``resource`` (`plans`, `checkpoints`) the project has."""
    query = sa.select(sa.func.count()).select_from(_ROWS[resource].subquery())
    with engine.reading() as session:
        return session.scalar(query, {'project_id': project_id}) or 0


def reserve(resource: str, project_id: str) -> None:
    """Make sure that the project may have one more. Call it within the `engine.writing` block that inserts it,
    which has to be `engine.repeated`. Raises OverQuota.

    The limit is the one at the beginning: one that is lowered while somebody waits for the lock holds for who comes
    then.
    """
    allowed = limits(project_id)[resource]
    if allowed == UNLIMITED:
        return
    with engine.writing() as session:
        _lock(session, resource, project_id)
        if _has(session, resource, project_id, allowed):
            used = max(allowed, in_use(resource, project_id))
            raise exception.OverQuota(in_use=used, limit=allowed, resource=resource)


def _has(session: orm.Session, resource: str, project_id: str, number: int) -> bool:
    """Whether the project has ``number`` or more: no more rows than that are read."""
    if number == 0:
        return True
    query = _FOLLOWING[resource]
    if _is_mysql():
        # A repeatable read would count what was there when the transaction began, before the lock.
        query = query.with_for_update(read=True)
    return session.scalar(query, {'project_id': project_id, 'passed': number - 1}) is not None


def _lock(session: orm.Session, resource: str, project_id: str) -> None:
    key = {'project_id': project_id, 'resource': resource}
    if session.scalar(_LOCK, key) is None:
        repository.put(USAGE, key, {'in_use': 0, 'reserved': 0})


def _is_mysql() -> bool:
    return engine.engine().dialect.name in ('mysql', 'mariadb')
