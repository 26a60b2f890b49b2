# SPDX-License-Identifier: Apache-2.0
"""What only a bank in a folder can get wrong: what is durable, what is left over, what lies there besides."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import tracemalloc

import pytest
from oslo_config import cfg

from karbor import exception
from karbor.plugins.banks import file_system, root
from karbor.tests.banks.conftest import file_system as bank_in


def names(bank):
    """What lies in the bank's folder, relative to it, but for its mark."""
    return sorted(str(path.relative_to(bank.root)) for path in bank.root.rglob('*') if path.name != root.MARK)


def test_a_key_is_a_path_and_the_file_is_the_value(on_disk, tmp_path):
    on_disk.put('/checkpoints/c/index.json', b'{}')
    assert (tmp_path / 'karbor/checkpoints/c/index.json').read_bytes() == b'{}'
    assert names(on_disk) == ['checkpoints', 'checkpoints/c', 'checkpoints/c/index.json']


def test_empty_folders_go_with_their_last_object(on_disk):
    on_disk.put('/a/b/c/d', b'')
    on_disk.put('/a/e', b'')
    on_disk.delete('/a/b/c/d')
    assert names(on_disk) == ['a', 'a/e']


def test_a_bank_without_a_path_is_a_fault_of_the_configuration():
    config = cfg.ConfigOpts()
    config([], project='test', default_config_files=[], default_config_dirs=[])
    config.register_opts(file_system.FileSystemBank.OPTIONS['file_system_bank_plugin'], 'file_system_bank_plugin')
    with pytest.raises(exception.ConfigurationError, match='file_system_bank_path is not set'):
        file_system.FileSystemBank(config)


def test_making_or_reading_a_bank_that_is_not_there_makes_no_folder(on_disk, tmp_path):
    assert on_disk.list() == []
    assert not on_disk.exists('/a')
    on_disk.delete('/a/b')
    assert list(tmp_path.iterdir()) == []


def unfinished(bank):
    return [name for name in names(bank) if file_system.UNFINISHED in name]


# --- durable -----------------------------------------------------------------------------------------


@pytest.fixture
def log(monkeypatch):
    """What was done to files, in order: (what, path)."""
    found = []
    fsync, rename, mkdir = os.fsync, os.rename, os.mkdir

    def path(name, folder):
        return str(name) if folder is None else f'{os.readlink(f"/proc/self/fd/{folder}")}/{name}'

    def noting_fsync(handle):
        found.append(('fsync', os.readlink(f'/proc/self/fd/{handle}')))
        fsync(handle)

    def noting_rename(source, target, **folders):
        found.append(('rename', path(target, folders['dst_dir_fd'])))
        rename(source, target, **folders)

    def noting_mkdir(name, *mode, dir_fd=None):
        found.append(('mkdir', path(name, dir_fd)))
        mkdir(name, *mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, 'fsync', noting_fsync)
    monkeypatch.setattr(os, 'rename', noting_rename)
    monkeypatch.setattr(os, 'mkdir', noting_mkdir)
    return found


def test_a_write_syncs_the_file_before_and_the_folder_after_it_gets_its_name(on_disk, log):
    on_disk.put('/a/b', b'1')
    log.clear()
    on_disk.put('/a/b', b'2')
    first, *others = log
    assert first[0] == 'fsync'
    assert first[1].startswith(f'{on_disk.root}/a/{file_system.UNFINISHED}')
    assert others == [('rename', f'{on_disk.root}/a/b'), ('fsync', f'{on_disk.root}/a')]


def test_new_folders_are_durable_before_the_object_gets_its_name(tmp_path, log):
    on_disk = bank_in(tmp_path / 'new')
    on_disk.put('/a/b/c', b'1')
    renamed = log.index(('rename', f'{on_disk.root}/a/b/c'))
    for folder in (tmp_path / 'new', on_disk.root, on_disk.root / 'a', on_disk.root / 'a/b'):
        made = log.index(('mkdir', str(folder)))
        assert ('fsync', str(folder.parent)) in log[made:renamed]


def test_a_delete_is_durable(on_disk, log):
    on_disk.put('/a/b', b'1')
    log.clear()
    on_disk.delete('/a/b')
    assert log == [('fsync', f'{on_disk.root}/a')]


def test_a_file_system_that_cannot_sync_folders_is_good_enough(on_disk, monkeypatch):
    fsync = os.fsync

    def fails_for_folders(handle):
        if os.path.isdir(f'/proc/self/fd/{handle}'):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(handle)

    monkeypatch.setattr(os, 'fsync', fails_for_folders)
    on_disk.put('/a/b', b'1')
    assert on_disk.get('/a/b') == b'1'


# --- interrupted -------------------------------------------------------------------------------------

