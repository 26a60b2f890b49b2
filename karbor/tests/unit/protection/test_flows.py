# SPDX-License-Identifier: Apache-2.0
"""A database that goes away for a moment, at each step of the flow: the operation goes on as if it had not."""

import pytest
from oslo_db import exception as db_exception

from karbor import exception
from karbor.protection import cleanup, flows, graph
from karbor.protection import run as runs
from karbor.protection.wave import Wave
from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.service import Service
from karbor.tests.unit.protection.test_operations import checkpoint, operation

FAULTS = [db_exception.DBConnectionError('gone'), db_exception.DBDeadlock('told to try again')]


@pytest.fixture
def backend():
    return backends.Backend()


@pytest.fixture
def service(database, backend, monkeypatch):
    monkeypatch.setattr('karbor.protection.conductor.AGAIN_SECONDS', 0.05)
    made = Service(backend, [backends.protection(backend)])
    yield made
    made.conductor.stop(5)


@pytest.fixture
def away_at(monkeypatch):
    """away_at(owner, name, fault) lets the first call of that name raise; what it returns is empty once it has."""

    def prepare(owner, name, fault):
        usual, left = getattr(owner, name), [fault]

        def failing(*arguments, **named):
            if left:
                raise left.pop()
            return usual(*arguments, **named)

        monkeypatch.setattr(owner, name, failing)
        return left

    return prepare


@pytest.mark.parametrize('fault', FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize(
    ('owner', 'name'),
    [(runs.Run, 'guarded'), (graph, 'build'), (Wave, 'work'), (flows, 'finish')],
    ids=['Begin', 'BuildGraph', 'RunHook', 'End'],
)
def test_a_checkpoint_is_made_though_the_database_was_away(service, backend, away_at, owner, name, fault):
    left = away_at(owner, name, fault)
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'), ('Leaf', 'b'))
    assert left == []
    ended = operation(operation_id)
    assert (ended.status, ended.error_info, ended.epoch) == ('available', None, 2)
    assert checkpoint(checkpoint_id).checkpoint_status == 'available'
    assert (len(backend.objects), backend.count('cancel')) == (2, 0)


@pytest.mark.parametrize('fault', FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_restore_reads_its_graph_though_the_database_was_away(service, backend, away_at, fault):
    checkpoint_id, _ = service.protect(('Leaf', 'a'))
    left = away_at(flows, '_add_rows', fault)
    _, operation_id = service.restore(checkpoint_id)
    assert left == []
    ended = operation(operation_id)
    assert (ended.status, ended.error_info, ended.epoch) == ('restored', None, 2)


@pytest.mark.parametrize('fault', FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize(
    ('owner', 'name'), [(runs.Run, 'load_graph'), (cleanup, 'after_failure')], ids=['before', 'while it cleans up']
)
def test_a_failure_keeps_its_reason_though_the_database_was_away(
    service, away_at, monkeypatch, caplog, owner, name, fault
):
    def failing(*_):
        away_left.append(away_at(owner, name, fault))
        raise exception.BackendFault('quota_exceeded', 'backend', detail='one volume too many')

    away_left = []
    monkeypatch.setattr(graph, 'build', failing)
    checkpoint_id, operation_id = service.protect(('Leaf', 'a'))
    assert away_left == [[]]
    ended = operation(operation_id)
    assert (ended.status, ended.epoch) == ('error', 2)
    assert 'one volume too many' in ended.error_info
    assert checkpoint(checkpoint_id).checkpoint_status == 'error'
    ours = [record for record in caplog.records if record.name.startswith('karbor.')]
    assert [record.getMessage() for record in ours if record.levelname == 'ERROR'] == []
