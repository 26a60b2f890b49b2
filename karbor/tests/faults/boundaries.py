# SPDX-License-Identifier: Apache-2.0
"""Where a worker tells the test how far it is, and waits to be let on: around steps, calls of plugins, writes.

Nothing of this is in Karbor: it is wrapped around it, in the workers of these tests only.
"""

import contextlib
import functools
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from karbor.db import engine
from karbor.plugins.banks import file_system
from karbor.plugins.interface import Work
from karbor.protection import book, flows
from karbor.protection.provider import Provider
from karbor.protection.run import Run

_VARIABLE = re.compile(r'[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|\d{4}-\d\d-\d\d|\d{9,}')
Reach = Callable[[str], None]


class Gate:
    """The worker's end of the socket at ``path``: calling it with a name returns when the test lets the worker on."""

    def __init__(self, path: Path, worker: str) -> None:
        self.path, self.worker = path, worker
        self._of_thread = threading.local()

    def __call__(self, name: str) -> None:
        connection = getattr(self._of_thread, 'connection', None)
        if connection is None:
            connection = self._of_thread.connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(self.path))
        connection.sendall(f'{self.worker} {name}\n'.encode())
        connection.recv(1)


def install(reach: Reach, providers: Iterable[Provider], board: type) -> None:
    """Wrap them all; ``board`` is the class of the job board in use."""
    _around(reach, board, 'claim', lambda *_: 'claim')
    for step in (flows.Begin, flows.BuildGraph, flows.LoadGraph, flows.End):
        _around(reach, step, 'execute', lambda step: f'step {type(step).__name__}')
    _around(reach, flows.RunHook, 'execute', lambda step: f'step {step.hook.name}')
    _around(reach, file_system.FileSystemBank, '_write', lambda bank, key, chunks: f'bank write {_fixed(key)}')
    _around(reach, file_system.FileSystemBank, '_delete', lambda bank, key: f'bank delete {_fixed(key)}')
    for work in {work for provider in providers for work in _works(provider)}:
        for method in ('start', 'find', 'finish', 'cancel'):
            _around(reach, work, method, lambda work, *_, method=method: f'{type(work).__name__}.{method}')
    _name_book_writes()
    _around_transactions(reach)
    _around_guards(reach)


def _works(provider: Provider) -> Iterator[type[Work]]:
    for protection in provider.protections.values():
        yield from filter(None, (protection.protect, protection.restore, protection.delete, protection.verify))


def _fixed(key: str) -> str:
    return _VARIABLE.sub('*', key)


def _around(reach: Reach, owner: type, method: str, name_of: Callable[..., str]) -> None:
    original = getattr(owner, method)

    @functools.wraps(original)
    def told(*arguments: Any, **named: Any) -> Any:
        name = name_of(*arguments)
        reach(f'{name}: before')
        result = original(*arguments, **named)
        reach(f'{name}: after')
        return result

    setattr(owner, method, told)


_writing = threading.local()


def _name_book_writes() -> None:
    """A group of rows is named by the farthest that one of them gets: its begin, its handle, its end."""
    original = book.Book._write

    @functools.wraps(original)
    def named(self: Any, pending: Any, told: Any) -> None:
        columns = {column for values in pending.values() for column in values}
        farthest = next((c for c in ('hooks', 'handle', 'status') if c in columns), 'others')
        _writing.what = f'rows ({farthest})'
        try:
            original(self, pending, told)
        finally:
            _writing.what = None

    book.Book._write = named  # type: ignore[method-assign]


def _around_guards(reach: Reach) -> None:
    original = Run.guarded

    @contextlib.contextmanager
    def told(self: Run, **values: Any) -> Iterator[Any]:
        name = getattr(_writing, 'what', None) or 'guarded write'
        with original(self, **values) as session:
            yield session
            session.flush()
            reach(f'{name}: to be committed')
        reach(f'{name}: committed')

    Run.guarded = told  # type: ignore[method-assign]


_depth = threading.local()


def _around_transactions(reach: Reach) -> None:
    """The test has to know whether the worker is in a transaction: stopped there, it would stop everybody."""
    original = engine.writing

    @contextlib.contextmanager
    def told() -> Iterator[Any]:
        depth = getattr(_depth, 'number', 0)
        if not depth:
            reach('transaction begins')
        _depth.number = depth + 1
        try:
            with original() as session:
                yield session
        finally:
            _depth.number = depth
            if not depth:
                reach('transaction ended')

    engine.writing = told