KILLED = """
import os, pathlib, signal, sys
from karbor.tests.banks.conftest import file_system as bank_in
bank = bank_in(pathlib.Path(sys.argv[1]))
def dies(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
def data():
    yield b'new' * 100_000
    if sys.argv[2] == 'writing':
        dies()
os.rename = dies
bank.put(sys.argv[3], data())
"""


@pytest.mark.parametrize('moment', ['writing', 'renaming'])
@pytest.mark.parametrize('key', ['/a/b', '/new/folder/c'])
def test_a_process_that_is_killed_leaves_nothing_visible(tmp_path, moment, key):
    on_disk = bank_in(tmp_path)
    on_disk.put('/a/b', b'old')
    ended = subprocess.run([sys.executable, '-c', KILLED, str(tmp_path), moment, key], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert on_disk.list() == ['/a/b']
    assert on_disk.get('/a/b') == b'old'
    assert len(unfinished(on_disk)) == 1
    on_disk.delete(key)
    on_disk.delete('/a/b')
    assert names(on_disk) == []


def test_what_is_still_being_written_is_not_taken_for_left_behind(on_disk):
    def data():
        yield b'new'
        on_disk.delete('/a/b')
        on_disk.delete('/a/none')
        assert len(unfinished(on_disk)) == 1
        yield b' value'

    on_disk.put('/a/b', b'old')
    on_disk.put('/a/c', data())
    assert on_disk.get('/a/c') == b'new value'
    assert names(on_disk) == ['a', 'a/c']


# --- faults ------------------------------------------------------------------------------------------


def failing_on_fsync(number, monkeypatch):
    def fails(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, 'fsync', fails)


def test_a_full_disk_leaves_the_old_value_and_tells_no_path(on_disk, monkeypatch, tmp_path):
    on_disk.put('/a/b', b'old')
    before = names(on_disk)
    failing_on_fsync(errno.ENOSPC, monkeypatch)
    with pytest.raises(exception.BankUnavailable) as caught:
        on_disk.put('/a/b', b'new')
    assert caught.value.text == 'bank: the file system failed (No space left on device)'
    assert on_disk.get('/a/b') == b'old'
    assert names(on_disk) == before


def test_a_disk_that_gets_full_while_it_is_written_leaves_nothing(on_disk):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    on_disk.put('/a/b', b'old')
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        with pytest.raises(exception.BankUnavailable, match='File too large'):
            on_disk.put('/a/b', (b'x' * 2**19 for _ in range(10)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    assert on_disk.get('/a/b') == b'old'
    assert names(on_disk) == ['a', 'a/b']


@pytest.mark.parametrize('blocked', ['above', 'above/karbor'])
def test_a_file_in_place_of_the_folder_of_the_bank_is_a_fault_without_its_path(tmp_path, blocked):
    on_disk, path = bank_in(tmp_path / 'above'), tmp_path / blocked
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b'kept')
    for failing in (
        lambda: on_disk.put('/a/b', b''),
        on_disk.list,
        lambda: on_disk.get('/a/b'),
        lambda: on_disk.delete('/a'),
    ):
        with pytest.raises(exception.BankUnavailable) as caught:
            failing()
        assert '/' not in caught.value.text
    assert path.read_bytes() == b'kept'


@pytest.mark.parametrize('blocked', ['a', 'a/b'])
def test_a_file_where_a_folder_of_keys_should_be_is_told_and_stays(on_disk, blocked):
    on_disk.put(f'/{blocked}', b'kept')
    with pytest.raises(exception.BankKeyInvalid) as caught:
        on_disk.put('/a/b/c', b'')
    assert str(on_disk.root) not in caught.value.text
    assert names(on_disk) == ['a', 'a/b'][: blocked.count('/') + 1]
    assert on_disk.get(f'/{blocked}') == b'kept'


def test_a_read_that_fails_is_a_fault_of_the_bank(on_disk):
    on_disk.put('/a', b'value')
    broken = os.open('/proc/self/mem', os.O_RDONLY)  # nothing is mapped at its begin: reading that is an I/O error
    try:
        with on_disk.open('/a') as stream:
            os.dup2(broken, stream.fileno())
            for read in (lambda: stream.read(), lambda: stream.read(3)):
                with pytest.raises(exception.BankUnavailable, match='Input/output error'):
                    read()
    finally:
        os.close(broken)


def test_a_folder_that_cannot_be_read_is_a_fault_not_an_empty_listing(on_disk, monkeypatch):
    on_disk.put('/a/b', b'')
    scandir = os.scandir

    def fails(folder):
        if os.readlink(f'/proc/self/fd/{folder}').endswith('/a'):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), '/a/path')
        return scandir(folder)

    monkeypatch.setattr(os, 'scandir', fails)
    with pytest.raises(exception.BankUnavailable) as caught:
        on_disk.list()
    assert caught.value.text == 'bank: the file system failed (Permission denied)'


