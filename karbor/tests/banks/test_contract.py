# SPDX-License-Identifier: Apache-2.0
"""What every bank does, whatever it stores in."""

import hashlib
import io
import itertools
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from karbor import exception
from karbor.plugins.banks.interface import Bank, Section, Stored
from karbor.tests.banks.conftest import MAKERS

# Each in order; '/' sorts behind '-' and '.', before digits and letters.
ORDERED = ['/a-b', '/a-b.c', '/a.b', '/a/b', '/a/b-c/d', '/a/b.c', '/a0', '/a@b', '/aB', '/a_b', '/ab/a', '/b']
# '/a/b' and '/a/b/c' cannot both be objects: ORDERED has none of that kind.

BAD_KEYS = [
    '',
    '/',
    'a',
    'a/b',
    '/a/',
    '//a',
    '/a//b',
    '/.',
    '/..',
    '/a/.',
    '/a/..',
    '/a/../b',
    '/./a',
    '/a b',
    '/a\n',
    '/a\0',
    '/ä',
    '/a\\b',
    '/a,b',
    '/a%2e%2e',
    '/' + 'a' * 201,
    '/abcdefgh' * 112,
]


def fill(bank: Bank, keys: list[str]) -> None:
    for key in keys:
        bank.put_text(key, key)


def test_value_is_read_back_when_it_was_put(bank: Bank) -> None:
    binary = bytes(range(256)) * 3
    stored = bank.put('/checkpoints/x/data_1', binary)
    assert bank.get('/checkpoints/x/data_1') == binary
    assert stored == Stored(768, hashlib.sha256(binary).hexdigest())
    assert bank.measure('/checkpoints/x/data_1') == stored


@pytest.mark.parametrize(
    'data', [b'abc', bytearray(b'abc'), memoryview(b'abc'), io.BytesIO(b'abc'), [b'a', b'', b'bc'], iter([b'ab', b'c'])]
)
def test_every_form_of_data_is_stored_when_put(bank: Bank, data: object) -> None:
    if isinstance(data, io.BytesIO):
        data.seek(0)  # a parameter is shared by the banks
    if not isinstance(data, bytes | bytearray | memoryview | io.BytesIO | list):
        data = iter([b'ab', b'c'])
    assert bank.put('/x', data).size == 3  # type: ignore[arg-type]
    assert bank.get('/x') == b'abc'


def test_empty_value_is_an_object_when_put(bank: Bank) -> None:
    assert bank.put('/x', b'') == Stored(0, hashlib.sha256(b'').hexdigest())
    assert bank.exists('/x')
    assert bank.get('/x') == b''


@pytest.mark.parametrize('text', ['available', '', '123', 'null', '"quoted"', 'Grüße, 世界 🦀\n'])
def test_text_is_read_back_as_text_when_it_looks_like_json(bank: Bank, text: str) -> None:
    bank.put_text('/x', text)
    assert bank.get_text('/x') == text
    assert bank.get('/x') == text.encode()


@pytest.mark.parametrize('value', [None, True, 0, 1.5, 'text', [], {}, {'ключ': [1, {'b': None}], 'text': '🦀'}])
def test_json_is_read_back_when_put(bank: Bank, value: object) -> None:
    bank.put_json('/x', value)
    assert bank.get_json('/x') == value


def test_bank_error_is_raised_when_text_or_json_is_none(bank: Bank) -> None:
    bank.put('/x', b'\xff{')
    with pytest.raises(exception.BankError):
        bank.get_text('/x')
    with pytest.raises(exception.BankError):
        bank.get_json('/x')


def test_new_value_replaces_the_old_when_put_again(bank: Bank) -> None:
    bank.put('/x/y', b'long' * 1000)
    old = bank.open('/x/y')
    bank.put('/x/y', b'short')
    assert bank.get('/x/y') == b'short'
    with old:
        assert old.read() == b'long' * 1000
    assert bank.list() == ['/x/y']


def test_stream_is_read_in_parts_when_opened(bank: Bank) -> None:
    bank.put('/x', b'abcdefgh')
    with bank.open('/x') as stream:
        assert [stream.read(3), stream.read(3), stream.read()] == [b'abc', b'def', b'gh']
        assert stream.read(3) == b''


