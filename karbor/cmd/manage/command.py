# SPDX-License-Identifier: Apache-2.0
"""What the commands of `karbor-manage` are made of, and how they print what they found."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import prettytable

FORMAT = {'--format': {'choices': ('table', 'json'), 'default': 'table', 'help': 'default: table'}}


class CommandError(Exception):
    """What the operator reads on standard error before exit status 1."""


@dataclass(frozen=True)
class Command:
    """A ``function``, whose docstring is the help, and its ``arguments`` as argparse takes them.

    ``database`` is what it needs: nothing, the database, or its tables at the revision of this Karbor.
    """

    function: Callable[..., None]
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    database: str = 'tables'

    def names(self) -> list[str]:
        """The parameters of the function that the arguments are."""
        return [name.lstrip('-').replace('-', '_') for name in self.arguments]


def show(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], format: str) -> None:
    """Print ``rows`` as a table of ``columns`` (key -> title), or whole as JSON."""
    if format == 'json':
        print(as_json(list(rows)))
        return
    print(table(list(columns.values()), ([row[key] for key in columns] for row in rows)))


def as_json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()


def table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> prettytable.PrettyTable:
    made = prettytable.PrettyTable(list(titles))
    made.align = 'l'
    for row in rows:
        made.add_row(['-' if cell is None or cell == '' else cell for cell in row])
    return made
