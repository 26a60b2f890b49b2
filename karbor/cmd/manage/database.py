# SPDX-License-Identifier: Apache-2.0
"""`karbor-manage db`: the database."""

import datetime

from oslo_utils import timeutils

from karbor.cmd.manage.command import Command, CommandError
from karbor.db import migration, purge


def sync(version: str | None) -> None:
    """Bring the database to the revision of this Karbor, or to another later one; one of Karbor 1.6 is upgraded."""
    migration.sync(version or 'head')


def version() -> None:
    """Print the revision that the database is at."""
    found, old = migration.version(), migration.version_of_1_6()
    if found is None and old is not None:
        found = f'migration {old} of Karbor 1.x'
    print(found or 'none: run `karbor-manage db sync`')


def remove_old(age_in_days: int) -> None:
    """Remove the rows that were deleted more than this many days ago, and the operations that ended before that of
    checkpoints that are gone.
    """
    now = timeutils.utcnow()
    if not 0 < age_in_days <= (now - datetime.datetime(1970, 1, 1)).days:
        raise CommandError('The age in days must be at least 1, and no longer ago than 1970.')
    removed = purge.purge(now - datetime.timedelta(days=age_in_days))
    for table, count in sorted(removed.items()):
        print(f'{table}: {count} removed')
    print(f'{sum(removed.values())} rows removed')


COMMANDS = {
    'sync': Command(sync, {'version': {'nargs': '?', 'help': 'a revision; default: the newest'}}, 'database'),
    'version': Command(version, database='database'),
    'purge': Command(remove_old, {'age_in_days': {'type': int, 'help': 'days since the rows were deleted'}}),
}
