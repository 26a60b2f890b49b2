# SPDX-License-Identifier: Apache-2.0
"""The root folder of a bank on a file system: found, made, or away."""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from oslo_log import log

from karbor import exception

LOG = log.getLogger(__name__)

MARK = ',bank'  # lies in the folder of each bank that was written to; a comma is in no key
MARK_TEXT = b'This folder is a bank of Karbor, which takes a folder without this file for another one.\n'
FOLDER = os.O_RDONLY | os.O_DIRECTORY  # the root may well be a link itself, what lies in it may not
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class Root:
    """The folder at ``path``.

    It is the bank if it has the mark, or if ``holds_keys`` says so of its handle. Where there is neither, nor was there
    before, as this object or ``was_used`` know, it is new; else the bank is away: the folder may be where its file
    system is to be mounted.
    """

    def __init__(self, path: Path, holds_keys: Callable[[int], bool], was_used: Callable[[], bool]) -> None:
        self.path, self._holds_keys, self._was_used = path, holds_keys, was_used
        self._lock = threading.Lock()
        self._is_known = False  # the bank was there once: from then on, without it the bank is away
        self._is_told = False  # the log says already that the bank is away

    def enter(self, make: bool) -> int:
        """A handle of the root. Raises FileNotFoundError if it is new and not to be made, BankUnavailable if away."""
        folder = self._find(_is_marked)
        if folder is None:
            with self._lock:
                return self._enter_unmarked(make)
        self._know()
        return folder

    def _enter_unmarked(self, make: bool) -> int:
        folder = self._find(self._is_bank)
        if folder is None and (self._is_known or self._was_used()):
            folder = self._find(self._is_bank)  # who begins it at this moment marks it before the catalogue knows
            if folder is None:
                # Not mounted, say. An empty bank, or a new one in its place, is what it must not look like.
                self._tell('is not there: its folder is missing, or is another one, without the file %s', MARK)
                raise exception.BankUnavailable('the folder of the bank is gone')
        if folder is None and not make:
            return os.open(self.path, FOLDER)
        if folder is None:
            _make_folders(self.path)
            folder = os.open(self.path, FOLDER)
        if make:
            with _closed_on_failure(folder):
                _mark(folder)
        self._know()
        return folder

    def _find(self, is_it: Callable[[int], bool]) -> int | None:
        """A handle of the root, if there is one and ``is_it`` says so."""
        try:
            folder = os.open(self.path, FOLDER)
        except FileNotFoundError:
            return None
        except NotADirectoryError as fault:
            self._tell('is no folder')
            raise exception.BankUnavailable('the folder of the bank is none') from fault
        with _closed_on_failure(folder):
            found = is_it(folder)
        if found:
            return folder
        os.close(folder)
        return None

    def _know(self) -> None:
        self._is_known = True
        if self._is_told:
            self._is_told = False
            LOG.warning('The bank %s is there again.', self.path)

    def _tell(self, wrong: str, *values: str) -> None:
        """Once, however often it is asked for until it is there again."""
        if not self._is_told:
            self._is_told = True
            LOG.error(f'The bank %s {wrong}.', self.path, *values)

    def _is_bank(self, folder: int) -> bool:
        return _is_marked(folder) or self._holds_keys(folder)


@contextlib.contextmanager
def _closed_on_failure(folder: int) -> Iterator[None]:
    try:
        yield
    except BaseException:  # whatever it is, it is raised again: a handle must not be left open
        os.close(folder)
        raise


def _is_marked(folder: int) -> bool:
    try:
        os.stat(MARK, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _mark(folder: int) -> None:
    with contextlib.suppress(FileExistsError), open(os.open(MARK, NEW, 0o666, dir_fd=folder), 'wb') as file:
        file.write(MARK_TEXT)
    sync(folder)


def _make_folders(folder: Path) -> None:
    """Make a folder and those that lack above it, for good. What was there is made durable, too: its maker
    may be another thread that is not that far yet.
    """
    if not folder.parent.is_dir():
        _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    above = os.open(folder.parent, FOLDER)
    try:
        sync(above)
    finally:
        os.close(above)


def sync(folder: int) -> None:
    """Make durable what was made and removed in the folder."""
    try:
        os.fsync(folder)
    except OSError as fault:
        if fault.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot sync folders, and need not
            raise
