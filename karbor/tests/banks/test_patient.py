# SPDX-License-Identifier: Apache-2.0
"""A bank that is away for a while, as a run of an operation sees it."""

import io
import threading
import time

import pytest

from karbor import exception
from karbor.plugins.banks.memory import MemoryBank
from karbor.plugins.banks.patient import PatientBank
from karbor.tests.banks.conftest import memory


class Stop(Exception):
    """The work is to end."""


class Absent(MemoryBank):
    """A bank that is away for its next ``misses`` calls."""

    misses, calls = 0, 0

    def _missed(self) -> None:
        self.calls += 1
        if self.misses > 0:
            self.misses -= 1
            raise exception.BankUnavailable()

    def _write(self, key, chunks):
        self._missed()
        super()._write(key, chunks)

    def _open(self, key):
        self._missed()
        return super()._open(key)

    def _delete(self, key):
        self._missed()
        super()._delete(key)

    def _list(self, prefix, after, reverse):
        self._missed()
        return super()._list(prefix, after, reverse)


class Biting(MemoryBank):
    """A bank that reads a part of what is to be written, and then is away, once."""

    is_away = True

    def _write(self, key, chunks):
        if self.is_away:
            self.is_away = False
            next(chunks)
            raise exception.BankUnavailable()
        super()._write(key, chunks)


@pytest.fixture
def absent(tmp_path) -> Absent:
    return Absent(memory(tmp_path).config)


def nothing() -> None:
    pass


def test_every_call_is_made_again_until_the_bank_is_there(absent):
    bank = PatientBank(absent, 30, nothing, nothing)
    calls = [
        (lambda: bank.put_text('/a/b', 'text').size, 4),
        (lambda: bank.get_text('/a/b'), 'text'),
        (lambda: bank.open('/a/b').read(), b'text'),
        (lambda: bank.measure('/a/b').size, 4),
        (lambda: bank.exists('/a/b'), True),
        (lambda: bank.list('/a/'), ['/a/b']),
        (lambda: bank.delete('/a/b'), None),
    ]
    for call, answer in calls:
        absent.misses = 1
        assert call() == answer
        assert absent.misses == 0
    assert absent.list('/') == []


def test_patience_is_over_after_its_seconds_and_the_next_call_has_none_left(absent):
    bank, absent.misses = PatientBank(absent, 0.5, nothing, nothing), 10**6
    began = time.monotonic()
    with pytest.raises(exception.BankUnavailable):
        bank.get('/a')
    assert time.monotonic() - began >= 0.25
    made = absent.calls
    assert made > 1
    with pytest.raises(exception.BankUnavailable):
        bank.get('/a')
    assert absent.calls == made + 1
    absent.misses = 0
    assert bank.list('/') == []
    absent.misses = 1
    assert bank.list('/') == []  # one that was back is waited for anew


def test_other_faults_are_told_at_once(absent):
    bank = PatientBank(absent, 30, nothing, nothing)
    with pytest.raises(exception.BankObjectNotFound):
        bank.get('/a')
    with pytest.raises(exception.BankKeyInvalid):
        bank.get('a')
    assert absent.calls == 1


@pytest.mark.parametrize('data', [b'abc', bytearray(b'abc'), [b'a', b'bc'], io.BytesIO(b'abc')])
def test_what_can_be_read_again_is_written_again_as_a_whole(absent, data):
    bank = PatientBank(Biting(absent.config), 30, nothing, nothing)
    assert bank.put('/a', data).size == 3
    assert bank.get('/a') == b'abc'


def test_what_cannot_be_read_again_is_not_written_in_part(absent):
    with pytest.raises(exception.BankUnavailable):
        PatientBank(Biting(absent.config), 30, nothing, nothing).put('/a', (chunk for chunk in (b'a', b'b')))
    bank, absent.misses = PatientBank(absent, 30, nothing, nothing), 1
    assert bank.put('/a', (chunk for chunk in (b'a', b'b'))).size == 2  # nothing of it had been read
    assert absent.get('/a') == b'ab'


def test_waiting_ends_when_the_work_is_to_end(absent):
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Stop

    bank, absent.misses = PatientBank(absent, 600, check, nothing), 10**6
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Stop):
        bank.get('/a')
    assert time.monotonic() - began < 60


def test_nothing_is_changed_when_it_is_not_allowed_any_more(absent):
    def refuse() -> None:
        raise Stop

    absent.put('/a', b'old')
    bank = PatientBank(absent, 30, nothing, refuse)
    for change in (lambda: bank.put('/a', b'new'), lambda: bank.delete('/a')):
        with pytest.raises(Stop):
            change()
    assert bank.get('/a') == b'old'