def test_missing_object_is_told_when_read(bank: Bank) -> None:
    fill(bank, ['/a/b'])
    for key in ('/b', '/a', '/a/c', '/a/b/c', '/c/d/e'):
        assert not bank.exists(key)
        for read in (bank.get, bank.open, bank.get_text, bank.get_json, bank.measure):
            with pytest.raises(exception.BankObjectNotFound):
                read(key)


def test_object_is_gone_when_deleted_and_again_harmless(bank: Bank) -> None:
    fill(bank, ['/a/b', '/a/c'])
    for _ in range(2):
        bank.delete('/a/b')
        assert not bank.exists('/a/b')
    bank.delete('/a')
    bank.delete('/a/c/d')
    assert bank.list() == ['/a/c']
    bank.delete('/a/c')
    assert bank.list() == []
    bank.put('/a', b'an object where a folder was')
    assert bank.list() == ['/a']


def test_key_is_refused_when_another_object_lies_above_or_below(bank: Bank) -> None:
    fill(bank, ['/a/b', '/a/b.c'])
    for key in ('/a', '/a/b/c', '/a/b/c/d'):
        with pytest.raises(exception.BankKeyInvalid):
            bank.put(key, b'')
    assert bank.list() == ['/a/b', '/a/b.c']
    assert bank.get_text('/a/b') == '/a/b'


def test_list_is_in_order_of_whole_keys_when_folders_and_objects_mix(bank: Bank) -> None:
    keys = [key for key in ORDERED if key != '/a/b']
    assert keys == sorted(keys)
    fill(bank, keys[::-1])
    assert bank.list() == keys
    assert bank.list(reverse=True) == keys[::-1]
    assert bank.list('/a/') == ['/a/b-c/d', '/a/b.c']
    assert bank.list('/a/b.') == ['/a/b.c']
    assert bank.list('/a') == [key for key in keys if key.startswith('/a')]
    assert bank.list('/nothing/here') == []


@pytest.mark.parametrize('reverse', [False, True])
@pytest.mark.parametrize('limit', [1, 2, 5])
def test_pages_make_up_the_whole_when_the_last_key_is_the_marker(bank: Bank, limit: int, reverse: bool) -> None:
    keys = sorted(f'/i/{d}/{n}@x' for d in ('a', 'a.b', 'a-b', 'b') for n in range(4))
    fill(bank, keys)
    seen: list[str] = []
    while page := bank.list('/i/', limit, seen[-1] if seen else None, reverse):
        assert len(page) <= limit
        seen += page
    assert seen == (keys[::-1] if reverse else keys)


def test_list_goes_on_behind_the_marker_when_it_is_no_object(bank: Bank) -> None:
    fill(bank, ['/a/1', '/a/3'])
    assert bank.list('/a/', marker='/a/2') == ['/a/3']
    assert bank.list('/a/', marker='/a/2', reverse=True) == ['/a/1']
    assert bank.list('/a/', marker='/a/1/z') == ['/a/3']
    assert bank.list('/a/', marker='/b') == []
    assert bank.list('/a/', marker='/a', limit=0) == []


def test_stream_is_stored_in_parts_when_it_is_big(on_disk: Bank) -> None:
    import tracemalloc

    part, parts = b'x' * 64 * 1024, 320  # 20 MB
    tracemalloc.start()
    try:
        stored = on_disk.put('/big', itertools.repeat(part, parts))
        assert on_disk.measure('/big') == stored
        with on_disk.open('/big') as stream:
            assert on_disk.put('/copy', stream) == stored
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert stored.size == 20 * 1024 * 1024
    assert peak < 5 * 1024 * 1024


def test_old_value_stays_when_the_source_fails(bank: Bank) -> None:
    def failing():
        yield b'half'
        raise ConnectionResetError('of the source, not of the bank')

    bank.put('/a/x', b'old')
    for key in ('/a/x', '/a/y', '/b/c/d'):
        with pytest.raises(ConnectionResetError):
            bank.put(key, failing())
    with pytest.raises(TypeError):
        bank.put('/a/x', 'text')  # type: ignore[arg-type]
    assert bank.list() == ['/a/x']
    assert bank.get('/a/x') == b'old'


def test_readers_see_whole_values_when_one_is_overwritten(bank: Bank) -> None:
    values = [bytes([n]) * 300_000 for n in range(40)]
    bank.put('/x', values[0])
    done = threading.Event()

    def read() -> int:
        times = 0
        while not done.is_set() or not times:
            found = bank.get('/x')
            assert len(found) == 300_000 and len(set(found)) == 1
            times += 1
        return times

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for value in values:
                bank.put('/x', [value[:1], value[1:]])
        finally:
            done.set()
        assert all(reader.result() for reader in readers)