# --- away or new -------------------------------------------------------------------------------------

ASKED = {
    'put': lambda bank: bank.put('/a/b', b'new'),
    'get': lambda bank: bank.get('/a/b'),
    'list': lambda bank: bank.list('/a/'),
    'delete': lambda bank: bank.delete('/a/b'),
}


@pytest.fixture(params=['missing', 'path missing', 'empty', 'something else'])
def unmounted(request, tmp_path):
    """Call it with a bank in ``tmp_path``/bank: its file system is not mounted; then call what it returned."""

    def unmount(bank):
        taken = bank.root if request.param in ('empty', 'missing') else bank.root.parent
        taken.rename(tmp_path / 'aside')
        if request.param != 'missing' and request.param != 'path missing':
            bank.root.mkdir(parents=True)
        if request.param == 'something else':
            (bank.root / 'lost+found').mkdir()
            (bank.root / '.not-mounted').touch()
        before = sorted(tmp_path.rglob('*'))

        def mount():
            assert sorted(tmp_path.rglob('*')) == before
            shutil.rmtree(taken, ignore_errors=True)
            (tmp_path / 'aside').rename(taken)

        return mount

    return unmount


@pytest.mark.parametrize('ask', ASKED.values(), ids=ASKED)
@pytest.mark.parametrize('who', ['the one that wrote', 'the one that read', 'another'])
def test_a_bank_whose_folder_is_not_mounted_is_away_and_nothing_is_made(tmp_path, unmounted, ask, who):
    on_disk = bank_in(tmp_path / 'bank')
    on_disk.put('/a/b', b'old')
    if who != 'the one that wrote':
        on_disk = bank_in(tmp_path / 'bank')
    if who == 'the one that read':
        assert on_disk.get('/a/b') == b'old'
    if who == 'another':
        on_disk.was_used = lambda: True
    mount = unmounted(on_disk)
    with pytest.raises(exception.BankUnavailable) as caught:
        ask(on_disk)
    assert caught.value.text == 'bank: the folder of the bank is gone'
    mount()
    assert on_disk.get('/a/b') == b'old'


@pytest.mark.parametrize('was_used', [True, False])
def test_a_bank_is_not_away_when_its_last_object_is_deleted(tmp_path, was_used):
    first, second = bank_in(tmp_path), bank_in(tmp_path)
    second.was_used = lambda: was_used
    first.put('/a/b', b'1')
    first.delete('/a/b')
    for on_disk in (first, second):
        assert on_disk.list() == []
        on_disk.put('/a/c', b'2')
        on_disk.delete('/a/c')
    assert names(first) == []


@pytest.mark.parametrize('is_there', [True, False])
def test_a_new_bank_is_made_when_it_is_first_written_to(tmp_path, is_there):
    on_disk = bank_in(tmp_path)
    if is_there:
        on_disk.root.mkdir()
    assert on_disk.list() == []
    on_disk.delete('/a/b')
    on_disk.put('/a/b', b'1')
    assert bank_in(tmp_path).get('/a/b') == b'1'


def test_a_bank_that_another_worker_begins_at_this_moment_is_not_away(tmp_path):
    on_disk = bank_in(tmp_path)

    def another_begins():
        bank_in(tmp_path).put('/a/b', b'1')
        return True

    on_disk.was_used = another_begins
    assert on_disk.get('/a/b') == b'1'


def test_a_bank_of_karbor_1_6_has_no_mark_and_is_marked_when_it_is_written_to(tmp_path):
    on_disk = bank_in(tmp_path)
    on_disk.was_used = lambda: True
    (on_disk.root / 'checkpoints/c').mkdir(parents=True)
    (on_disk.root / 'checkpoints/c/index.json').write_bytes(b'{}')
    assert on_disk.list() == ['/checkpoints/c/index.json']
    assert not (on_disk.root / root.MARK).exists()
    on_disk.put('/checkpoints/d/index.json', b'{}')
    assert (on_disk.root / root.MARK).exists()
    on_disk.delete('/checkpoints/c/index.json')
    on_disk.delete('/checkpoints/d/index.json')
    assert on_disk.list() == []


def test_an_empty_folder_is_taken_for_the_bank_when_the_operator_marks_it(tmp_path):
    on_disk = bank_in(tmp_path)
    on_disk.was_used = lambda: True
    on_disk.root.mkdir()
    (on_disk.root / root.MARK).touch()
    on_disk.put('/a/b', b'1')
    assert on_disk.list() == ['/a/b']


