# SPDX-License-Identifier: Apache-2.0
"""Protectables and their instances by python-karborclient."""

import json

import pytest
from karborclient.common.apiclient import exceptions

from karbor.tests.client.conftest import DATABASE, PROJECT, SHARE

TYPES = {PROJECT, SHARE, DATABASE}


def test_library_lists_the_types(karbor):
    assert {p.protectable_type for p in karbor.client().protectables.list()} >= TYPES


def test_library_gets_the_types_that_depend_on_a_type(karbor):
    protectables = karbor.client().protectables
    assert protectables.get(PROJECT).name == PROJECT
    assert {SHARE, DATABASE} <= set(protectables.get(PROJECT).dependent_types)
    assert protectables.get(SHARE).dependent_types == []


def test_library_lists_the_project_with_what_is_in_it(karbor):
    (project,) = karbor.client().protectables.list_instances(PROJECT)
    user = karbor.users['demo']
    assert (project.id, project.name, project.type) == (user['project_id'], 'demo', PROJECT)
    names = {(r['type'], r['name']) for r in project.dependent_resources}
    assert {(SHARE, 'documents'), (SHARE, 'photos'), (DATABASE, 'shop-db')} <= names
    assert not {(SHARE, 'papers'), (DATABASE, 'ledger-db')} & names


def test_library_pages_through_instances(karbor):
    protectables = karbor.client().protectables
    everything = [share.id for share in protectables.list_instances(SHARE)]
    first = protectables.list_instances(SHARE, limit=1)
    rest = protectables.list_instances(SHARE, marker=first[0].id)
    assert [share.id for share in first + rest] == everything
    assert len(everything) >= 3


def test_library_gets_an_instance_when_parameters_are_a_dictionary(karbor, resources):
    share = resources[0]
    options = {'parameters': {'region_name': 'RegionOne', 'nothing': None}}
    found = karbor.client().protectables.get_instance(SHARE, share['id'], search_opts=options)
    assert (found.id, found.type, found.name, found.dependent_resources) == (share['id'], SHARE, share['name'], [])


def test_shell_lists_the_types(karbor):
    done = karbor.shell('protectable-list')
    assert (done.status, done.errors) == (0, '')
    assert {row['Protectable type'] for row in done.rows} >= TYPES


def test_shell_shows_a_type(karbor):
    shown = karbor.shell('protectable-show', PROJECT, user='reader').shown
    assert shown['name'] == PROJECT
    assert SHARE in shown['dependent_types']


def test_shell_lists_instances(karbor, resources):
    done = karbor.shell('protectable-list-instances', SHARE, '--sort', 'name:asc', '--type', SHARE)
    assert (done.status, done.errors) == (0, '')
    names = [row['Name'] for row in done.rows]
    assert {'documents', 'photos', 'scratch'} <= set(names)
    assert names == sorted(names)
    assert set(done.rows[0]) >= {'Id', 'Type', 'Name', 'Dependent resources'}


def test_shell_lists_instances_when_it_has_parameters(karbor):
    done = karbor.shell('protectable-list-instances', PROJECT, '--limit', '1', '--parameters', 'region=RegionOne', 'x')
    assert (done.status, len(done.rows)) == (0, 1)
    assert {r['name'] for r in json.loads(done.rows[0]['Dependent resources'])} >= {'documents', 'shop-db'}


def test_shell_shows_an_instance(karbor, resources):
    for resource in resources:
        done = karbor.shell('protectable-show-instance', resource['type'], resource['id'], '--parameters', 'a=b')
        assert (done.status, done.errors) == (0, '')
        assert {key: done.shown[key] for key in resource} == resource
        assert json.loads(done.shown['dependent_resources']) == []


def test_library_says_not_found_when_there_is_no_such_type(karbor, nowhere):
    protectables = karbor.client().protectables
    for ask in (
        lambda: protectables.get('OS::No::Type'),
        lambda: protectables.list_instances('OS::No::Type'),
        lambda: protectables.get_instance('OS::No::Type', nowhere),
    ):
        with pytest.raises(exceptions.NotFound, match='OS::No::Type'):
            ask()


@pytest.mark.parametrize('kind', [SHARE, DATABASE])
def test_library_says_not_found_when_there_is_no_such_instance(karbor, nowhere, kind):
    with pytest.raises(exceptions.NotFound, match=nowhere):
        karbor.client().protectables.get_instance(kind, nowhere)


@pytest.mark.parametrize('kind', [PROJECT, SHARE, DATABASE])
def test_library_says_not_found_when_the_instance_is_in_another_project(karbor, kind):
    foreign = karbor.client('other').protectables.list_instances(kind)[0]
    with pytest.raises(exceptions.NotFound, match=foreign.id):
        karbor.client().protectables.get_instance(kind, foreign.id)


@pytest.mark.parametrize('parameters', ['[1]', 'no dictionary', "{'a': open('x')}"])
def test_library_says_bad_request_when_parameters_are_no_dictionary(karbor, resources, parameters):
    protectables, options = karbor.client().protectables, {'parameters': parameters}
    with pytest.raises(exceptions.BadRequest, match='parameters'):
        protectables.list_instances(SHARE, search_opts=options)
    with pytest.raises(exceptions.BadRequest, match='parameters'):
        protectables.get_instance(SHARE, resources[0]['id'], search_opts=options)


def test_shell_fails_with_the_message_when_there_is_no_such_instance(karbor, nowhere):
    done = karbor.shell('protectable-show-instance', SHARE, nowhere)
    assert (done.status, done.output) == (1, '')
    assert nowhere in done.errors
    assert 'HTTP 404' in done.errors


def test_library_says_what_is_wrong_when_manila_is_broken(karbor):
    with (
        karbor.fault(service='manila', match='GET /shares', kind='status', status=500, times=None),
        pytest.raises(exceptions.HttpServerError, match='manila') as raised,
    ):
        karbor.client().protectables.list_instances(SHARE)
    assert raised.value.http_status == 503
    assert raised.value.request_id.startswith('req-')