def test_nothing_is_lost_when_eight_threads_write_and_delete(bank: Bank) -> None:
    """All in the same few folders, which vanish and come back all the time."""

    def work(n: int) -> None:
        for turn in range(25):
            bank.put_text(f'/r/{turn % 2}/d/{n}', f'{n} {turn}')
            assert bank.get_text(f'/r/{turn % 2}/d/{n}') == f'{n} {turn}'
            bank.delete(f'/r/{turn % 2}/d/{n}')
        bank.put_text(f'/r/0/d/{n}', str(n))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert bank.list() == [f'/r/0/d/{n}' for n in range(8)]
    assert [bank.get_text(key) for key in bank.list()] == list('01234567')


def test_one_of_the_values_wins_when_eight_threads_write_one_key(bank: Bank) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: bank.put('/one/key', bytes([n]) * 10_000), range(64)))
    assert len(set(bank.get('/one/key'))) == 1
    assert bank.list() == ['/one/key']


@pytest.mark.parametrize('key', BAD_KEYS)
def test_key_is_refused_when_it_is_none(bank: Bank, key: str) -> None:
    for call in (bank.get, bank.open, bank.delete, bank.exists, bank.measure):
        with pytest.raises(exception.BankKeyInvalid):
            call(key)
    with pytest.raises(exception.BankKeyInvalid):
        bank.put(key, b'x')
    with pytest.raises(exception.BankKeyInvalid):
        bank.list(marker=key)
    assert bank.list() == []


@pytest.mark.parametrize('prefix', ['', 'a', '/../', '/a/../b', '//', '/a//', '/./', '/a b', '/a\n', '/' + 'a' * 201])
def test_prefix_is_refused_when_no_key_can_begin_so(bank: Bank, prefix: str) -> None:
    with pytest.raises(exception.BankKeyInvalid):
        bank.list(prefix)


def test_longest_key_is_stored_when_put(bank: Bank) -> None:
    key = ('/' + 'a' * 199) * 5
    bank.put_text(key, 'x')
    assert bank.list(key) == [key]
    bank.delete(key)
    assert bank.list() == []


def test_fault_says_no_path_when_a_key_is_refused(bank: Bank) -> None:
    with pytest.raises(exception.BankKeyInvalid) as caught:
        bank.get('/a/../' + 'x' * 5000)
    assert len(caught.value.text) < 200


def test_deleting_harms_nothing_when_the_key_is_no_object(bank: Bank) -> None:
    bank.put('/a/b', b'1')
    for key in ('/none', '/a', '/a/b/c', '/x/y/z'):
        bank.delete(key)
        assert not bank.exists(key)
    assert bank.list() == ['/a/b']


def test_a_reader_keeps_the_old_value_when_it_is_overwritten_or_deleted(bank: Bank) -> None:
    bank.put('/a', b'old ' * 100_000)
    with bank.open('/a') as first, bank.open('/a') as second:
        begin = first.read(4)
        bank.put('/a', b'new')
        assert begin + first.read() == b'old ' * 100_000
        bank.delete('/a')
        assert second.read() == b'old ' * 100_000


@pytest.mark.parametrize('fault', [OSError(5, 'of the source'), KeyboardInterrupt()])
def test_a_fault_of_the_source_is_raised_as_it_is_when_it_looks_like_one_of_the_bank(bank: Bank, fault) -> None:
    def failing():
        yield b'new'
        raise fault

    with pytest.raises(type(fault)) as caught:
        bank.put('/a/b', failing())
    assert caught.value is fault
    assert bank.list() == []


def test_old_value_stays_when_the_new_one_is_no_json_or_bytes(bank: Bank) -> None:
    bank.put_json('/a', 1)
    pairs: list[tuple[Any, Any]] = [(bank.put_json, object()), (bank.put, ['text'])]
    for put, value in pairs:
        with pytest.raises(TypeError):
            put('/a', value)
    assert bank.get_json('/a') == 1


# --- a section -----------------------------------------------------------------------------------------


