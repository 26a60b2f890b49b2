# SPDX-License-Identifier: Apache-2.0
"""`karbor-manage operation`: what is under way, who has it, and ways out.

What runs operations is imported where it is needed: it takes a second, which other commands need not wait.
"""

import contextlib
import datetime
import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from oslo_config import cfg

from karbor import exception, statuses
from karbor.cmd.manage.command import FORMAT, Command, CommandError, as_json, show, table
from karbor.db import engine, models, repository
from karbor.objects import operation_resource

CONF = cfg.CONF
OPERATION, RESOURCE = models.OperationLog, models.OperationResource
COLUMNS = {
    'id': 'ID',
    'operation_type': 'Type',
    'project_id': 'Project',
    'provider_id': 'Provider',
    'status': 'Status',
    'owner': 'Owner',
    'age': 'Age',
    'lease_left': 'Lease left',
    'epoch': 'Epoch',
    'attempt': 'Attempt',
    'progress': 'Progress',
}
_STATUSES = sorted({word for words in statuses.OPERATION_WORDS.values() for word in words})
_HIDDEN = ('beat', 'deleted', 'deleted_at', 'folded', 'expires_at', 'now')
_RESOURCE = ('resource_type', 'resource_id', 'resource_name', 'new_id', 'status', 'status_details', 'progress')
_RESOURCE_TITLES = ('Type', 'ID', 'Name', 'New ID', 'Status', 'Details', 'Progress')


def list_(all: bool, open: bool, project: str | None, status: str | None, limit: int, format: str) -> None:
    """Print the open operations, the oldest first; with --all those that have ended, too, the newest first."""
    if all and open:
        raise CommandError('--all and --open exclude each other.')
    if limit < 1:
        raise CommandError('--limit takes 1 or more.')
    if status is not None and status not in _STATUSES:
        raise CommandError(f'--status takes one of {", ".join(_STATUSES)}.')
    wanted = {'project_id': project, 'status': status, **({} if all else {'ended_at': None})}
    filters = [
        getattr(OPERATION, name) == value for name, value in wanted.items() if value is not None or name == 'ended_at'
    ]
    order = (OPERATION.created_at.desc(), OPERATION.id) if all else (OPERATION.created_at, OPERATION.id)
    rows = _read(sa.and_(OPERATION.deleted == sa.false(), *filters), order, limit)
    counts = _counts([row.id for row in rows])
    shown = [_view(row, counts.get(row.id)) for row in rows]
    show(shown if format == 'json' else map(_as_cells, shown), COLUMNS, format)


def show_(id: str, format: str) -> None:
    """Print everything about an operation, with its resources, failed ones first."""
    rows = _read(OPERATION.id == id, (), 1)
    if not rows:
        raise exception.OperationLogNotFound(id=id)
    found = operation_resource.of_operation(id, limit=1_000_000)
    shown = _view(rows[0], _counts([id]).get(id))
    resources = [{name: getattr(row, name) for name in _RESOURCE} for row in found]
    if format == 'json':
        print(as_json(shown | {'resources': resources}))
        return
    print(table(['Field', 'Value'], _as_cells(shown).items()))
    print(table(_RESOURCE_TITLES, [list(resource.values()) for resource in resources]))


def recover(id: str, end: bool, yes: bool) -> None:
    """Free an operation whose worker is gone, so that any other claims it; end one of Karbor 1.6 as failed."""
    from karbor import notifications
    from karbor.protection import recovery

    notifications.init(CONF)
    with contextlib.closing(notifications):
        told = recovery.recover(id, end, act=yes)
    if not yes:
        raise CommandError(f'With --yes: {told}.')
    print(told)


def cancel(id: str, wait: float) -> None:
    """Ask for the end of an operation: it starts nothing more, removes what it made, and ends as failed."""
    from karbor.protection import recovery

    recovery.cancel(id)
    end = time.monotonic() + wait
    while True:
        row = next(iter(repository.find(OPERATION, ['ended_at', 'status'], {'id': id})), None)
        if row is None or row.ended_at is not None:
            print(f'Operation {id} has ended: it is {row.status if row else "gone"}.')
            return
        if time.monotonic() >= end:
            break
        time.sleep(0.2)
    if wait:
        raise CommandError(f'Operation {id} has not ended within {wait:g} seconds; it is still asked to.')
    print(f'Operation {id} is asked to end.')


