# SPDX-License-Identifier: Apache-2.0
"""Every name that a plugin written for Karbor 1.6 imports, with its signature and what it does by itself."""

import copy
import hashlib
import inspect
import sys
import threading
import time
import types

import pytest
from keystoneauth1 import exceptions as keystone_exceptions
from manilaclient import exceptions as manila_exceptions
from oslo_config import cfg

from karbor import exception as faults
from karbor.conf.clients import OPTIONS
from karbor.context import RequestContext
from karbor.plugins import legacy
from karbor.plugins.banks.interface import Section
from karbor.plugins.banks.memory import MemoryBank
from karbor.plugins.legacy import client_factory, constants, exception, polling
from karbor.statuses import ResourceStatus, resource_status

HOOKS = ('on_prepare_begin', 'on_prepare_finish', 'on_main', 'on_complete')


def parameters(function):
    """Names of the parameters, without self and cls; with `=` where they have a default."""
    found = inspect.signature(function).parameters.values()
    return [
        f'{"**" if p.kind is p.VAR_KEYWORD else ""}{p.name}{"" if p.default is p.empty else "="}'
        for p in found
        if p.name not in ('self', 'cls')
    ]


@pytest.mark.parametrize(
    ('function', 'expected'),
    [
        (legacy.ProtectionPlugin, 'config='),
        *((getattr(legacy.ProtectionPlugin, f'get_{o}_operation'), 'resource') for o in ('protect', 'restore')),
        *((getattr(legacy.ProtectionPlugin, f'get_{o}_operation'), 'resource') for o in ('verify', 'copy', 'delete')),
        (legacy.ProtectionPlugin.get_supported_resources_types, ''),
        (legacy.ProtectionPlugin.get_options_schema, 'resource_type'),
        (legacy.ProtectionPlugin.get_restore_schema, 'resource_type'),
        (legacy.ProtectionPlugin.get_verify_schema, 'resource_type'),
        (legacy.ProtectionPlugin.get_saved_info_schema, 'resource_type'),
        (legacy.ProtectionPlugin.get_saved_info, 'metadata_store resource'),
        (legacy.ProtectablePlugin, 'context= conf='),
        (legacy.ProtectablePlugin.instance, 'context conf='),
        (legacy.ProtectablePlugin.get_resource_type, ''),
        (legacy.ProtectablePlugin.get_parent_resource_types, ''),
        (legacy.ProtectablePlugin.list_resources, 'context parameters='),
        (legacy.ProtectablePlugin.show_resource, 'context resource_id parameters='),
        (legacy.ProtectablePlugin.get_dependent_resources, 'context parent_resource'),
        (legacy.BankPlugin, 'config='),
        (legacy.BankPlugin.update_object, 'key value context='),
        (legacy.BankPlugin.get_object, 'key context='),
        (legacy.BankPlugin.list_objects, 'prefix= limit= marker= sort_dir= context='),
        (legacy.BankPlugin.delete_object, 'key context='),
        (legacy.BankPlugin.get_owner_id, 'context='),
        (legacy.LeasePlugin.acquire_lease, ''),
        (legacy.LeasePlugin.renew_lease, ''),
        (legacy.LeasePlugin.check_lease_validity, ''),
        (legacy.BankSection.update_object, 'key value context='),
        (legacy.BankSection.get_object, 'key context='),
        (legacy.BankSection.list_objects, 'prefix= limit= marker= sort_dir= context='),
        (legacy.BankSection.delete_object, 'key context='),
        (legacy.BankSection.get_sub_section, 'section is_writable='),
        (legacy.BankSection.get_owner_id, 'context='),
        (legacy.ClientFactory.create_client, 'service context conf= privileged_user= **kwargs'),
        (
            legacy.status_poll,
            'get_status interval success_statuses= failure_statuses= ignore_statuses= ignore_unexpected=',
        ),
        (legacy.update_resource_restore_result, 'restore_record resource_type resource_id status reason='),
        (legacy.update_resource_verify_result, 'verify_record resource_type resource_id status reason='),
        (legacy.backup_image_to_bank, 'glance_client image_id bank_section object_size'),
        (legacy.restore_image_from_bank, 'glance_client bank_section restore_name'),
        (legacy.Resource, 'type id name extra_info='),
    ],
    ids=lambda value: getattr(value, '__qualname__', None),
)
def test_signatures_are_those_of_the_contract(function, expected):
    assert ' '.join(parameters(function)) == expected


