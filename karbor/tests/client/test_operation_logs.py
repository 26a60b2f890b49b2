# SPDX-License-Identifier: Apache-2.0
"""Operation logs by python-karborclient."""

import pytest
from karborclient.common.apiclient import exceptions

COLUMNS = {
    'Id',
    'Operation Type',
    'Checkpoint id',
    'Plan Id',
    'Provider id',
    'Restore Id',
    'Scheduled Operation Id',
    'Status',
    'Started At',
    'Ended At',
    'Error Info',
    'Extra Info',
}


@pytest.fixture(scope='session')
def history(karbor, protected):
    """A restore, one that failed, and their logs' ids, beside the log of the checkpoint."""
    restores, ids = karbor.client().restores, (protected.provider_id, protected.checkpoint.id)
    restored = restores.create(*ids, None, {}, None)
    karbor.ended_restore(restored.id)
    with karbor.fault(service='manila', match='POST /shares$', kind='error_state'):
        failed = restores.create(*ids, None, {}, None)
        karbor.ended_restore(failed.id)
    return {'restored': restored.id, 'failed': failed.id}


def logs_of(karbor, user='demo', **search):
    """The logs that the user finds with these filters."""
    return karbor.client(user).operation_logs.list(search_opts=search)


def test_library_gets_the_log_of_a_checkpoint(karbor, protected):
    (log,) = [log for log in logs_of(karbor, checkpoint_id=protected.checkpoint.id) if log.restore_id is None]
    assert (log.operation_type, log.status) == ('protect', 'available')
    assert (log.plan_id, log.provider_id) == (protected.plan.id, protected.provider_id)
    assert log.project_id == karbor.users['demo']['project_id']
    assert (log.scheduled_operation_id, log.error_info) == (None, None)
    assert log.started_at <= log.ended_at
    found = karbor.client().operation_logs.get(log.id)
    assert (found.status, len(found.resources)) == ('available', len(protected.plan.resources))


def test_library_gets_the_logs_of_restores(karbor, history):
    (log,) = logs_of(karbor, restore_id=history['restored'])
    assert (log.operation_type, log.status, log.error_info) == ('restore', 'restored', None)
    (log,) = logs_of(karbor, restore_id=history['failed'])
    assert (log.operation_type, log.status) == ('restore', 'error-restoring')
    assert 'manila' in log.error_info


def test_library_gets_the_log_of_a_delete(karbor, noop, make_checkpoint):
    id = make_checkpoint().id
    karbor.client().checkpoints.delete(noop.id, id)
    karbor.ended_checkpoint(noop.id, id)
    found = {(log.operation_type, log.status) for log in logs_of(karbor, checkpoint_id=id)}
    assert found == {('protect', 'available'), ('delete', 'deleted')}


@pytest.mark.parametrize(
    ('word', 'restore'),
    [('restored', 'restored'), ('success', 'restored'), ('error-restoring', 'failed'), ('fail', 'failed')],
)
def test_library_filters_logs_by_status_when_it_says_either_word(karbor, history, word, restore):
    found = logs_of(karbor, status=word)
    assert history[restore] in {log.restore_id for log in found}
    assert len({log.status for log in found}) == 1


def test_library_filters_and_pages_logs(karbor, protected, history):
    logs = karbor.client().operation_logs
    assert {log.plan_id for log in logs_of(karbor, plan_id=protected.plan.id)} == {protected.plan.id}
    newest = [log.id for log in logs.list(sort='created_at:desc')]
    assert [log.id for log in logs.list()] == newest
    assert [log.id for log in logs.list(limit=2)] == newest[:2]
    assert [log.id for log in logs.list(limit=2, marker=newest[0])] == newest[1:3]


def test_shell_lists_logs(karbor, history):
    done = karbor.shell('operationlog-list', '--status', 'error-restoring', '--sort', 'created_at:desc', '--limit', '9')
    assert (done.status, done.errors) == (0, '')
    assert set(done.rows[0]) == COLUMNS
    row = next(row for row in done.rows if row['Restore Id'] == history['failed'])
    assert (row['Operation Type'], row['Status'], row['Scheduled Operation Id']) == ('restore', 'error-restoring', '-')
    assert 'manila' in row['Error Info']


def test_shell_shows_a_log(karbor, protected):
    log = logs_of(karbor, checkpoint_id=protected.checkpoint.id)[-1]
    done = karbor.shell('operationlog-show', log.id, user='reader')
    assert (done.status, done.errors) == (0, '')
    assert (done.shown['id'], done.shown['checkpoint_id']) == (log.id, protected.checkpoint.id)
    assert done.shown['status'] == log.status


def test_shell_lists_logs_of_all_projects_for_the_administrator(karbor, protected, history):
    options = ['--tenant', karbor.users['demo']['project_id']]
    rows = karbor.shell('operationlog-list', *options, user='admin').rows
    assert protected.checkpoint.id in {row['Checkpoint id'] for row in rows}
    rows = karbor.shell('operationlog-list', *options, user='other').rows
    assert protected.checkpoint.id not in {row['Checkpoint id'] for row in rows}


def test_library_says_not_found_when_there_is_no_such_log_or_it_is_of_another_project(karbor, history, nowhere):
    id = logs_of(karbor, restore_id=history['restored'])[0].id
    for user, missing in (('demo', nowhere), ('other', id)):
        with pytest.raises(exceptions.NotFound, match=f'Operation log {missing} could not be found'):
            karbor.client(user).operation_logs.get(missing)
    assert logs_of(karbor, 'other', restore_id=history['restored']) == []


def test_library_says_bad_request_when_a_log_is_asked_for_wrongly(karbor, nowhere):
    logs = karbor.client().operation_logs
    for ask in (
        lambda: logs.get('no-uuid'),
        lambda: logs.list(marker=nowhere),
        lambda: logs.list(limit='-1'),
    ):
        with pytest.raises(exceptions.BadRequest):
            ask()


def test_shell_fails_with_the_message_when_there_is_no_such_log(karbor, nowhere):
    done = karbor.shell('operationlog-show', nowhere)
    assert (done.status, done.output) == (1, '')
    assert nowhere in done.errors
    assert 'HTTP 404' in done.errors
