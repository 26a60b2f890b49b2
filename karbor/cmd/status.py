# SPDX-License-Identifier: Apache-2.0
"""`karbor-status upgrade check`: what stands in the way of running this Karbor on what the last one has left."""

import importlib.util
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import sqlalchemy as sa
import sqlalchemy.exc
from oslo_config import cfg
from oslo_db import exception as db_exception
from oslo_policy import opts as policy_opts
from oslo_upgradecheck import upgradecheck
from oslo_upgradecheck.upgradecheck import Code, Result
from oslo_utils import fileutils

from karbor.conf import opts, retired
from karbor.db import engine, migration, models
from karbor.protection import provider

CONF = cfg.CONF

_OLD_PACKAGE = 'karbor.services.'  # where classes of 1.6 were


def _reading_database(check: Callable[['Checks'], Result]) -> Callable[['Checks'], Result]:
    """``check``, which reads the database, failing with the cause when that cannot be used."""

    def checked(self: 'Checks') -> Result:
        try:
            engine.configure(CONF)
            return check(self)
        except (db_exception.DBError, sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, ImportError) as fault:
            cause = str(getattr(fault, 'inner_exception', None) or fault).splitlines()[0]
            return Result(Code.FAILURE, f'The database cannot be used: {cause}{opts.unread(CONF)}')
        finally:
            engine.dispose()

    return checked


class Checks(upgradecheck.UpgradeCommands):
    @_reading_database
    def database(self) -> Result:
        try:
            migration.check_upgradable()
        except migration.SchemaError as fault:
            return Result(Code.FAILURE, str(fault))
        found = migration.version()
        if found == migration.head():
            return Result(Code.SUCCESS)
        return Result(
            Code.WARNING,
            f'The database is at {found or "no revision"}; run `karbor-manage db sync` before the services start.',
        )

    @_reading_database
    def unfinished_operations(self) -> Result:
        """Operations of 1.6 that nobody will end. What its bank says of checkpoints cannot be seen from here."""
        with engine.reading() as session:
            if not sa.inspect(session.connection()).has_table(models.OperationLog.__tablename__):
                return Result(Code.SUCCESS)
            count = _count_unfinished()
        if not count:
            return Result(Code.SUCCESS)
        return Result(
            Code.WARNING,
            f'{count} operations of Karbor 1.6 have not ended. No service takes them up: their checkpoints may stay'
            ' protecting or deleting until an administrator resets their state.',
        )

    def policy_file(self) -> Result:
        CONF.register_opts(policy_opts._options, group=policy_opts._option_group)
        path = CONF.find_file(CONF.oslo_policy.policy_file)
        if path and fileutils.is_json(path):
            return Result(
                Code.WARNING,
                f'{path} is in JSON, which is deprecated; oslopolicy-convert-json-to-yaml turns it into YAML.',
            )
        return Result(Code.SUCCESS)

    def retired_options(self) -> Result:
        given = [o.name for o in retired.OPTIONS['DEFAULT'] if CONF[o.name] is not None]
        if given:
            return Result(Code.WARNING, f'Options without effect are set: {", ".join(sorted(given))}.')
        return Result(Code.SUCCESS)

    def provider_files(self) -> Result:
        folder = provider.find_folder()
        if folder is None:
            return Result(Code.WARNING, f'There is no folder {CONF.provider_config_dir} of provider files.')
        paths = sorted(folder.glob('*.conf'))
        findings = [finding for path in paths for finding in _findings(path)]
        if not paths:
            findings.append((Code.WARNING, f'There is no provider file in {folder}.'))
        worst = max((code for code, _ in findings), default=Code.SUCCESS)
        return Result(worst, ' '.join(text for _, text in findings) or None)

    _upgrade_checks = (
        ('Database', database),
        ('Unfinished operations of 1.6', unfinished_operations),
        ('Policy file', policy_file),
        ('Options of 1.6', retired_options),
        ('Provider files', provider_files),
    )


def _count_unfinished() -> int:
    table = models.OperationLog.__table__.c
    with engine.reading() as session:
        present = {c['name'] for c in sa.inspect(session.connection()).get_columns(models.OperationLog.__tablename__)}
        query = sa.select(sa.func.count(table.id)).where(table.ended_at.is_(None), table.deleted == sa.false())
        if 'owner' in present:
            query = query.where(table.owner.is_(None))
        return session.scalar(query) or 0


def _findings(path: Path) -> Iterator[tuple[Code, str]]:
    """(code, text) of what is wrong with a provider file. Without its bank a provider is not there, without a
    plugin some of its types are not.
    """
    config = cfg.ConfigOpts()
    config.register_opts(provider.OPTIONS, 'provider')
    try:
        config(args=[], project='karbor-provider', default_config_files=[os.fspath(path)], default_config_dirs=[])
        told = config.provider
        enabled, plugins = told.enabled, list(filter(None, told.plugin))
    except (cfg.Error, OSError, ValueError) as fault:
        yield Code.FAILURE, f'{path.name} cannot be read: {str(fault).splitlines()[0]}.'
        return
    if not enabled:
        return
    if not (told.id and told.bank and plugins):
        yield Code.FAILURE, f'{path.name} lacks id, bank or plugins.'
    if told.bank and (missing := _missing(told.bank)):
        yield Code.FAILURE, f'{path.name}: bank {missing}'
    for name in plugins:
        if missing := _missing(name):
            yield Code.WARNING, f'{path.name}: plugin {missing}'


def _missing(name: str) -> str | None:
    """Why there is no class behind the entry point or class path ``name``; None where there is one."""
    if '.' not in name:
        found = metadata.entry_points(group=provider.NAMESPACE, name=name)
        return None if found else f'{name} is not installed.'
    if name.startswith(_OLD_PACKAGE):
        return f'{name} is a class path of Karbor 1.6; name the entry point instead.'
    module = name.replace(':', '.').rpartition('.')[0]
    try:
        return None if importlib.util.find_spec(module) else f'{name} is not installed.'
    except (ImportError, ValueError):
        return f'{name} is not installed.'


def main(argv: list[str] | None = None) -> int:
    """The exit status of `upgrade check`: 0 success, 1 warnings, 2 failures, 255 the check itself broke."""
    opts.register()
    return upgradecheck.main(CONF, 'karbor', Checks(), sys.argv[1:] if argv is None else argv)


if __name__ == '__main__':
    sys.exit(main())
