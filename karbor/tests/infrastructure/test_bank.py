# SPDX-License-Identifier: Apache-2.0
"""The bank cannot be reached for a while: an operation waits for it, or fails and can be asked for again."""

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import oslo_messaging as messaging
import pytest
from oslo_config import cfg

from karbor import exception
from karbor.db import models, repository
from karbor.objects.restore import Restore
from karbor.plugins.banks.file_system import FileSystemBank
from karbor.protection.provider import Providers
from karbor.tests.banks.conftest import file_system
from karbor.tests.infrastructure import work
from karbor.tests.services.user import checkpoints_of
from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.service import PROVIDER, Service

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

CONF = cfg.CONF
AWAY_SECONDS = 10
MANY = 100
HOW = ['gone', 'a file']


@contextlib.contextmanager
def away(root: Path, how: str) -> Iterator[None]:
    """Within the block the folder cannot be reached: it is not there, as when it is not mounted, or is none."""
    aside = root.with_name('aside')
    root.rename(aside)
    if how == 'a file':
        root.write_text('not a folder')
    try:
        yield
    finally:
        root.unlink(missing_ok=True)
        aside.rename(root)


@pytest.mark.parametrize('server', ['mariadb'], indirect=True)
@pytest.mark.parametrize('how', HOW)
def test_operation_ends_as_ever_when_the_bank_is_away_for_seconds(karbor, demo, rows, how):
    root = karbor.bank / 'karbor'
    first = demo.make_checkpoint(work.plan_of(demo, 1))
    work.ended(demo, first)
    made = demo.make_checkpoint(work.plan_of(demo, MANY))
    karbor.until(lambda: len(karbor.cloud.objects()) > 10, 'work begins')
    with away(root, how):
        assert not work.is_refused(demo.ask('DELETE', f'{checkpoints_of(first["protection_plan"])}/{first["id"]}'))
        time.sleep(AWAY_SECONDS)
        for checkpoint, word in ((made, 'protecting'), (first, 'deleting')):
            found = rows('SELECT checkpoint_status FROM checkpoint_records WHERE id = :id', id=checkpoint['id'])
            assert found[0].checkpoint_status == word
    work.assert_as_if_nothing_happened(karbor, rows, work.ended(demo, made), MANY)
    assert work.ended(demo, first)['status'] == 'deleted'
    assert not [path for path in root.rglob('*') if first['id'] in path.name]
    kept = [path for path in root.rglob('metadata') if made['id'] in str(path)]
    assert len(kept) == MANY


class Removed(backends.Removed):
    """Also of a checkpoint that holds no copy, as plugins should."""

    def start(self, work):
        with contextlib.suppress(exception.BankObjectNotFound):
            super().start(work)
        return {}


@pytest.fixture
def service(sqlite_database, tmp_path: Path) -> Iterator[Service]:
    """A protection service in this process, whose bank is a folder, and that waits a second for it."""
    backend = backends.Backend()
    CONF.set_override('bank_retry_seconds', 1, 'protection')
    plugin = backends.protection(backend)
    plugin.delete = type('Removed', (Removed,), {'backend': backend})
    made = Service(backend, [plugin])
    made.provider.bank = file_system(tmp_path)
    yield made
    made.conductor.stop(5)
    CONF.clear_override('bank_retry_seconds', 'protection')


def _root(service: Service) -> Path:
    assert isinstance(service.provider.bank, FileSystemBank)
    return service.provider.bank.root


def _state(checkpoint_id: str) -> str:
    row = repository.get(models.CheckpointRecord, checkpoint_id)
    assert row is not None
    return row.checkpoint_status


def _reason(operation_id: str) -> str:
    row = repository.get(models.OperationLog, operation_id)
    assert row is not None
    return row.error_info or ''