def test_everything_that_is_promised_is_there():
    assert all(hasattr(legacy, name) for name in legacy.__all__)
    assert legacy._('text') == 'text'
    assert constants.SHARE_RESOURCE_TYPE == 'OS::Manila::Share' and len(constants.RESOURCE_TYPES) == 8
    assert resource_status(constants.RESOURCE_STATUS_AVAILABLE)[0] is ResourceStatus.ACTIVE


def test_an_operation_has_no_hook_by_itself():
    assert [hook for hook in HOOKS if hasattr(legacy.Operation(), hook)] == []


@pytest.mark.parametrize('operation', ['protect', 'restore', 'verify', 'copy', 'delete'])
def test_a_getter_that_is_missing_says_so(operation):
    with pytest.raises(NotImplementedError):
        getattr(legacy.ProtectionPlugin(cfg.ConfigOpts()), f'get_{operation}_operation')(None)


def test_a_plugin_holds_its_configuration():
    config = cfg.ConfigOpts()
    assert legacy.ProtectionPlugin(config)._config is config


@pytest.mark.parametrize(
    ('name', 'fields', 'text'),
    [
        ('CreateResourceFailed', {'name': 'N', 'reason': 'R', 'resource_id': '1', 'resource_type': 'T'}, 'R'),
        ('RestoreResourceFailed', {'name': 'N', 'reason': 'R', 'resource_id': '1', 'resource_type': 'T'}, 'R'),
        ('DeleteResourceFailed', {'name': 'N', 'reason': 'R', 'resource_id': '1', 'resource_type': 'T'}, 'R'),
        ('VerifyResourceFailed', {'name': 'N', 'reason': 'R', 'resource_id': '1', 'resource_type': 'T'}, 'R'),
        ('ListProtectableResourceFailed', {'type': 'T', 'reason': 'R'}, 'R'),
        ('ProtectableResourceNotFound', {'type': 'T', 'id': '1', 'reason': 'R'}, 'R'),
        ('ProtectableResourceInvalidStatus', {'type': 'T', 'id': '1', 'status': 'R'}, 'R'),
        ('BankCreateObjectFailed', {'reason': 'R'}, 'R'),
        ('BankUpdateObjectFailed', {'reason': 'R', 'key': 'K'}, 'K'),
        ('BankDeleteObjectFailed', {'reason': 'R', 'key': 'K'}, 'K'),
        ('BankGetObjectFailed', {'reason': 'R', 'key': 'K'}, 'K'),
        ('BankListObjectsFailed', {'reason': 'R'}, 'R'),
        ('AcquireLeaseFailed', {'reason': 'R'}, 'R'),
        ('BankReadonlyViolation', {}, 'read-only'),
        ('InvalidInput', {'reason': 'R'}, 'R'),
        ('NotFound', {}, 'could not be found'),
    ],
)
def test_exceptions_are_made_of_keywords_or_a_message(name, fields, text):
    made = getattr(exception, name)
    told = made(**fields)
    assert isinstance(told, exception.KarborException) and text in str(told) == told.msg
    assert told.kwargs == fields
    assert str(made('something else')) == 'something else'
    assert str(made(unknown='field'))  # keywords that are missing or too many are no other fault


# --- waiting


def polled(*statuses, **more):
    """(what status_poll answers, how often it asked)."""
    left = list(statuses)
    answer = legacy.status_poll(lambda: left.pop(0), 0.001, {'good'}, {'bad'}, ignore_statuses={'busy'}, **more)
    return answer, len(statuses) - len(left)


def test_a_poll_ends_with_the_first_status_that_counts():
    assert polled('busy', 'busy', 'good', 'bad') == (True, 3)
    assert polled('busy', 'bad', 'good') == (False, 2)
    assert polled('odd', 'good') == (False, 1)
    assert polled('odd', 'good', ignore_unexpected=True) == (True, 2)
    assert polled('GOOD') == (False, 1)  # words are compared as they are


def test_a_poll_hands_on_what_the_question_raises():
    def get_status():
        raise KeyError('status')

    with pytest.raises(KeyError):
        legacy.status_poll(get_status, 0.001, set(), set(), set())


def test_the_first_question_comes_after_one_interval():
    begun, asked = time.monotonic(), []

    def get_status():
        asked.append(time.monotonic() - begun)
        return 'good'

    assert legacy.status_poll(get_status, 0.1, success_statuses={'good'})
    assert asked[0] >= 0.1


def test_a_poll_fails_when_the_time_of_the_resource_is_over():
    call = polling.HookCall(lambda: None, lambda: None, time.monotonic() + 0.2)
    with polling.under_way(call):
        assert legacy.status_poll(lambda: 'busy', 600, ignore_statuses={'busy'}) is False
    assert call.is_late