def test_section_sees_its_own_objects_only_when_used(bank: Bank) -> None:
    section, other = Section(bank, '/c/x/resource-data/r'), Section(bank, '/c/x/resource-data/r2')
    other.put_text('status', 'error')
    stored = section.put('data_1', b'\0\xff')
    section.put_json('metadata', {'a': 1})
    section.put_text('status', 'available')
    assert bank.get('/c/x/resource-data/r/status') == b'available'
    assert section.list() == ['data_1', 'metadata', 'status']
    assert section.list('da') == ['data_1']
    assert section.list(limit=1, marker='data_1') == ['metadata']
    assert section.list(reverse=True, marker='status') == ['metadata', 'data_1']
    assert section.measure('data_1') == stored
    assert section.get('data_1') == section.open('data_1').read() == b'\0\xff'
    assert (section.get_json('metadata'), section.get_text('status')) == ({'a': 1}, 'available')
    section.delete('status')
    assert not section.exists('status')
    assert other.get_text('status') == 'error'


@pytest.mark.parametrize('name', ['', '..', '../r2/status', '/status', 'a/../../r2/status', '.', 'a/', '/../../x'])
def test_name_is_refused_when_it_leaves_the_section(bank: Bank, name: str) -> None:
    section = Section(bank, '/c/r')
    with pytest.raises(exception.BankKeyInvalid):
        section.put(name, b'x')
    with pytest.raises(exception.BankKeyInvalid):
        section.get(name)
    assert bank.list() == []


@pytest.mark.parametrize('resource_key', ['..', '.', '', '../../y/resource-data/z', 'a/', 'a b'])
def test_section_is_refused_when_its_prefix_is_no_key(bank: Bank, resource_key: str) -> None:
    with pytest.raises(exception.BankKeyInvalid):
        Section(bank, f'/checkpoints/x/resource-data/{resource_key}')


# --- properties ----------------------------------------------------------------------------------------

segments = st.text('ab.-@_0B', min_size=1, max_size=3).filter(lambda s: s not in ('.', '..'))
keys = st.lists(segments, min_size=1, max_size=3).map(lambda parts: '/' + '/'.join(parts))
commands = st.lists(st.tuples(st.sampled_from(['put', 'put', 'delete']), keys), max_size=25)
prefixes = st.one_of(st.just('/'), keys, keys.map(lambda key: key + '/'), keys.map(lambda key: key[:-1] or '/'))
lists = st.tuples(prefixes, st.none() | st.integers(0, 5), st.none() | keys, st.booleans())


@pytest.mark.parametrize('make', MAKERS.values(), ids=MAKERS)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(commands=commands, lists=st.lists(lists, min_size=1, max_size=6))
def test_list_equals_a_sorted_dict_when_anything_is_put_and_deleted(make, commands, lists) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bank, model = make(Path(folder)), dict[str, str]()
        for n, (command, key) in enumerate(commands):
            nested = [k for k in model if k.startswith(f'{key}/') or key.startswith(f'{k}/')]
            if command == 'delete':
                bank.delete(key)
                model.pop(key, None)
            elif nested:
                with pytest.raises(exception.BankKeyInvalid):
                    bank.put_text(key, str(n))
            else:
                bank.put_text(key, str(n))
                model[key] = str(n)
        assert {key: bank.get_text(key) for key in bank.list()} == model
        for prefix, limit, marker, reverse in lists:
            found = sorted((k for k in model if k.startswith(prefix)), reverse=reverse)
            if marker is not None:
                found = [k for k in found if (k < marker if reverse else k > marker)]
            if not prefix.endswith(('/.', '/..')):
                assert bank.list(prefix, limit, marker, reverse) == found[:limit]


hostile = st.one_of(
    st.text(max_size=20),
    st.text('/.\\a\0%', max_size=12),
    st.lists(st.sampled_from(['..', '.', '', 'a', '/', '~', '\n', 'outside']), max_size=6).map('/'.join),
)


@settings(max_examples=300, deadline=None)
@given(text=hostile)
def test_nothing_is_written_outside_when_a_resource_id_is_anything(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, 'outside').write_text('kept')
        bank = MAKERS['file_system'](Path(folder))
        for key in (text, f'/{text}', f'/checkpoints/x/resource-data/{text}/status'):
            try:
                bank.put_text(key, 'new')
            except exception.BankKeyInvalid:
                continue
            assert bank.get_text(key) == 'new'
            assert key in bank.list()
            assert key.startswith('/') and not {'', '.', '..'} & set(key[1:].split('/'))
            bank.delete(key)
        assert {path.name for path in Path(folder).iterdir()} <= {'outside', 'karbor'}
        assert Path(folder, 'outside').read_text() == 'kept'
