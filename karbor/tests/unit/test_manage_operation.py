# SPDX-License-Identifier: Apache-2.0
"""`karbor-manage operation`, in this process, and once as an operator types it."""

import datetime
import os
import subprocess
import sys
import threading
import time
import uuid

import orjson
import pytest
from oslo_utils import timeutils

from karbor import exception
from karbor.cmd.manage import operation
from karbor.cmd.manage.command import CommandError
from karbor.db import folding, models, repository

LATER = datetime.datetime(2200, 1, 1)


def post(owner='node7:1:abc', lease=60.0, resources=(), **values):
    id = str(uuid.uuid4())
    told = {'project_id': 'project', 'operation_type': 'protect', 'provider_id': 'provider', 'status': 'protecting'}
    expires_at = None if owner is None else time.time() + lease
    repository.create(models.OperationLog(id=id, owner=owner, expires_at=expires_at, **told | values))
    for position, status in enumerate(resources):
        row = {'position': position, 'resource_type': 'Leaf', 'resource_id': f'leaf {position}', 'status': status}
        repository.create(models.OperationResource(operation_id=id, **row))
    return id


def cells(text):
    lines = [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines()]
    return [line for line in lines if line]


def listed(capsys, format='table', **options):
    told = {'all': False, 'open': False, 'project': None, 'status': None, 'limit': 100, 'format': format}
    operation.list_(**told | options)
    printed = capsys.readouterr().out
    return orjson.loads(printed) if format == 'json' else cells(printed)


def test_open_operations_are_listed_with_who_has_them_and_how_far_they_are(database, capsys):
    now = timeutils.utcnow()
    ids = [
        post(resources=('active', 'build', 'error', None), epoch=2, created_at=now - datetime.timedelta(hours=3)),
        post('', 0.0),
        post(None, created_at=now - datetime.timedelta(days=400)),
    ]
    ended = post(ended_at=now)
    rows = listed(capsys)
    assert rows[0] == list(operation.COLUMNS.values())
    assert [row[0] for row in rows[1:]] == [ids[2], ids[0], ids[1]]
    of_1_6, running, waiting = rows[1:]
    assert running[1:6] == ['protect', 'project', 'provider', 'protecting', 'node7:1:abc']
    assert running[6].startswith('3:00:')
    assert 50 < float(running[7].removesuffix(' s')) <= 60
    assert running[8:] == ['2', '1', '1 of 4 done, 1 failed']
    assert (waiting[5], waiting[7], waiting[10]) == ('anybody', '-', '-')
    assert (of_1_6[5], of_1_6[6][:8]) == ('nobody (Karbor 1.6)', '400 days')
    assert ended in {row[0] for row in listed(capsys, all=True)[1:]}


def test_operations_are_selected_and_told_as_json(database, capsys):
    wanted = post(project_id='other', status='deleting', operation_type='delete', resources=('active',))
    post(status='deleting')
    post(project_id='other')
    (found,) = listed(capsys, 'json', project='other', status='deleting')
    assert (found['id'], found['owner'], found['progress']) == (
        wanted,
        'node7:1:abc',
        {'number': 1, 'active': 1, 'error': 0},
    )
    assert 0 <= found['age'] < 60 < found['lease_left'] + 10
    assert len(listed(capsys, limit=2)) == 3
    with pytest.raises(CommandError, match='exclude'):
        listed(capsys, all=True, open=True)


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'limit': 0}, '--limit takes 1 or more'),
        ({'limit': -1}, '--limit takes 1 or more'),
        ({'status': 'bogus'}, 'takes one of available, copying, deleted, deleting'),
    ],
)
def test_what_finds_nothing_by_mistake_is_refused_with_what_is_allowed(database, capsys, options, said):
    with pytest.raises(CommandError, match=said):
        listed(capsys, **options)


@pytest.mark.parametrize('is_folded', [False, True])
def test_an_operation_is_shown_with_its_resources(database, capsys, is_folded):
    id = post(resources=('active', 'error'), ended_at=timeutils.utcnow(), error_info='why')
    if is_folded:
        folding.fold(LATER)
    operation.show_(id, 'table')
    shown = cells(capsys.readouterr().out)
    assert ['error_info', 'why'] in shown
    assert [row[1] for row in shown[-2:]] == ['leaf 1', 'leaf 0']
    operation.show_(id, 'json')
    told = orjson.loads(capsys.readouterr().out)
    assert [resource['status'] for resource in told['resources']] == ['error', 'active']
    assert told['progress']['number'] == 2
    with pytest.raises(exception.OperationLogNotFound):
        operation.show_('nowhere', 'table')


def test_recover_tells_what_it_would_do_until_it_is_told_to(database, capsys):
    id = post(None)
    with pytest.raises(CommandError, match=f'With --yes: protect {id} ends as failed: interrupted'):
        operation.recover(id, end=False, yes=False)
    assert repository.get(models.OperationLog, id).ended_at is None
    operation.recover(id, end=False, yes=True)
    assert 'ends as failed' in capsys.readouterr().out
    assert repository.get(models.OperationLog, id).status == 'error'


def test_cancel_asks_and_waits_for_the_end(database, capsys):
    id = post()
    operation.cancel(id, 0.0)
    assert capsys.readouterr().out == f'Operation {id} is asked to end.\n'
    assert repository.get(models.OperationLog, id).cancel_requested
    with pytest.raises(CommandError, match='has not ended within 0.1 seconds'):
        operation.cancel(id, 0.1)
    end = {'ended_at': timeutils.utcnow(), 'status': 'error'}
    timer = threading.Timer(0.3, repository.update, (models.OperationLog, id, end))
    timer.start()
    operation.cancel(id, 30.0)
    timer.join()
    assert capsys.readouterr().out == f'Operation {id} has ended: it is error.\n'
    with pytest.raises(exception.Conflict, match='has ended: it is error'):
        operation.cancel(id, 0.0)


def test_one_line_and_status_1_tell_the_operator_of_a_refusal(database, tmp_path):
    id = post()
    command = [sys.executable, '-m', 'karbor.cmd.manage', 'operation', 'recover', id]
    (tmp_path / 'karbor.conf').write_text(f'[database]\nconnection = sqlite:///{tmp_path}/karbor.sqlite\n')
    command[3:3] = [f'--config-file={tmp_path}/karbor.conf']
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f'karbor-manage: node7:1:abc has operation {id}: its lease lasts another ')
    assert len(ended.stderr.splitlines()) == 1
