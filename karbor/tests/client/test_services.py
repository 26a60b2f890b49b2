# SPDX-License-Identifier: Apache-2.0
"""The services by python-karborclient."""

import pytest
from karborclient.common.apiclient import exceptions

ENGINE, PROTECTION = 'karbor-operationengine', 'karbor-protection'
COLUMNS = ['Id', 'Binary', 'Host', 'Status', 'State', 'Updated_at', 'Disabled Reason']


@pytest.fixture
def engine(karbor):
    """The operation engine, enabled again at the end."""
    (found,) = karbor.client('admin').services.list(binary=ENGINE)
    yield found
    karbor.client('admin').services.enable(found.id)


def test_library_lists_services(karbor):
    services = karbor.client('admin').services
    found = services.list()
    assert {service.binary for service in found} == {ENGINE, PROTECTION}
    assert all((service.status, service.state, service.disabled_reason) == ('enabled', 'up', None) for service in found)
    assert {service.id for service in services.list(host=found[0].host)} == {service.id for service in found}
    assert [service.binary for service in services.list(host=found[0].host, binary=PROTECTION)] == [PROTECTION]
    assert services.list(host='nowhere') == []


def test_library_disables_with_and_without_a_reason_and_enables(karbor, engine):
    services = karbor.client('admin').services
    done = services.disable_log_reason(engine.id, 'it is worked on')
    assert (done.id, done.status, done.disabled_reason) == (engine.id, 'disabled', 'it is worked on')
    assert services.list(binary=ENGINE)[0].disabled_reason == 'it is worked on'
    assert services.disable(engine.id).disabled_reason is None
    done = services.enable(engine.id)
    assert (done.status, done.state, done.disabled_reason) == ('enabled', 'up', None)


def test_library_says_what_is_wrong_when_a_service_cannot_be_changed(karbor, engine):
    services = karbor.client('admin').services
    (protection,) = services.list(binary=PROTECTION)
    with pytest.raises(exceptions.BadRequest, match=f'only {ENGINE}'):
        services.disable(protection.id)
    with pytest.raises(exceptions.NotFound, match='Service 99999 could not be found'):
        services.enable(99999)
    with pytest.raises(exceptions.BadRequest, match='id: must be a whole number'):
        services.enable('x')


def test_library_says_forbidden_when_a_member_asks(karbor, engine):
    services = karbor.client().services
    with pytest.raises(exceptions.Forbidden, match='service:get_all'):
        services.list()
    with pytest.raises(exceptions.Forbidden, match='service:update'):
        services.disable(engine.id)


def test_shell_lists_disables_and_enables(karbor, engine):
    listed = karbor.shell('service-list', '--binary', ENGINE, user='admin')
    assert [*listed.rows[0]] == COLUMNS
    assert (listed.rows[0]['Id'], listed.rows[0]['Status'], listed.rows[0]['State']) == (
        str(engine.id),
        'enabled',
        'up',
    )
    done = karbor.shell('service-disable', str(engine.id), '--reason', 'maintenance', user='admin')
    assert (done.rows[0]['Status'], done.rows[0]['Disabled Reason']) == ('disabled', 'maintenance')
    done = karbor.shell('service-enable', str(engine.id), user='admin')
    assert (done.rows[0]['Status'], done.rows[0]['Disabled Reason']) == ('enabled', '-')
    assert len(karbor.shell('service-list', user='admin').rows) == 2
