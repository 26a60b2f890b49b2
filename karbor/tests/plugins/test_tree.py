# SPDX-License-Identifier: Apache-2.0
"""The tree of what a plan may hold, as the dashboard builds it: the project, then each of its dependents by itself."""

from collections.abc import Callable

from karbor.clients import Cloud
from karbor.plugins import database, share
from karbor.plugins.project import Projects
from karbor.protection.protectables import Protectables
from karbor.sandbox.cloud import Sandbox
from karbor.tests.plugins.driver import new_instance, new_share

RESOURCES = 1000


def test_a_tree_of_a_thousand_takes_no_more_list_calls_than_there_are_types(
    sandbox: Sandbox, login: Callable[[str], Cloud]
) -> None:
    protectables = Protectables([Projects(), share.Shares(), database.Instances()])
    demo = login('demo')
    session, project = demo.session(), demo.project_id
    project_of = {one.id: one.project_id for one in sandbox.shares.shares.values()}
    own = [id for id, owner in project_of.items() if owner == project]
    own += [id for id, one in sandbox.instances.instances.items() if one.tenant_id == project]
    new_instance(sandbox)
    for _ in range(RESOURCES - len(own) - 1):
        new_share(sandbox)

    # Each request of the dashboard is one of its own for Karbor, which keeps nothing of the cloud in between.
    def asked() -> Cloud:
        return Cloud(session, project, demo.user_id, demo.project_name)

    asked().client('manila')  # which versions Manila has is asked once in ten minutes
    sandbox.faults.forget_calls()
    (root,) = protectables.list(asked(), 'OS::Keystone::Project')
    dependents = protectables.children(asked(), root)
    shown = []
    for dependent in dependents:
        cloud = asked()
        shown.append(protectables.show(cloud, dependent.type, dependent.id))
        assert not protectables.children(cloud, shown[-1])
    assert len({one.id for one in shown}) == RESOURCES
    assert [(one.type, one.id, one.name) for one in shown] == [(one.type, one.id, one.name) for one in dependents]

    calls = {call: n for service in sandbox.faults.calls().values() for call, n in service.items()}
    lists = {call: n for call, n in calls.items() if '{id}' not in call}
    assert set(lists) == {'GET /shares/detail', 'GET /instances'}
    assert sum(lists.values()) <= len(protectables.types())
    # A GET of an instance is one call to the cloud, for the instance itself: nothing here has dependents to look for.
    assert sum(calls.values()) - sum(lists.values()) == RESOURCES
