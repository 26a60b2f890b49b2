# SPDX-License-Identifier: Apache-2.0
"""`Idempotency-Key`: a POST that is sent again with the same key is done once, and answered as the first time.

Keys belong to a user in a project: nobody else can read the answer, or take the key first. They are rows, so that any
API process knows them; the insert of the row decides between requests that come at once. An answer is kept for 24
hours. A request that died without one leaves its row, with the id that what it makes was to have: the next attempt
takes the row over and uses that id, so that what was made already is found.
"""

import datetime
import hashlib
import re
from collections.abc import Callable
from typing import Any

import orjson
from oslo_config import cfg
from oslo_db import exception as db_exception
from oslo_log import log
from oslo_utils import timeutils, uuidutils

from karbor import exception
from karbor.api import hooks
from karbor.api.request import Answer, Call
from karbor.db import engine, models, purge, repository

CONF = cfg.CONF
LOG = log.getLogger(__name__)
KEY = models.IdempotencyKey
HEADER, REPLAYED = 'Idempotency-Key', 'Idempotent-Replayed'
ALLOWED = {'type': 'string', 'minLength': 1, 'maxLength': 255, 'pattern': '^[ -~]+$'}
_ALLOWED = re.compile(r'[ -~]{1,255}')
# A request that waits for the protection service, and then for the database, takes that much longer at most.
MARGIN_SECONDS = 20


def once(call: Call, answer: Callable[[], Answer]) -> Answer:
    """The answer to the request of ``call``, which has the header; a stored one if there is one.

    Sets ``call.id``, and ``call.again`` where an earlier attempt may have made it. Raises InvalidInput for a header
    that is no key, IdempotencyKeyReused, RequestUnderWay.
    """
    key = call.request.headers[HEADER]
    if not _ALLOWED.fullmatch(key):
        raise exception.InvalidInput(field=HEADER, reason='must be 1 to 255 printable ASCII characters')
    row = _claim(_digest(call.context.project_id, call.context.user_id, key), _asked(call))
    if row.status is not None:
        return Answer(row.status, (row.body or '').encode(), {**(row.headers or {}), REPLAYED: 'true'})
    call.id, call.again = row.source, row.attempt > 1
    try:
        made = answer()
    except Exception as error:  # whatever ends a request lets its key go, and is raised again
        _quietly(_release, row, error)
        raise
    _quietly(_store, row, made)
    return made


def _asked(call: Call) -> str:
    path = call.request.path_info.rstrip('/').removesuffix('.json')
    return _digest(call.request.method, path, orjson.dumps(call.body, option=orjson.OPT_SORT_KEYS).decode())


def _digest(*parts: Any) -> str:
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


def _claim(id: str, request: str) -> KEY:
    """The row of the key: with the answer, or for this attempt to fill in."""
    source = uuidutils.generate_uuid()
    for _ in range(3):
        try:
            return _insert(id, request, source)
        except db_exception.DBDuplicateEntry:
            row = _take(id, request, source)
        if row is not None:
            return row
    raise exception.RequestUnderWay(header=HEADER)  # whoever has it gives it back again and again


@engine.repeated
def _insert(id: str, request: str, source: str) -> KEY:
    return repository.create(KEY(id=id, request=request, source=source, attempt=1, claimed_until=_until()))


@engine.repeated
def _take(id: str, request: str, source: str) -> KEY | None:
    """The row that is there, as `_claim` has it; None when it has been there for long enough, or is gone."""
    now = timeutils.utcnow()
    with engine.writing():
        row = repository.lock(KEY, id)
        if row is None or row.created_at < now - purge.KEPT:
            repository.delete(KEY, id)
            return None
        if row.request != request:
            raise exception.IdempotencyKeyReused(header=HEADER)
        if row.status is None and row.source != source:  # not what an `_insert` wrote whose answer got lost
            if row.claimed_until > now:
                raise exception.RequestUnderWay(header=HEADER)
            row.attempt, row.claimed_until = row.attempt + 1, _until()
        return row


def _until() -> datetime.datetime:
    return timeutils.utcnow() + datetime.timedelta(seconds=CONF.rpc_accept_timeout + MARGIN_SECONDS)


@engine.repeated
def _store(row: KEY, made: Answer) -> None:
    values = {'status': made.status, 'headers': made.headers, 'body': made.body.decode()}
    repository.update(KEY, row.id, values, source=row.source, attempt=row.attempt)


@engine.repeated
def _release(row: KEY, error: Exception) -> None:
    """What was refused has made nothing: its key is as if never used, unless an earlier attempt may have. After a
    fault of ours the key may be tried again at once, and makes what it would have made.
    """
    mine = {'source': row.source, 'attempt': row.attempt}
    if hooks.known(error).code < 500 and row.attempt == 1:
        repository.delete(KEY, row.id, **mine)
    else:
        repository.update(KEY, row.id, {'claimed_until': timeutils.utcnow()}, **mine)


def _quietly(write: Callable[..., None], *arguments: Any) -> None:
    """The request is answered, whether or not that can be written down: then a repeat has to wait, and finds it."""
    try:
        write(*arguments)
    except (db_exception.DBError, *engine.PASSING_FAULTS) as fault:
        LOG.warning('The answer to a request with %s could not be kept: %s', HEADER, fault)
