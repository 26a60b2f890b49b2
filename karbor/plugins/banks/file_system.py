# SPDX-License-Identifier: Apache-2.0
"""A bank in a folder, such as an NFS mount: a key is a path, each write whole and durable.

Paths are walked folder by folder, by handles and never through links: what somebody puts into the
folder cannot lead a key out of it, not even while it is being walked.
"""

import contextlib
import errno
import fcntl
import io
import os
import re
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from oslo_config import cfg
from oslo_log import log

from karbor import exception
from karbor.plugins.banks import interface
from karbor.plugins.banks.root import FOLDER, NEW, Root, sync

LOG = log.getLogger(__name__)

UNFINISHED = ',unfinished-'  # a comma is in no key: listings never meet it
ATTEMPTS = 100
INNER = FOLDER | os.O_NOFOLLOW  # what lies in the root is no link
VALUE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe that lies about must not block
KEPT_BY_NFS = re.compile(r'\.nfs[0-9a-f]{16,}')  # a deleted file that a reader on this host still has open
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # ELOOP: a link, which is no object


class FileSystemBank(interface.Bank):
    """The folder `file_system_bank_path`/`bank_object_container`, made when it is first written to."""

    OPTIONS = {
        'file_system_bank_plugin': [
            cfg.StrOpt('file_system_bank_path', help='The folder that the bank lies in.'),
            cfg.StrOpt('bank_object_container', default='karbor', help='The folder of the bank below that path.'),
        ]
    }

    def __init__(self, config: cfg.ConfigOpts) -> None:
        super().__init__(config)
        group = config.file_system_bank_plugin
        if not group.file_system_bank_path:
            raise exception.ConfigurationError(reason='[file_system_bank_plugin] file_system_bank_path is not set')
        self.root = Path(group.file_system_bank_path, group.bank_object_container)
        self.place = os.fspath(self.root)
        self._root = Root(self.root, _holds_keys, lambda: self.was_used())  # which the provider sets later
        self._fresh: set[str] = set()  # folders just made here, which a crash might still take away

    # -- the primitives

    def _write(self, key: str, chunks: Iterator[bytes]) -> None:
        name = key.rpartition('/')[2]
        if KEPT_BY_NFS.fullmatch(name):
            raise exception.BankKeyInvalid(f'{name!r} is a name that network file systems use themselves')
        with self._unfinished(key) as (folder, temporary, file):
            for chunk in chunks:  # what this raises is no fault of the bank
                with self._told(key):
                    file.write(chunk)
            with self._told(key):
                file.flush()
                os.fsync(file.fileno())
                self._put_in_place(temporary, name, folder, key)
                sync(folder)

    def _open(self, key: str) -> BinaryIO:
        above, _, name = key.rpartition('/')
        with self._told(key):
            try:
                with self._entered(above) as folder:
                    handle = os.open(name, VALUE, dir_fd=folder)
            except OSError as fault:
                if fault.errno in ABSENT:
                    raise exception.BankObjectNotFound('there is no such object') from None
                raise
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                os.close(handle)
                raise exception.BankObjectNotFound('there is no such object')
        return io.BufferedReader(_Value(handle, self, key))

    def _delete(self, key: str) -> None:
        above, _, name = key.rpartition('/')
        with self._told(key):
            try:
                with self._entered(above) as folder:
                    os.unlink(name, dir_fd=folder)
                    sync(folder)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                pass  # folders may have been left by a delete that did not get to its end
            self._remove_empty(above)

    def _list(self, prefix: str, after: str | None, reverse: bool) -> Iterator[str]:
        with self._told(prefix):
            yield from self._walk(prefix.rpartition('/')[0], prefix, after, reverse)

    # -- how

    def _walk(self, base: str, prefix: str, after: str | None, reverse: bool) -> Iterator[str]:
        """The keys below ``base``. A folder is sorted with a slash after its name: so the order is that of
        whole keys.
        """
        try:
            with self._entered(base) as folder, os.scandir(folder) as found:
                names = list(filter(None, map(_key_part, found)))
        except (FileNotFoundError, NotADirectoryError):
            return
        names.sort(reverse=reverse)
        for name in names:
            key = f'{base}/{name}'
            if not key.startswith(prefix) or len(key) > interface.KEY_LIMIT or _is_passed(key, after, reverse):
                continue
            if name.endswith('/'):
                yield from self._walk(key[:-1], prefix, after, reverse)
            else:
                yield key

    @contextlib.contextmanager
    def _unfinished(self, key: str) -> Iterator[tuple[int, str, BinaryIO]]:
        """The handle of the folder of ``key``, the name of a new file in it, and the file; all is removed
        again if the body raises.
        """
        above, temporary = key.rpartition('/')[0], f'{UNFINISHED}{uuid.uuid4().hex}'
        with self._told(key):
            folder, file = self._begin(above, temporary, key)
        try:
            yield folder, temporary, file
        except BaseException:  # whatever it is, it is raised again: half a file must not stay
            with contextlib.suppress(OSError):  # the first fault is the one to be told
                os.unlink(temporary, dir_fd=folder)
                self._remove_empty(above)
            raise
        finally:
            with contextlib.suppress(OSError):  # after fsync nothing is left that could fail to be written
                file.close()
            os.close(folder)

    def _begin(self, above: str, temporary: str, key: str) -> tuple[int, BinaryIO]:
        for _ in range(ATTEMPTS):
            folder = None
            try:
                folder = self._enter(above, make=True)
                return folder, _create(temporary, folder)
            except OSError as fault:
                if folder is not None:
                    os.close(folder)
                if isinstance(fault, NotADirectoryError):
                    self._refuse(key)
                if not isinstance(fault, FileNotFoundError):
                    raise
                # a delete has just found the folder empty and removed it: make it again
        raise OSError(errno.ENOENT, 'the folder is removed again and again')

    def _put_in_place(self, temporary: str, name: str, folder: int, key: str) -> None:
        try:
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except IsADirectoryError:
            try:
                os.rmdir(name, dir_fd=folder)  # an empty folder is the rest of a delete
            except OSError:
                self._refuse(key)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)

    def _refuse(self, key: str) -> NoReturn:
        raise exception.BankKeyInvalid(f'another object, or a link, lies above or below {key[:80]!r}') from None

    def _enter(self, path: str, make: bool = False) -> int:
        """A handle of the folder at ``path`` ('' is the root). With ``make`` it is there, for good, afterwards."""
        handles, walked = [self._root.enter(make)], ''
        try:
            for part in path.split('/')[1:]:
                walked += f'/{part}'
                try:
                    handles.append(os.open(part, INNER, dir_fd=handles[-1]))
                except FileNotFoundError:
                    if not make:
                        raise
                    self._fresh.add(walked)
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=handles[-1])
                    handles.append(os.open(part, INNER, dir_fd=handles[-1]))
                if make and walked in self._fresh:  # made by this thread, or by one that has not got to this line yet
                    sync(handles[-2])
                    self._fresh.discard(walked)
            return handles.pop()
        finally:
            for handle in handles:
                os.close(handle)

    @contextlib.contextmanager
    def _entered(self, path: str) -> Iterator[int]:
        folder = self._enter(path)
        try:
            yield folder
        finally:
            os.close(folder)

    def _remove_empty(self, path: str) -> None:
        """Remove the folder at ``path``, and those above it, as long as nothing is in them."""
        while path:
            above, _, name = path.rpartition('/')
            try:
                with self._entered(above) as folder:
                    try:
                        os.rmdir(name, dir_fd=folder)
                    except FileNotFoundError:
                        pass
                    except OSError:
                        if not self._sweep(path):
                            return
                        os.rmdir(name, dir_fd=folder)
            except FileNotFoundError:
                pass
            except OSError:
                return  # in use again, or not ours to remove: an empty folder is in nobody's way
            path = above

    def _sweep(self, path: str) -> bool:
        """Remove what interrupted writes left in a folder that holds nothing else. Returns whether it is empty now."""
        with self._entered(path) as folder, os.scandir(folder) as found:
            return all(entry.name.startswith(UNFINISHED) and _remove_abandoned(entry.name, folder) for entry in found)

    @contextlib.contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """A fault of the file system, as a tenant may read it; the log has the path."""
        try:
            yield
        except OSError as fault:
            LOG.error('The bank %s failed at %s: %s', self.root, key, fault)
            raise exception.BankUnavailable(f'the file system failed ({fault.strerror or "unknown"})') from fault