def test_a_poll_cannot_be_caught_when_the_run_ends():
    stopping, result = threading.Event(), []

    def check():
        if stopping.is_set():
            raise faults.BackendFault('interrupted', 'karbor')

    def hook():
        call = polling.HookCall(check, check, time.monotonic() + 60)
        try:
            with polling.under_way(call):
                try:
                    legacy.status_poll(lambda: 'busy', 600, ignore_statuses={'busy'})
                except Exception:  # noqa: BLE001  as plugins do
                    result.append('caught')
        except polling.Stopped:
            result.append(call.stopped_by.reason)

    thread = threading.Thread(target=hook)
    thread.start()
    stopping.set()
    thread.join(10)
    assert result == ['interrupted']


# --- reports


class Told:
    def __init__(self, fault=None):
        self.said, self.fault, self.is_saved = [], fault, False

    def update_resource_status(self, *said):
        self.said.append(said)
        if self.fault:
            raise self.fault

    def save(self):
        self.is_saved = True


@pytest.mark.parametrize('update', [legacy.update_resource_restore_result, legacy.update_resource_verify_result])
def test_a_result_is_told_and_its_fault_is_none_of_the_plugin(update):
    record = Told()
    update(record, 'T', '1', 'available')
    assert (record.said, record.is_saved) == ([('T', '1', 'available', '')], True)
    update(Told(RuntimeError()), 'T', '1', 'error', 'why')


# --- the bank


@pytest.fixture
def section():
    return legacy.BankSection(Section(MemoryBank(cfg.ConfigOpts()), '/checkpoints/c/resource-data/r'), 'owner')


@pytest.mark.parametrize(
    'value',
    ['available', 'ünï', '', '123', '{"a": 1}', 'true', {'a': [1, None]}, [], 7, None, b'\xff\x00', {'1': 'x'}],
    ids=repr,
)
def test_a_value_is_read_as_it_was_written(section, value):
    section.update_object('key', value)
    assert section.get_object('key') == value


def test_texts_and_objects_lie_in_the_bank_as_those_of_karbor_1_6(section):
    section.update_object('status', 'available')
    section.update_object('metadata', {'a': 1})
    section.update_object('data_1', b'{}')
    raw = section.bank._store
    assert raw.get('/checkpoints/c/resource-data/r/status') == b'available'
    assert raw.get_json('/checkpoints/c/resource-data/r/metadata') == {'a': 1}
    assert section.get_object('data_1') == b'{}'  # data is never taken for anything else


def test_names_are_listed_relative_to_the_section(section):
    for n in range(4):
        section.update_object(f'data_{n}', b'x')
    section.bank.update_object('/checkpoints/other', 'x')
    assert section.list_objects() == ['data_0', 'data_1', 'data_2', 'data_3']
    assert section.list_objects('data_', limit=2, marker='data_0') == ['data_1', 'data_2']
    assert section.list_objects(limit=1, sort_dir='desc') == ['data_3']
    assert section.bank.list_objects('/checkpoints/o') == ['/checkpoints/other']
    section.delete_object('data_0')
    section.delete_object('data_0')
    with pytest.raises(exception.BankGetObjectFailed, match='data_0'):
        section.get_object('data_0')


def test_a_section_is_read_only_where_it_was_asked_for_so(section):
    section.update_object('below/key', 'x')
    below = section.get_sub_section('below', is_writable=False)
    assert (below.get_object('key'), below.is_writable, below.get_owner_id()) == ('x', False, 'owner')
    for refused in (lambda: below.update_object('key', 'y'), lambda: below.delete_object('key')):
        with pytest.raises(exception.BankReadonlyViolation):
            refused()
    assert not below.get_sub_section('further').is_writable


@pytest.mark.parametrize('key', ['../other', 'a//b', 'a b'])
def test_a_key_never_leads_out_of_the_section(section, key):
    with pytest.raises(exception.BankUpdateObjectFailed):
        section.update_object(key, 'x')


# --- images


class Images:
    """Glance's images, with one that has data."""

    def __init__(self, data):
        self.kept = {'source': data}
        self.spoil = lambda data: data

    def data(self, image_id, do_checksum=True):
        return (self.kept[image_id][n : n + 7] for n in range(0, len(self.kept[image_id]), 7))

    def create(self, **told):
        self.told = told
        self.kept['new'] = None
        return types.SimpleNamespace(id='new', status='queued')

    def upload(self, image_id, stream):
        self.kept[image_id] = self.spoil(b''.join(iter(lambda: stream.read(5), b'')))

    def get(self, image_id):
        checksum = hashlib.md5(self.kept[image_id], usedforsecurity=False).hexdigest()
        return types.SimpleNamespace(id=image_id, status='active', checksum=checksum)

    def delete(self, image_id):
        del self.kept[image_id]


