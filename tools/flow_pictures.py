# SPDX-License-Identifier: Apache-2.0
"""The pictures of the flows, drawn from the flows themselves: `doc/source/_static/flow-*.svg`.

`python tools/flow_pictures.py` writes one for each kind of operation, with the plugins for shares and databases, and
one with every hook, as a plugin of Karbor 1.6 may have them. With `--check` nothing is written; exit status 1 says that
a picture is not what its flow is.
"""

import html
import sys
import textwrap
import threading
from pathlib import Path

import karbor.native_threads  # noqa: F401 isort: skip
from oslo_config import cfg

from karbor.db import models
from karbor.plugins import database, share
from karbor.plugins.banks.memory import MemoryBank
from karbor.plugins.interface import Hook, Protection, Work
from karbor.protection import flows
from karbor.protection.provider import Provider
from karbor.protection.run import Pools, Run
from karbor.statuses import OperationType

FOLDER = Path(__file__).parent.parent / 'doc' / 'source' / '_static'
WIDTH, HEIGHT, GAP, MARGIN = 168, 96, 26, 16
SHOWN = (OperationType.PROTECT, OperationType.RESTORE, OperationType.VERIFY, OperationType.DELETE)


class Everything(Work):
    """Has work in every hook."""

    hook = Hook.PREPARE_BEGIN | Hook.PREPARE_FINISH | Hook.MAIN | Hook.COMPLETE

    def start(self, work):
        return {}


class FourHooks(Protection):
    resource_types = ('any',)
    protect = Everything


def main() -> int:
    """Draw, or check with `--check`."""
    shares, databases = share.ManilaSnapshot, database.TroveBackup
    pictures = {f'flow-{kind}': draw(kind, shares, databases) for kind in SHOWN}
    pictures['flow-four-hooks'] = draw(OperationType.PROTECT, FourHooks)
    stale = []
    for name, picture in pictures.items():
        path = FOLDER / f'{name}.svg'
        if not path.exists() or path.read_text() != picture:
            stale.append(path.name)
            if '--check' not in sys.argv:
                path.write_text(picture)
    if '--check' in sys.argv and stale:
        print(f'not what the flows are: {", ".join(stale)}; run tools/flow_pictures.py', file=sys.stderr)
        return 1
    return 0


def draw(kind: str, *plugins: type[Protection]) -> str:
    """The SVG of the flow of an operation of this kind with these plugins."""
    steps = [(task.name, _purpose(task), task) for task in _tasks(kind, plugins)]
    width = MARGIN * 2 + len(steps) * WIDTH + (len(steps) - 1) * GAP
    title = f'The flow of {kind}: {" → ".join(name for name, _, _ in steps)}'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT + MARGIN * 2}" width="{width}"'
        f' height="{HEIGHT + MARGIN * 2}" font-family="Helvetica, Arial, sans-serif" font-size="12" role="img">',
        f'<title>{html.escape(title)}</title>',
        f'<rect width="{width}" height="{HEIGHT + MARGIN * 2}" fill="#ffffff"/>',
    ]
    for place, (name, purpose, task) in enumerate(steps):
        x = MARGIN + place * (WIDTH + GAP)
        fill, stroke = ('#e0f2fe', '#0369a1') if isinstance(task, flows.RunHook) else ('#f8fafc', '#334155')
        lines.append(
            f'<rect x="{x}" y="{MARGIN}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{fill}" stroke="{stroke}"/>'
        )
        lines.append(f'<text x="{x + 10}" y="{MARGIN + 20}" font-weight="bold" fill="{stroke}">{name}</text>')
        for row, text in enumerate(textwrap.wrap(purpose, 27)[:5]):
            lines.append(f'<text x="{x + 10}" y="{MARGIN + 38 + row * 14}" fill="#334155">{html.escape(text)}</text>')
        if place:
            lines.append(f'<text x="{x - GAP + 6}" y="{MARGIN + HEIGHT // 2 + 4}" fill="#334155">→</text>')
    return '\n'.join([*lines, '</svg>', ''])


def _purpose(task):
    if not isinstance(task, flows.RunHook):
        return type(task).__doc__.split(';')[0].split('\n\n')[0].replace('\n', ' ')
    order = {
        Hook.PREPARE_BEGIN: 'level by level, parents before children',
        Hook.MAIN: 'all resources at once',
    }
    return f'A wave: one hook for all resources, {order.get(task.hook, "level by level, children before parents")}.'


def _tasks(kind, plugins):
    config = cfg.ConfigOpts()
    config([])
    protections = {}
    for plugin in plugins:
        for group, options in plugin.OPTIONS.items():
            config.register_opts(options, group)
        protections.update(dict.fromkeys(plugin.resource_types, plugin(config)))
    run = Run(
        operation=models.OperationLog(id='an operation', operation_type=kind),
        provider=Provider('a provider', '', '', MemoryBank(config), config, protections=protections),
        checkpoint=models.CheckpointRecord(id='a checkpoint'),
        installation_id='an installation',
        containers=set(),
        children_of=lambda cloud, parent: [],
        pools=Pools(None, None, None),
        stopping=threading.Event(),
    )
    return [task for task, _ in flows.build(run).iter_nodes()]


if __name__ == '__main__':
    sys.exit(main())
