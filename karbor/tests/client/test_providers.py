# SPDX-License-Identifier: Apache-2.0
"""Providers by python-karborclient."""

import json

import pytest
from karborclient.common.apiclient import exceptions

from karbor.tests.client.conftest import DATABASE, SHARE

SCHEMAS = {'options_schema', 'restore_schema', 'saved_info_schema', 'verify_schema'}


def test_library_lists_the_providers_that_the_service_told(karbor):
    listed = karbor.client().providers.list()
    assert {(p.id, p.name) for p in listed} == {(p['id'], p['name']) for p in karbor.ready['providers']}
    assert [p.id for p in listed] == sorted(p.id for p in listed)
    assert all(p.description for p in listed)


def test_library_gets_the_schemas_of_a_provider(karbor, provider):
    found = karbor.client().providers.get(provider.id)
    assert set(found.extended_info_schema) == SCHEMAS
    assert set(found.extended_info_schema['options_schema'][SHARE]['properties']) >= {'snapshot_name', 'description'}
    assert set(found.extended_info_schema['restore_schema'][SHARE]['properties']) >= {'restore_name', 'share_id'}
    assert 'backup_name' in found.extended_info_schema['options_schema'][DATABASE]['properties']


def test_library_pages_through_providers(karbor):
    providers = karbor.client().providers
    everything = [p.id for p in providers.list()]
    first = providers.list(limit=1)
    assert [p.id for p in first] == everything[:1]
    assert [p.id for p in providers.list(marker=first[0].id)] == everything[1:]


def test_library_filters_providers_by_name(karbor, noop):
    assert [p.id for p in karbor.client().providers.list(search_opts={'name': noop.name})] == [noop.id]
    assert karbor.client().providers.list(search_opts={'name': 'no such provider'}) == []


def test_shell_lists_providers(karbor):
    done = karbor.shell('provider-list')
    assert (done.status, done.errors) == (0, '')
    assert {(row['Id'], row['Name']) for row in done.rows} == {(p['id'], p['name']) for p in karbor.ready['providers']}
    assert set(done.rows[0]) == {'Id', 'Name', 'Description'}


@pytest.mark.parametrize('options', [['--sort', 'name:asc'], ['--sort_key', 'id', '--sort_dir', 'desc']])
def test_shell_lists_providers_when_it_asks_for_an_order(karbor, options):
    done = karbor.shell('provider-list', '--limit', '1', *options)
    assert (done.status, len(done.rows)) == (0, 1)


def test_shell_shows_a_provider(karbor, provider):
    shown = karbor.shell('provider-show', provider.id, user='reader').shown
    assert (shown['id'], shown['name']) == (provider.id, provider.name)
    assert json.loads(shown['extended_info_schema']) == provider.extended_info_schema


@pytest.mark.parametrize('user', ['demo', 'reader', 'other', 'admin'])
def test_library_says_not_found_when_there_is_no_such_provider(karbor, nowhere, user):
    with pytest.raises(exceptions.NotFound, match=nowhere):
        karbor.client(user).providers.get(nowhere)


def test_library_says_bad_request_when_the_id_is_none(karbor):
    with pytest.raises(exceptions.BadRequest):
        karbor.client().providers.get('no-uuid')


def test_library_says_bad_request_when_the_marker_is_unknown(karbor, nowhere):
    with pytest.raises(exceptions.BadRequest, match='marker'):
        karbor.client().providers.list(marker=nowhere)


def test_shell_fails_with_the_message_when_there_is_no_such_provider(karbor, nowhere):
    done = karbor.shell('provider-show', nowhere)
    assert (done.status, done.output) == (1, '')
    assert nowhere in done.errors
    assert 'HTTP 404' in done.errors
