# SPDX-License-Identifier: Apache-2.0
import datetime
import itertools
import uuid
from functools import cmp_to_key

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from karbor.db import engine, models, repository
from karbor.db.repository import Between, Contains, Not, OneOf

Plan = models.Plan


def _plan(**values):
    return repository.create(Plan(**({'id': str(uuid.uuid4()), 'project_id': 'p', 'status': 'suspended'} | values)))


def _row(model, id, **filters):
    found = repository.get(model, id, **filters)
    assert found is not None
    return found


def _locked_name(id):
    found = repository.lock(Plan, id)
    assert found is not None
    return found.name


def _ids(**filters):
    return {row.id for row in repository.find(Plan, filters=filters)}


# --- paging -------------------------------------------------------------------------------------

# ASCII lower case without blanks: what every collation sorts alike.
_NAMES = (None, 'a', 'b', 'c')
_TIMES = (None, datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 1, 0, 0, 0, 1), datetime.datetime(2026, 1, 2))
_COLUMNS = ('description', 'updated_at', 'id')


@pytest.fixture
def many_plans(database):
    """Each of the names at each of the times, three times over: plenty of ties and NULLs."""
    rows = [
        {'id': f'{n:04d}', 'description': name, 'updated_at': at, 'project_id': 'p', 'status': 'x'}
        for n, (name, at, _) in enumerate(itertools.product(_NAMES, _TIMES, range(3)))
    ]
    repository.create_many(Plan, rows)
    return [tuple(row[c] for c in _COLUMNS) for row in rows]


def _sorted(rows, sort):
    """A plain sort, NULL lowest."""

    def compare(one, other):
        for column, direction in sort:
            position = _COLUMNS.index(column)
            a, b = one[position], other[position]
            if a != b:
                lower = b is not None and (a is None or a < b)
                return (-1 if lower else 1) * (1 if direction == 'asc' else -1)
        return 0

    return sorted(rows, key=cmp_to_key(compare))


def _pages(sort, size):
    after, found = None, []
    while page := repository.find(Plan, _COLUMNS, {'project_id': 'p'}, sort, size, after):
        assert len(page) <= size
        found += [tuple(row) for row in page]
        after = page[-1]
    return found


_SORTS = [
    list(zip(columns, directions, strict=True))
    for columns in (
        ('id',),
        ('description', 'id'),
        ('updated_at', 'id'),
        ('description', 'updated_at', 'id'),
        ('updated_at', 'description', 'id'),
    )
    for directions in itertools.product(('asc', 'desc'), repeat=len(columns))
]


def test_pages_are_the_sorted_list_for_every_mix_of_directions(many_plans):
    for sort in _SORTS:
        expected = _sorted(many_plans, sort)
        assert [tuple(row) for row in repository.find(Plan, _COLUMNS, {}, sort)] == expected
        for size in (1, 7):
            assert _pages(sort, size) == expected, (sort, size)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.tuples(st.sampled_from(_NAMES), st.sampled_from(_TIMES)), max_size=12),
    sort=st.sampled_from(_SORTS),
    size=st.integers(1, 5),
)
def test_pages_are_the_sorted_list_whatever_the_rows_are(sqlite_database, values, sort, size):
    with engine.writing() as session:
        session.execute(sa.delete(Plan))
    rows = [
        {'id': f'{n:04d}', 'description': v[0], 'updated_at': v[1], 'project_id': 'p'} for n, v in enumerate(values)
    ]
    repository.create_many(Plan, rows)
    assert _pages(sort, size) == _sorted([tuple(row[c] for c in _COLUMNS) for row in rows], sort)


def test_offset_and_limit_cut_the_list_when_given(many_plans):
    sort = [('id', 'desc')]
    expected = _sorted(many_plans, sort)[5:8]
    assert [tuple(row) for row in repository.find(Plan, _COLUMNS, {}, sort, limit=3, offset=5)] == expected


def test_offset_works_without_a_limit(many_plans):
    found = repository.find(Plan, _COLUMNS, {}, [('id', 'asc')], offset=40)
    assert [tuple(row) for row in found] == _sorted(many_plans, [('id', 'asc')])[40:]


# --- filters ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('text', 'found'),
    [
        ('%', {'100%'}),
        ('_', {'a_b'}),
        ('/', {'a/b'}),
        ('\\', {'a\\b'}),
        ('.', set()),
        ('a', {'a_b', 'a/b', 'a\\b', 'axb'}),
        ('', {'100%', 'a_b', 'a/b', 'a\\b', 'axb'}),
        ("'", set()),
    ],
)
def test_contains_takes_every_character_as_itself(database, text, found):
    for name in ('100%', 'a_b', 'a/b', 'a\\b', 'axb', None):
        _plan(name=name)
    assert {row.name for row in repository.find(Plan, filters={'name': Contains(text)})} == found


def test_filters_find_what_they_say(database):
    early, late = datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 2)
    a, b, c = _plan(name='a', created_at=early).id, _plan(name='b', created_at=late).id, _plan(name=None).id
    assert _ids(name='a') == {a}
    assert _ids(name=None) == {c}
    assert _ids(name=Not(None)) == {a, b}
    assert _ids(name=Not('a')) == {b}
    assert _ids(name=OneOf(('a', 'b'))) == {a, b}
    assert _ids(name=OneOf(())) == set()
    assert _ids(created_at=Between(early, late)) == {a}
    assert _ids(created_at=Between(end=late)) == {a}
    assert _ids(created_at=Between(first=late)) == {b, c}
    assert _ids(created_at=Between()) == {a, b, c}
    assert repository.count(Plan, name=Not(None)) == 2