@pytest.mark.parametrize(('size', 'chunks'), [(0, 0), (1, 1), (20, 1), (21, 2), (200, 10)])
def test_an_image_is_the_same_after_it_was_in_the_bank(section, size, chunks):
    data = bytes(n % 251 for n in range(size))
    glance = types.SimpleNamespace(images=Images(data))
    assert legacy.backup_image_to_bank(glance, 'source', section, 20) == chunks
    assert section.list_objects('data_') == sorted(f'data_{n}' for n in range(1, chunks + 1))
    checksum = hashlib.md5(data, usedforsecurity=False).hexdigest()
    formats = {'disk_format': 'raw', 'container_format': 'bare'}
    section.update_object('metadata', {'image_metadata': {**formats, 'checksum': checksum}, 'chunks_num': chunks})
    image = legacy.restore_image_from_bank(glance, section, 'name')
    assert (image.id, image.status, glance.images.kept['new']) == ('new', 'active', data)
    assert glance.images.told == {**formats, 'name': 'name'}


@pytest.mark.parametrize('wrong', ['spoilt', 'missing'])
def test_an_image_that_is_not_the_same_is_removed(section, wrong):
    glance = types.SimpleNamespace(images=Images(b'x' * 50))
    number = legacy.backup_image_to_bank(glance, 'source', section, 20)
    checksum = hashlib.md5(b'x' * 50, usedforsecurity=False).hexdigest()
    told = {'disk_format': 'raw', 'container_format': 'bare', 'checksum': checksum}
    section.update_object('metadata', {'image_metadata': told, 'chunks_num': number})
    if wrong == 'spoilt':
        glance.images.spoil = lambda data: data[:-1]
    else:
        section.delete_object('data_2')
    with pytest.raises((exception.RestoreResourceFailed, exception.BankGetObjectFailed)):
        legacy.restore_image_from_bank(glance, section, None)
    assert set(glance.images.kept) == {'source'}


# --- clients


@pytest.mark.parametrize('service', ['cinder', 'glance', 'neutron', 'nova'])
def test_a_client_whose_library_is_not_there_says_which(cloud, monkeypatch, service):
    for name in (f'{service}client.client', f'{service}client.v2_0.client'):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(faults.BackendFault, match=f'python-{service}client is not installed'):
        client_factory.LIBRARIES[service].make(cfg.CONF[f'{service}_client'], None, 'http://x.invalid')


def test_a_service_without_client_is_told_with_those_that_have_one(cloud):
    with pytest.raises(faults.BackendFault, match='no client of freezer; there are those of cinder, .*manila, .*trove'):
        legacy.ClientFactory.create_client('freezer', legacy.Context(cloud))


def test_clients_work_as_the_user_and_raise_their_own_exceptions(cloud, sandbox):
    context = legacy.Context(cloud, roles=['member'])
    assert (context.project_id, context.user_id) == (cloud.project_id, cloud.user_id)
    manila = legacy.ClientFactory.create_client('manila', context)
    assert {share.id for share in manila.shares.list()} == {
        s.id for s in sandbox.shares.shares.values() if s.project_id == cloud.project_id
    }
    with pytest.raises(manila_exceptions.NotFound) as told:
        manila.shares.get('gone')
    assert not isinstance(told.value, keystone_exceptions.ClientException)
    trove = legacy.ClientFactory.create_client('trove', copy.deepcopy(context))
    assert trove.instances.list() is not None
    assert context.auth_token is None


def test_a_client_takes_the_options_of_the_provider_file(cloud, sandbox):
    config = cfg.ConfigOpts()
    config([])
    config.register_opts(OPTIONS['manila_client'], 'manila_client')
    config.set_override('manila_endpoint', 'http://127.0.0.1:9/v2', 'manila_client')
    with pytest.raises(Exception) as told:
        legacy.ClientFactory.create_client('manila', legacy.Context(cloud), config).shares.list()
    assert '127.0.0.1:9' in str(told.value)


def test_a_context_of_a_request_will_do(sandbox, login):
    cloud = login('demo')
    token = cloud.session().get_token()
    catalog = cloud.session().auth.get_access(cloud.session()).service_catalog.catalog
    context = RequestContext(
        project_id=cloud.project_id, user_id=cloud.user_id, auth_token=token, service_catalog=catalog, overwrite=False
    )
    assert legacy.ClientFactory.create_client('manila', context).shares.list() is not None