def test_the_log_has_one_line_when_the_bank_is_away_and_one_when_it_is_back(tmp_path, caplog):
    on_disk = bank_in(tmp_path)
    on_disk.put('/a/b', b'1')
    on_disk.root.rename(tmp_path / 'aside')
    for _ in range(3):
        with pytest.raises(exception.BankUnavailable):
            on_disk.get('/a/b')
    (tmp_path / 'aside').rename(on_disk.root)
    for _ in range(3):
        on_disk.get('/a/b')
    away, back = [record.getMessage() for record in caplog.records]
    assert away.startswith(f'The bank {on_disk.root} is not there')
    assert back == f'The bank {on_disk.root} is there again.'


# --- what lies there besides -------------------------------------------------------------------------


@pytest.mark.parametrize('where', ['a', 'a/b'])
def test_a_link_to_a_folder_is_never_followed(on_disk, tmp_path, where):
    outside = tmp_path / 'outside'
    (outside / 'b').mkdir(parents=True)
    (outside / 'b/c').write_bytes(b'secret')
    on_disk.put('/x', b'')
    link = on_disk.root / where
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside if where == 'a' else outside / 'b')
    with pytest.raises(exception.BankObjectNotFound):
        on_disk.get('/a/b/c')
    for key in ('/a/b/c', '/a/b/new'):
        with pytest.raises(exception.BankKeyInvalid):
            on_disk.put(key, b'new')
    on_disk.delete('/a/b/c')
    assert on_disk.list() == ['/x']
    assert on_disk.list('/a/b/') == []
    assert [path.name for path in (outside / 'b').iterdir()] == ['c']
    assert (outside / 'b/c').read_bytes() == b'secret'


def test_a_link_to_a_file_is_not_read_and_what_it_leads_to_not_written(on_disk, tmp_path):
    secret = tmp_path / 'secret'
    secret.write_bytes(b'secret')
    on_disk.put('/a/b', b'')
    (on_disk.root / 'a/link').symlink_to(secret)
    assert not on_disk.exists('/a/link')
    assert on_disk.list() == ['/a/b']
    on_disk.put('/a/link', b'new')
    assert on_disk.get('/a/link') == b'new'
    assert secret.read_bytes() == b'secret'


def test_a_pipe_is_no_object_and_blocks_nobody(on_disk):
    on_disk.put('/a/b', b'')
    os.mkfifo(on_disk.root / 'a/pipe')
    assert not on_disk.exists('/a/pipe')
    assert on_disk.list() == ['/a/b']


def test_the_folder_of_the_bank_may_be_a_link_itself(tmp_path):
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'elsewhere')
    on_disk = bank_in(tmp_path / 'link')
    on_disk.put('/a/b', b'1')
    assert on_disk.list() == ['/a/b']
    assert (tmp_path / 'elsewhere/karbor/a/b').read_bytes() == b'1'


def test_what_is_not_of_the_bank_is_not_listed(on_disk):
    on_disk.put('/a/b', b'1')
    (on_disk.root / 'lost+found').mkdir()
    (on_disk.root / 'lost+found/#123').write_bytes(b'')
    (on_disk.root / 'a/.nfs000000000002a3c500000001').write_bytes(b'')
    (on_disk.root / 'a/b~').write_bytes(b'')
    (on_disk.root / 'a/ü').write_bytes(b'')
    (on_disk.root / 'empty').mkdir()
    assert on_disk.list() == ['/a/b']
    with pytest.raises(exception.BankKeyInvalid):
        on_disk.put('/a/.nfs000000000002a3c500000001', b'')


# --- cost --------------------------------------------------------------------------------------------


def test_a_big_object_is_never_in_memory_as_a_whole(on_disk):
    tracemalloc.start()
    try:
        on_disk.put('/big', (b'x' * 2**18 for _ in range(80)))
        with on_disk.open('/big') as stream:
            while stream.read(2**18):
                pass
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_a_listing_looks_only_into_folders_that_can_hold_the_prefix(on_disk, monkeypatch):
    for n in range(5):
        on_disk.put(f'/checkpoints/{n}/index.json', b'')
        on_disk.put(f'/checkpoints/{n}/resource-data/r/status', b'')
    looked, scandir = [], os.scandir

    def noting(folder):
        looked.append(os.readlink(f'/proc/self/fd/{folder}').removeprefix(f'{on_disk.root}/checkpoints'))
        return scandir(folder)

    monkeypatch.setattr(os, 'scandir', noting)
    assert on_disk.list('/checkpoints/3/resource-') == ['/checkpoints/3/resource-data/r/status']
    assert looked == ['/3', '/3/resource-data', '/3/resource-data/r']
    looked.clear()
    assert on_disk.list('/checkpoints/', limit=1) == ['/checkpoints/0/index.json']
    assert looked == ['', '/0']