# --- writing ------------------------------------------------------------------------------------


def test_values_come_back_as_they_were_written(database):
    at = datetime.datetime(2026, 1, 1, 2, 3, 4, 567891)
    document = {'a': [1, 2.5, None, True, 'ü🗄️'], 'b': {'c': 'x' * 70_000}}
    id = _plan(name='🗄️', created_at=at, parameters=document).id
    row = _row(Plan, id)
    assert (row.name, row.created_at, row.parameters) == ('🗄️', at, document)
    assert row.deleted is False


def test_update_changes_nothing_when_the_row_is_not_as_expected(database):
    id = _plan(name='a').id
    assert not repository.update(Plan, id, {'name': 'b'}, status='started')
    assert _row(Plan, id).name == 'a'
    assert repository.update(Plan, id, {'name': 'b'}, status='suspended')
    assert _row(Plan, id).name == 'b'


def test_update_counts_a_row_that_already_has_the_values(database):
    """MySQL could count changed rows instead of matched ones, and a compare-and-swap would seem lost."""
    id = _plan(name='a', updated_at=None).id
    at = datetime.datetime(2026, 1, 1)
    assert repository.update(Plan, id, {'name': 'a', 'updated_at': at})
    assert repository.update(Plan, id, {'name': 'a', 'updated_at': at})


def test_update_all_tells_how_many_rows_it_changed(database):
    _plan(name='a'), _plan(name='a'), _plan(name='b')
    assert repository.update_all(Plan, {'status': 'started'}, name='a') == 2
    assert repository.count(Plan, status='started') == 2


def test_deleted_row_is_hidden_but_kept_when_its_table_keeps_them(database):
    id = _plan().id
    assert repository.delete(Plan, id)
    assert repository.get(Plan, id) is None
    assert repository.count(Plan) == 0
    assert _row(Plan, id, deleted=True).deleted_at is not None
    assert not repository.delete(Plan, id)


def test_deleted_row_is_gone_when_its_table_keeps_none(database):
    repository.create(models.CheckpointGraph(checkpoint_id='c', graph='[{}, []]'))
    assert not repository.delete(models.CheckpointGraph, 'c', graph='other')
    assert repository.delete(models.CheckpointGraph, 'c')
    assert repository.get(models.CheckpointGraph, 'c') is None
    assert not repository.delete(models.CheckpointGraph, 'c')


def test_rows_are_found_by_keys_of_several_columns(database):
    repository.create(models.OperationLog(id='o', project_id='p', operation_type='protect'))
    values = [{'operation_id': 'o', 'position': n, 'resource_type': 't', 'resource_id': str(n)} for n in range(3)]
    repository.create_many(models.OperationResource, values)
    assert _row(models.OperationResource, ('o', 1)).resource_id == '1'
    assert repository.update(models.OperationResource, ('o', 1), {'status': 'error'})
    assert [r.status for r in repository.find(models.OperationResource, sort=[('position', 'asc')])] == [
        None,
        'error',
        None,
    ]


def test_resources_go_with_their_operation_when_it_is_removed(database):
    repository.create(models.OperationLog(id='o', project_id='p', operation_type='protect'))
    repository.create(models.OperationResource(operation_id='o', position=0, resource_type='t', resource_id='1'))
    with engine.writing() as session:
        session.execute(sa.delete(models.OperationLog))
    assert repository.count(models.OperationResource) == 0


def test_lock_reads_what_others_have_written_meanwhile(database):
    id = _plan(name='a').id
    with engine.writing():
        assert _locked_name(id) == 'a'
        repository.update(Plan, id, {'name': 'b'})
        assert _locked_name(id) == 'b'
    assert repository.lock(Plan, 'none') is None


def test_nothing_is_written_when_there_is_nothing_to_create(database):
    repository.create_many(Plan, [])
    assert repository.count(Plan) == 0


def test_the_newest_are_found_in_an_index_when_a_list_is_sorted_by_creation(database):
    """On PostgreSQL an index has no order in which NULL is lowest: nothing must ask for it."""
    rows = [
        {
            'id': f'{n:06d}',
            'project_id': 'p',
            'created_at': datetime.datetime(2026, 1, 1) + datetime.timedelta(minutes=n),
        }
        for n in range(3000)
    ]
    repository.create_many(Plan, rows)
    seen = []
    sa.event.listen(engine.engine(), 'before_cursor_execute', lambda *told: seen.append(told[2:4]))
    sort = [('created_at', 'desc'), ('id', 'desc')]
    after = repository.find(Plan, ['id', 'created_at'], {'project_id': 'p'}, sort, 10)[-1]
    repository.find(Plan, ['id', 'created_at'], {'project_id': 'p'}, sort, 10, after)
    statements = list(seen)
    wanted = 'EXPLAIN QUERY PLAN' if engine.engine().dialect.name == 'sqlite' else 'EXPLAIN'
    with engine.engine().connect() as connection:
        if engine.engine().dialect.name == 'postgresql':
            connection.exec_driver_sql('ANALYZE plans')
        for statement, parameters in statements:
            plan = str(connection.exec_driver_sql(f'{wanted} {statement}', parameters).all())
            # Where one project has all rows, the index of all projects is as good.
            assert 'ix_plans_project_created' in plan or 'ix_plans_created' in plan
            assert not any(word in plan for word in ('Sort', 'filesort', 'TEMP B-TREE')), plan
