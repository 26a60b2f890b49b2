# SPDX-License-Identifier: Apache-2.0
"""`karbor-manage orphans`: what carries Karbor's tag in the back ends, and nothing refers to."""

import datetime
from typing import TYPE_CHECKING, Any

from karbor.cmd.manage.command import FORMAT, Command, CommandError, as_json, show

if TYPE_CHECKING:
    from karbor.protection.orphans import Orphan, Search

COLUMNS = {'kind': 'Kind', 'id': 'ID', 'project_id': 'Project', 'created_at': 'Created at', 'tag': 'Tag'}


def list_(older_than: int, format: str) -> None:
    """Print what carries this installation's tag in the back ends, and neither bank nor database refers to."""
    search, found = _search(older_than)
    shown = [_view(orphan) for orphan in found]
    if format == 'json':
        print(as_json({'orphans': shown, 'projects': search.projects, 'left_out': search.left_out}))
        return
    show(shown, COLUMNS, format)
    _tell_scope(search)


def delete(id: list[str], older_than: int, yes: bool) -> None:
    """Delete orphans, all or those named, one by one; each is looked at again right before."""
    search, found = _search(older_than)
    unknown = set(id) - {orphan.leftover.id for orphan in found}
    if unknown:
        raise CommandError(f'{min(unknown)} is no orphan.')
    wanted = [orphan for orphan in found if not id or orphan.leftover.id in id]
    if not yes:
        raise CommandError(f'With --yes, {len(wanted)} objects would be deleted; `orphans list` names them.')
    failed = 0
    for orphan in wanted:
        told = search.remove(orphan)
        failed += told.startswith('failed')
        print(f'{orphan.leftover.kind} {orphan.leftover.id}: {told}', flush=True)
    _tell_scope(search)
    if failed:
        raise CommandError(f'{failed} of {len(wanted)} objects could not be deleted.')


def _search(older_than: int) -> tuple['Search', list['Orphan']]:
    if older_than < 1:
        raise CommandError('What is not an hour old may still be in the making: --older-than takes 1 or more.')
    from karbor.protection.orphans import Search
    from karbor.protection.provider import Providers

    search = Search(Providers.load(), datetime.timedelta(hours=older_than))
    return search, search.orphans()


def _view(orphan: 'Orphan') -> dict[str, Any]:
    left = orphan.leftover
    return {
        **{name: getattr(left, name) for name in ('kind', 'id', 'tag', 'created_at')},
        'project_id': orphan.project_id,
    }


def _tell_scope(search: 'Search') -> None:
    print(f'Projects looked at: {", ".join(search.projects) or "none"}')
    for project_id, why in sorted(search.left_out.items()):
        print(f'Not looked at: project {project_id}: {why}')


_AGE = {
    '--older-than': {'type': int, 'default': 24, 'metavar': 'HOURS', 'help': 'at least 1; default: 24'},
}
COMMANDS = {
    'list': Command(list_, {**_AGE, **FORMAT}),
    'delete': Command(
        delete,
        {
            'id': {'nargs': '*', 'help': 'the ids of those to delete; default: all'},
            **_AGE,
            '--yes': {'action': 'store_true', 'help': 'do it'},
        },
    ),
}
