# SPDX-License-Identifier: Apache-2.0
"""Every key of a checkpoint and its index document, as banks of Karbor 1.6 have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karbor import exception
from karbor.plugins.banks import layout
from karbor.plugins.banks.interface import Section, checked

CHECKPOINT = '9dc4d4c2-25b5-4b0f-8b8a-c2fc2c3c0f0e'
PROVIDER = 'cf56bd3e-97a7-4078-b6d5-f36246333fd9'
PLAN = '2c3a12ee-5ea6-406a-8b64-862711ff85e6'
PROJECT = '446a04d8-6ff5-4e0e-99a4-827a6389e9ff'

IDS = st.from_regex(r'[A-Za-z0-9_.@-]{1,36}', fullmatch=True).filter(lambda id: id not in ('.', '..'))
FEW_IDS = st.sampled_from(['a', 'b', 'T@a', '@' * 34 + 'T@a', '@' * 35 + 'T@a', '..a'])
TYPES = st.text(max_size=64) | st.sampled_from(
    ['T', 'U', 'V', '.', '-2e-', 'OS::Manila::Share', '漢' * 64, '漢' * 63 + '字']
)
RESOURCES = st.lists(st.tuples(TYPES, IDS | FEW_IDS), unique=True, max_size=12)


def test_keys_are_those_of_karbor_1_6():
    assert layout.checkpoint_prefix('c') == '/checkpoints/c/'
    assert layout.checkpoint_index('c') == '/checkpoints/c/index.json'
    assert layout.resource_section('c', 'r') == '/checkpoints/c/resource-data/r'
    assert layout.data(1) == 'data_1'
    assert layout.by_provider('p', 't', 12, 'c') == '/indices/by-provider/p/t/12@c'
    assert layout.by_date('2026-01-31', 't', 12, 'c') == '/indices/by-date/2026-01-31/t/12@c'
    assert layout.by_plan('n', 't', '2026-01-31', 12, 'c') == '/indices/by-plan/n/t/2026-01-31/12@c'


@pytest.mark.parametrize('id', ['', '.', '..', '../c2', 'r/status', '/', 'a\n', 'a\0', 'ü', 'a b', 'x' * 201])
def test_an_id_is_one_part_of_a_key_or_refused(id):
    for made in (
        lambda: layout.checkpoint_prefix(id),
        lambda: layout.checkpoint_index(id),
        lambda: layout.resource_section('c', id),
        lambda: layout.resource_section(id, 'r'),
        lambda: layout.by_provider(id, 't', 1, 'c'),
        lambda: layout.by_provider('p', id, 1, 'c'),
        lambda: layout.by_date('2026-01-31', id, 1, 'c'),
        lambda: layout.by_plan(id, 't', '2026-01-31', 1, 'c'),
    ):
        with pytest.raises(exception.BankKeyInvalid):
            made()


@given(RESOURCES)
def test_every_resource_has_a_legal_key_of_its_own(resources):
    keys = layout.resource_keys(resources)
    assert list(keys) == resources
    assert len(set(keys.values())) == len(resources)
    for key in keys.values():
        assert checked(layout.resource_section(CHECKPOINT, key) + '/metadata').count('/') == 5


@given(RESOURCES)
def test_the_first_resource_of_an_id_has_the_id_as_its_key(resources):
    keys = layout.resource_keys(resources)
    first = {}
    for type, id in resources:
        first.setdefault(id, (type, id))
    assert {id: keys[resource] for id, resource in first.items()} == {id: id for id in first}


@given(RESOURCES)
def test_keys_are_the_same_each_time(resources):
    assert layout.resource_keys(resources) == layout.resource_keys(list(resources))


def test_a_key_with_a_type_does_not_take_the_id_of_a_later_resource():
    taken = layout.resource_keys([('T', 'a'), ('U', 'a')])['U', 'a']
    keys = layout.resource_keys([('T', 'a'), ('U', 'a'), ('V', taken)])
    assert list(keys.values()) == ['a', f'@{taken}', taken]


def test_a_key_with_a_type_is_no_id_of_any_plan():
    keys = layout.resource_keys([('T', 'a'), ('U', 'a')])
    assert len(keys['U', 'a']) > layout.ID_LIMIT


def test_two_long_types_have_two_keys():
    long = ['漢' * 64, '漢' * 63 + '字']
    keys = layout.resource_keys([('T', 'a'), (long[0], 'a'), (long[1], 'a')])
    assert len(set(keys.values())) == 3


# --- the index document ------------------------------------------------------------------------------


def document(**changes):
    plan = {'id': PLAN, 'name': 'my plan', 'provider_id': PROVIDER, 'resources': []}
    return layout.index_document(
        **{
            'id': CHECKPOINT,
            'status': 'available',
            'provider_id': PROVIDER,
            'project_id': PROJECT,
            'protection_plan': plan,
            'extra_info': '{"created_by": "manual"}',
            'created_at': '2026-01-31',
            'timestamp': 1769817600,
        }
        | changes
    )


def test_the_index_document_comes_back_from_a_bank(bank):
    bank.put_json(layout.checkpoint_index(CHECKPOINT), document(resource_graph='[{}, []]'))
    read = layout.parse_index(bank.get_json(layout.checkpoint_index(CHECKPOINT)))
    assert read == document(resource_graph='[{}, []]')


def test_the_index_document_has_the_keys_of_karbor_1_6_and_no_graph_before_there_is_one():
    keys = 'version id status owner_id provider_id project_id protection_plan extra_info created_at timestamp'
    assert set(document()) == set(keys.split())
    assert document()['version'] == '0.9'
    assert set(document(resource_graph='')) == {*keys.split(), 'resource_graph'}


@pytest.mark.parametrize('other', [None, [], 'text', 0, {}, {'version': '1.0'}, {'version': 0.9}, [{'version': '0.9'}]])
def test_an_index_document_of_another_form_is_refused(other):
    with pytest.raises(exception.BankError, match='unknown form'):
        layout.parse_index(other)


# --- a bank of Karbor 1.6 ----------------------------------------------------------------------------

INDEX_1_6 = (
    f'{{"version": "0.9", "id": "{CHECKPOINT}", "status": "available", "owner_id": "b5a1ce1b-6a4e-4a61-8a5d-8f7fd3a0",'
    f' "provider_id": "{PROVIDER}", "project_id": "{PROJECT}", "protection_plan": {{"id": "{PLAN}",'
    f' "name": "Pl\\u00e4ne", "provider_id": "{PROVIDER}", "resources": [{{"id": "share-1",'
    ' "type": "OS::Manila::Share", "name": "s"}]}, "extra_info": null, "created_at": "2019-11-30",'
    ' "timestamp": 1575072000,'
    ' "resource_graph": "[{\\"0x0\\": [\\"OS::Manila::Share\\", \\"share-1\\", \\"s\\"]}, []]"}'
)
TREE_1_6 = {
    f'checkpoints/{CHECKPOINT}/index.json': INDEX_1_6,
    f'checkpoints/{CHECKPOINT}/resource-data/share-1/status': 'available',
    f'checkpoints/{CHECKPOINT}/resource-data/share-1/metadata': '{"snapshot_id": "s-1", "size": 1, "name": "123"}',
    f'checkpoints/{CHECKPOINT}/resource-data/123/status': '123',
    f'indices/by-provider/{PROVIDER}/{PROJECT}/1575072000@{CHECKPOINT}': CHECKPOINT,
    f'indices/by-date/2019-11-30/{PROJECT}/1575072000@{CHECKPOINT}': CHECKPOINT,
    f'indices/by-plan/{PLAN}/{PROJECT}/2019-11-30/1575072000@{CHECKPOINT}': CHECKPOINT,
}


@pytest.fixture
def old_bank(on_disk):
    """A folder as the file-system bank of Karbor 1.6 left it: text as it is, anything else as JSON."""
    for path, text in TREE_1_6.items():
        (on_disk.root / path).parent.mkdir(parents=True, exist_ok=True)
        (on_disk.root / path).write_text(text)
    return on_disk


def test_a_bank_of_karbor_1_6_is_read(old_bank):
    index = layout.parse_index(old_bank.get_json(layout.checkpoint_index(CHECKPOINT)))
    assert (index['id'], index['status'], index['timestamp']) == (CHECKPOINT, 'available', 1575072000)
    assert index['protection_plan']['name'] == 'Pläne'
    section = Section(old_bank, layout.resource_section(CHECKPOINT, 'share-1'))
    assert section.list() == ['metadata', 'status']
    assert section.get_text('status') == 'available'
    assert section.get_json('metadata') == {'snapshot_id': 's-1', 'size': 1, 'name': '123'}
    assert Section(old_bank, layout.resource_section(CHECKPOINT, '123')).get_text('status') == '123'


def test_the_indices_of_karbor_1_6_are_where_ours_are(old_bank):
    assert old_bank.list() == sorted(f'/{path}' for path in TREE_1_6)
    for key in (
        layout.by_provider(PROVIDER, PROJECT, 1575072000, CHECKPOINT),
        layout.by_date('2019-11-30', PROJECT, 1575072000, CHECKPOINT),
        layout.by_plan(PLAN, PROJECT, '2019-11-30', 1575072000, CHECKPOINT),
    ):
        assert old_bank.get_text(key) == CHECKPOINT


def test_a_checkpoint_of_karbor_1_6_can_be_removed_without_a_trace(old_bank):
    for key in old_bank.list():
        old_bank.delete(key)
    assert list(old_bank.root.iterdir()) == []
