# SPDX-License-Identifier: Apache-2.0
"""`ETag` of an object, and the requests that depend on it (RFC 9110, sections 8.8.3 and 13).

The tag changes with the row's `updated_at`, which moves whenever what is shown of the object does. The comparison of
`If-Match` becomes a part of the write: `expected` gives what the row has to be when it is written.
"""

import hashlib
import re
from typing import Any

from karbor import exception
from karbor.api.request import Call
from karbor.db import models, repository

# A list of tags, of which those of the weak kind match nothing that is to be written.
_TAG = r'(?:W/)?"[!#-~\x80-\xff]*"'
_LIST = re.compile(rf'\s*{_TAG}(?:[\s,]+{_TAG})*[\s,]*')
_CHANGED = 'the object was changed since; show it again, and take the ETag of that'
SHOWN = {'type': 'string', 'description': 'The state of the object, for `If-Match` and `If-None-Match`.'}
ASKED = {'type': 'string', 'maxLength': 4096}


def put(call: Call, row: Any) -> None:
    """Give the reply to ``call`` the tag of ``row``: anything with `id` and `updated_at`."""
    call.headers['ETag'] = of(row.id, row.updated_at)


def of(id: str, updated_at: Any = None) -> str:
    """The tag of the object ``id``, last written at ``updated_at``: None for a new one."""
    return f'"{hashlib.sha256(f"{id} {updated_at}".encode()).hexdigest()[:32]}"'


def is_known(call: Call) -> bool:
    """Whether the caller of a GET has what the reply would show already: 304."""
    tag = call.headers.get('ETag')
    given = call.request.headers.get('If-None-Match') if call.request.method == 'GET' else None
    return tag is not None and given is not None and _is_in(tag, 'If-None-Match', given.replace('W/', ''))


def expected(call: Call, model: type[models.Base], id: str) -> dict[str, Any]:
    """What row ``id`` has to be when it is written, for `save` and `destroy`; empty without `If-Match`. Raises
    PreconditionFailed when it is something else already; the caller may see the object.
    """
    given = call.request.headers.get('If-Match')
    if given is None or given.strip() == '*':
        return {}
    rows = repository.find(model, ['updated_at'], {'id': id})
    if not rows or not _is_in(of(id, rows[0].updated_at), 'If-Match', given):
        raise changed()
    return {'updated_at': rows[0].updated_at}


def changed() -> exception.PreconditionFailed:
    """What to raise when the row was not as expected when it was written."""
    return exception.PreconditionFailed(header='If-Match', reason=_CHANGED)


def _is_in(tag: str, header: str, given: str) -> bool:
    if given.strip() == '*':
        return True
    if not _LIST.fullmatch(given):
        raise exception.InvalidInput(field=header, reason='must be * or a list of ETags, in double quotes as they came')
    return tag in re.findall(_TAG, given)
