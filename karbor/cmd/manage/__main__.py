# SPDX-License-Identifier: Apache-2.0
"""`karbor-manage`: what an operator does to the database, to operations and to what they left behind."""

import sqlite3
import sys
from collections.abc import Mapping
from typing import Any

import karbor.native_threads  # noqa: F401 isort: skip
import sqlalchemy.exc
from oslo_config import cfg
from oslo_db import exception as db_exception

from karbor import exception
from karbor.cmd.manage import database, installation, operation, orphans
from karbor.cmd.manage.command import Command, CommandError
from karbor.conf import opts
from karbor.db import engine, migration

CONF = cfg.CONF

# category -> what it is about, and its commands
_COMMANDS: Mapping[str, tuple[str, Mapping[str, Command]]] = {
    'db': ('the database', database.COMMANDS),
    'operation': ('the operations: protect, restore, delete', operation.COMMANDS),
    'orphans': ('what nothing refers to in the back ends', orphans.COMMANDS),
    'config': ('the configuration', installation.CONFIG),
    'service': ('the services', installation.SERVICE),
    'version': ('the version of Karbor', installation.VERSION),
}


def _add_parsers(categories: Any) -> None:
    for category, (about, commands) in _COMMANDS.items():
        parser = categories.add_parser(category, help=about, description=about.capitalize() + '.')
        choices = parser.add_subparsers(dest='action', required=True, metavar='command')
        for name, command in commands.items():
            told = ' '.join((command.function.__doc__ or '').split())
            added = choices.add_parser(name, help=told, description=told)
            added.set_defaults(command=command)
            for argument, details in command.arguments.items():
                added.add_argument(argument, **details)


_CATEGORY = cfg.SubCommandOpt('category', title='commands', help='What to work on.', handler=_add_parsers)


def main(argv: list[str] | None = None) -> int:
    """Do what ``argv`` (default: the command line) says; the exit status: 0, or 1 with one line on standard error."""
    CONF.register_cli_opt(_CATEGORY)
    try:
        opts.parse(argv)
        command = CONF.category.command
        _run(command, {name: getattr(CONF.category, name) for name in command.names()})
    except exception.KarborError as fault:
        return _failed(fault.text)
    except (CommandError, migration.SchemaError, cfg.Error) as fault:
        return _failed(str(fault))
    except (db_exception.DBError, sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, ImportError) as fault:
        cause = str(getattr(fault, 'inner_exception', None) or fault).splitlines()[0]
        return _failed(f'The database cannot be used: {cause}{opts.unread(CONF)}')
    return 0


def _run(command: Command, arguments: dict[str, Any]) -> None:
    if command.database != 'nothing':
        engine.configure(CONF)
    try:
        if command.database == 'tables' and migration.version() != migration.head():
            raise CommandError('The database is not at the revision of this Karbor; run `karbor-manage db sync`.')
        command.function(**arguments)
    finally:
        engine.dispose()


def _failed(text: str) -> int:
    print(f'karbor-manage: {text.splitlines()[0]}', file=sys.stderr)
    return 1


if __name__ == '__main__':
    sys.exit(main())
