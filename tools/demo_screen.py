# SPDX-License-Identifier: Apache-2.0
"""What the demo draws: headings, tables, trees, a progress bar a resource; plain lines where no terminal is."""

import io
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

TERMINAL = sys.stdout.isatty() and os.environ.get('TERM') != 'dumb'
COLOURS = TERMINAL and 'NO_COLOR' not in os.environ
BOLD, DIM, RED, GREEN, YELLOW, CYAN = '1', '2', '31', '32', '33', '36'
INDENT = '   '
BAR_WIDTH = 20
_OF_STATUS = {'active': GREEN, 'error': RED, 'build': YELLOW}
_ONE_LINE_UP, _CLEAR_LINE = '\x1b[A', '\x1b[2K\r'
if isinstance(sys.stdout, io.TextIOWrapper):
    # Where the locale has no characters for bars and branches, question marks have to do.
    sys.stdout.reconfigure(errors='replace')


def coloured(text: str, colour: str) -> str:
    """`text`, in colour on a terminal."""
    return f'\x1b[{colour}m{text}\x1b[0m' if COLOURS else text


def say(text: str = '', colour: str | None = None) -> None:
    """Print one line at once, also into a pipe."""
    print(coloured(text, colour) if colour else text, flush=True)


def width() -> int:
    """The columns of the terminal; 110 where there is none."""
    return shutil.get_terminal_size().columns if TERMINAL else 110


def paragraph(text: str, indent: str = INDENT) -> None:
    """Print a text in as many lines as it needs."""
    say(textwrap.fill(text, max(40, width()), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False))


def heading(title: str, what_happens: str) -> None:
    """Begin a step."""
    say(f'\n{title}', BOLD)
    paragraph(what_happens)


def command(typed: str, output: str = '') -> None:
    """What one types, and what it prints."""
    say(INDENT + typed, CYAN)
    if output:
        say(textwrap.indent(output.rstrip(), INDENT))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows below the names of their columns."""
    shown = [columns, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[number]) for row in shown) for number in range(len(columns))]
    for number, row in enumerate(shown):
        line = '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        say(INDENT + line, BOLD if number == 0 else None)


def texts(shown: Iterable[tuple[str, str]]) -> None:
    """Names, each with a text below it."""
    for name, text in shown:
        say(INDENT + name, BOLD)
        paragraph(text, INDENT * 2)


def tree(node: Any, text_of: Callable[[Any], str], children_of: Callable[[Any], Sequence[Any]]) -> None:
    """A node and all that hangs on it."""

    def draw(nodes: Sequence[Any], indent: str) -> None:
        for number, child in enumerate(nodes, start=1):
            fork, below = ('└── ', '    ') if number == len(nodes) else ('├── ', '│   ')
            say(indent + fork + text_of(child))
            draw(children_of(child), indent + below)

    say(INDENT + text_of(node))
    draw(children_of(node), INDENT)


class Bars:
    """A bar for each resource of an operation, drawn again in place; into a pipe, a line for each change."""

    def __init__(self) -> None:
        self._drawn = 0
        self._seen: dict[tuple[str, str], tuple[Any, ...]] = {}

    def show(self, resources: Iterable[Mapping[str, Any]]) -> None:
        """Draw the list `resources` of a checkpoint or restore as it is now."""
        lines = {(r['type'], r['id']): r for r in sorted(resources, key=lambda r: (r['type'], r['name'] or ''))}
        if TERMINAL:
            self._redraw([bar(resource) for resource in lines.values()])
        else:
            self._add({key: resource for key, resource in lines.items() if self._is_news(key, resource)})

    def _redraw(self, lines: Sequence[str]) -> None:
        sys.stdout.write(_ONE_LINE_UP * self._drawn + ''.join(f'{_CLEAR_LINE}{line}\n' for line in lines))
        sys.stdout.flush()
        self._drawn = len(lines)

    def _add(self, news: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
        for resource in news.values():
            say(bar(resource))

    def _is_news(self, key: tuple[str, str], resource: Mapping[str, Any]) -> bool:
        now = resource['status'], resource['status_details']
        before, self._seen[key] = self._seen.get(key), now
        return now != before


def bar(resource: Mapping[str, Any]) -> str:
    """`documents  Manila::Share  ██████████░░░░░░░░░░  50 %  build  …`, cut to the width of the terminal.

    Not every plugin tells how far it is: then there is no percentage until it is done.
    """
    status = resource['status'] or 'waiting'
    percent = 100 if status == 'active' else resource['progress']
    done = (percent or 0) * BAR_WIDTH // 100
    name = f'{INDENT}{resource["name"] or resource["id"]:<16.16} {resource["type"].split("::", 1)[-1]:<20.20} '
    drawn = coloured('█' * done + '░' * (BAR_WIDTH - done), _OF_STATUS.get(status, DIM))
    after = f' {"" if percent is None else f"{percent} %":>5}  {status:<7}  {resource["status_details"] or ""}'
    return name + drawn + after.rstrip()[: width() - len(name) - BAR_WIDTH - 1 if TERMINAL else None]