@pytest.mark.parametrize('how', HOW)
def test_protect_fails_and_leaves_nothing_when_the_bank_is_away_for_longer(service, how):
    service.protect(('Leaf', 'first'))
    kept = dict(service.backend.objects)
    service.backend.gate = threading.Event()
    checkpoint, operation = service.protect(('Leaf', 'a'), ('Leaf', 'b'), wait=False)
    _until(lambda: len(service.backend.objects) == len(kept) + 2)
    with away(_root(service), how):
        service.backend.gate.set()
        assert service.conductor.wait_idle(20)
    assert _state(checkpoint) == 'error'
    assert 'bank: the bank cannot be read or written' in _reason(operation)
    assert service.backend.objects == kept
    service.delete(checkpoint)
    assert _state(checkpoint) == 'deleted'
    assert [key for key in service.provider.bank.list('/') if checkpoint in key] == []


@pytest.mark.parametrize('how', HOW)
def test_delete_can_be_repeated_when_the_bank_was_away_for_longer(service, how):
    checkpoint, _ = service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    with away(_root(service), how):
        operation = service.delete(checkpoint)
    assert _state(checkpoint) == 'error-deleting'
    assert 'bank: ' in _reason(operation)
    service.delete(checkpoint)
    assert _state(checkpoint) == 'deleted'
    assert service.backend.objects == {}
    assert service.provider.bank.list('/') == []


def test_restore_fails_with_the_reason_when_the_bank_is_away_for_longer(service):
    checkpoint, _ = service.protect(('Leaf', 'a'))
    repository.delete(models.CheckpointGraph, checkpoint)  # it is in the bank, too
    with away(_root(service), 'gone'):
        restore = Restore.new(provider_id=PROVIDER, checkpoint_id=checkpoint, parameters={})
        operation = str(uuid.uuid4())
        service.manager().restore(service.context, restore, operation)
        assert service.conductor.wait_idle(20)
    assert 'bank: ' in _reason(operation)
    assert _state(checkpoint) == 'available'
    restored, _ = service.restore(checkpoint)
    row = repository.get(models.Restore, restored)
    assert row is not None
    assert row.status == 'success'


@pytest.mark.parametrize('is_new', [True, False], ids=['started', 'idle'])
def test_a_service_that_has_not_seen_the_bank_makes_no_new_one_when_it_is_away(service, tmp_path, is_new):
    root, seen = _root(service), service.provider.bank
    kept, _ = service.protect(('Leaf', 'a'))
    provided = Providers({PROVIDER: service.provider})
    unseen = file_system(tmp_path)
    unseen.was_used = lambda: provided.was_used(PROVIDER, unseen.place)
    service.provider.bank = unseen
    with away(root, 'gone'):
        if is_new:
            service.replace_worker()
        checkpoint, operation = service.protect(('Leaf', 'b'))
        assert _state(checkpoint) == 'error'
        assert 'bank: the bank cannot be read or written' in _reason(operation)
        with pytest.raises(messaging.ExpectedException) as caught:
            service.manager().reset_state(service.context, PROVIDER, kept, 'error')
        assert isinstance(caught.value.exc_info[1], exception.ServiceUnavailable)
        assert not root.exists()
    assert _state(kept) == 'available'
    assert [key for key in seen.list('/') if checkpoint in key] == []
    service.delete(kept)
    assert _state(kept) == 'deleted'


def test_waiting_for_the_bank_ends_when_the_service_stops(service):
    CONF.set_override('bank_retry_seconds', 60, 'protection')
    checkpoint, _ = service.protect(('Leaf', 'a'))
    with away(_root(service), 'gone'):
        operation = str(uuid.uuid4())
        service.manager().delete(service.context, PROVIDER, checkpoint, operation)
        time.sleep(1)
        began = time.monotonic()
        service.conductor.stop(30)
        assert time.monotonic() - began < 10
    assert _state(checkpoint) == 'deleting'
    service.conductor = service.worker()
    service.conductor.start()
    assert service.conductor.wait_idle(20)
    assert _state(checkpoint) == 'deleted'
    assert service.backend.objects == {}


def _until(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