def _read(condition: Any, order: Sequence[Any], limit: int) -> Sequence[Any]:
    from karbor.protection import board

    query = sa.select(*OPERATION.__table__.c, board.now().label('now')).where(condition).order_by(*order).limit(limit)
    with engine.reading() as session:
        return session.execute(query).all()


def _counts(ids: Sequence[str]) -> Mapping[str, Any]:
    """How many resources each operation has, and how they stand. Of folded ones only the number is told."""
    status = {word: sa.func.sum(sa.case((RESOURCE.status == word, 1), else_=0)) for word in ('active', 'error')}
    counted = [sa.func.count().label('number'), *(total.label(word) for word, total in status.items())]
    query = sa.select(RESOURCE.operation_id, *counted, sa.func.max(RESOURCE.attempt).label('attempt'))
    folded = repository.find(
        models.FoldedResources, ['operation_id', 'number'], {'operation_id': repository.OneOf(tuple(ids))}
    )
    with engine.reading() as session:
        rows = session.execute(query.where(RESOURCE.operation_id.in_(ids)).group_by(RESOURCE.operation_id)).all()
    return {row.operation_id: row for row in (*folded, *rows)}


def _view(row: Any, count: Any) -> dict[str, Any]:
    """The columns of an operation, and what is worked out of them: times in seconds."""
    now = float(row.now)
    is_open = row.ended_at is None
    shown = {name: value for name, value in row._mapping.items() if name not in _HIDDEN}
    resources = {name: getattr(count, name, None) for name in ('number', 'active', 'error')}
    resources = {name: value if value is None else int(value) for name, value in resources.items()}
    return shown | {
        'age': row.created_at and max(0.0, now - row.created_at.replace(tzinfo=datetime.UTC).timestamp()),
        'lease_left': max(0.0, row.expires_at - now) if is_open and row.owner and row.expires_at else None,
        'attempt': getattr(count, 'attempt', None),
        'progress': resources,
    }


def _as_cells(shown: Mapping[str, Any]) -> dict[str, Any]:
    count = shown['progress']
    done = None if count['active'] is None else f'{count["active"]} of {count["number"]} done'
    failed = f', {count["error"]} failed' if count['error'] else ''
    return {
        **shown,
        'owner': _owner(shown),
        'age': None if shown['age'] is None else f'{datetime.timedelta(seconds=round(shown["age"]))}',
        'lease_left': None if shown['lease_left'] is None else f'{shown["lease_left"]:.1f} s',
        'progress': f'{done}{failed}' if done else count['number'] and f'{count["number"]} resources',
    }


def _owner(shown: Mapping[str, Any]) -> str:
    if shown['owner'] is None:
        return 'nobody (Karbor 1.6)' if shown['ended_at'] is None else '-'
    return shown['owner'] or 'anybody'


_ID = {'id': {'help': 'the id of the operation'}}
COMMANDS = {
    'list': Command(
        list_,
        {
            '--all': {'action': 'store_true', 'help': 'those that have ended, too'},
            '--open': {'action': 'store_true', 'help': 'those that have not ended; the default'},
            '--project': {'help': 'those of this project'},
            '--status': {'help': f'those in this status: {", ".join(_STATUSES)}'},
            '--limit': {'type': int, 'default': 1000, 'help': 'how many, 1 or more; default: 1000'},
            **FORMAT,
        },
    ),
    'show': Command(show_, {**_ID, **FORMAT}),
    'recover': Command(
        recover,
        {
            **_ID,
            '--end': {'action': 'store_true', 'help': 'end it as failed, instead of letting others go on with it'},
            '--yes': {'action': 'store_true', 'help': 'do it; without, what would be done is told'},
        },
    ),
    'cancel': Command(
        cancel,
        {**_ID, '--wait': {'type': float, 'default': 0.0, 'metavar': 'SECONDS', 'help': 'wait for its end'}},
    ),
}