class _Value(io.FileIO):
    """A file whose faults of reading are the bank's."""

    def __init__(self, handle: int, bank: FileSystemBank, key: str) -> None:
        super().__init__(handle, 'rb')
        self._bank, self._key = bank, key

    def readinto(self, buffer: Any) -> int | None:
        with self._bank._told(self._key):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with self._bank._told(self._key):
            return super().readall()


def _key_part(entry: os.DirEntry[str]) -> str | None:
    """The entry's name, with a slash if it is a folder; None for what is not the bank's: links, pipes, odd names."""
    if not interface.SEGMENT.fullmatch(entry.name):
        return None
    if entry.is_dir(follow_symlinks=False):
        return f'{entry.name}/'
    is_object = entry.is_file(follow_symlinks=False) and not KEPT_BY_NFS.fullmatch(entry.name)
    return entry.name if is_object else None


def _is_passed(key: str, after: str | None, reverse: bool) -> bool:
    """Whether ``key``, or, if it is a folder's, every key in it, does not lie behind ``after`` in the direction."""
    if after is None or (key.endswith('/') and after.startswith(key)):
        return False
    return key >= after if reverse else key <= after


def _create(name: str, folder: int) -> BinaryIO:
    """A new file. A lock tells others that somebody writes it: see `_remove_abandoned`.

    Raises FileNotFoundError when the folder, or the file before it was locked, has been removed.
    """
    handle = os.open(name, NEW, 0o666, dir_fd=folder)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise FileNotFoundError(errno.ENOENT, 'is being removed') from None
    except OSError:
        pass  # no locks on this file system: then nothing is ever found abandoned
    if not os.fstat(handle).st_nlink:
        os.close(handle)
        raise FileNotFoundError(errno.ENOENT, 'was removed')
    return open(handle, 'wb')


def _remove_abandoned(name: str, folder: int) -> bool:
    """Remove an unfinished file if its writer is gone. Returns whether it is removed."""
    try:
        handle = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=folder)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _holds_keys(folder: int) -> bool:
    """Whether there are folders of keys, as in a bank of Karbor 1.6, which left no mark."""
    with os.scandir(folder) as found:
        return any((_key_part(entry) or '').endswith('/') for entry in found)
