# SPDX-License-Identifier: Apache-2.0
"""What only the sandbox has: faults, counts of calls and a list of everything, for its administrator."""

from typing import Any

from karbor.sandbox.clock import Clock
from karbor.sandbox.faults import Faults
from karbor.sandbox.identity import Identity
from karbor.sandbox.manila.store import Share, ShareStore, Snapshot
from karbor.sandbox.service import Route, Service
from karbor.sandbox.trove.store import Backup, Instance, InstanceStore

Json = dict[str, Any]


class Control(Service):
    """The sandbox's own resources, at its root."""

    routes: tuple[Route, ...] = (
        ('GET', '/faults', 'list_faults'),
        ('POST', '/faults', 'create_fault'),
        ('DELETE', '/faults', 'clear_faults'),
        ('GET', '/calls', 'list_calls'),
        ('DELETE', '/calls', 'forget_calls'),
        ('GET', '/objects', 'list_objects'),
    )

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        faults: Faults,
        shares: ShareStore,
        instances: InstanceStore,
    ):
        super().__init__(identity, clock)
        self.faults = faults
        self.shares = shares
        self.instances = instances

    def check_policy(self) -> None:
        """Only for the administrator of the cloud: a service's administrator role is not enough."""
        if not self.caller.is_cloud_admin:
            self.deny()

    def list_faults(self) -> Any:
        """The faults that are set, with how often they matched and fired."""
        return {'faults': self.faults.all()}

    def create_fault(self) -> Any:
        """Set a fault. 201."""
        return {'fault': self.faults.add(self.body())}, 201

    def clear_faults(self) -> Any:
        """Remove all faults. 204."""
        self.faults.clear()
        return '', 204

    def list_calls(self) -> Any:
        """How often each route of each service was called."""
        return {'calls': self.faults.calls()}

    def forget_calls(self) -> Any:
        """Count from zero. 204."""
        self.faults.forget_calls()
        return '', 204

    def list_objects(self) -> Any:
        """Every share, snapshot, instance, backup and trust of every project, in the order of creation."""
        return {
            'shares': [share(thing) for thing in self.shares.shares.values()],
            'snapshots': [snapshot(thing) for thing in self.shares.snapshots.values()],
            'instances': [instance(thing) for thing in self.instances.instances.values()],
            'backups': [backup(thing) for thing in self.instances.backups.values()],
            'trusts': [
                {
                    'id': trust.id,
                    'trustor': trust.trustor.name,
                    'trustee': trust.trustee.name,
                    'project_id': trust.project.id,
                }
                for trust in self.identity.trusts.values()
            ],
        }


def share(thing: Share) -> Json:
    """A share in the list of everything."""
    return {
        **_tagged(thing),
        'project_id': thing.project_id,
        'snapshot_id': thing.snapshot_id,
        'share_type': thing.type.name,
    }


def snapshot(thing: Snapshot) -> Json:
    """A snapshot in the list of everything."""
    return {**_tagged(thing), 'project_id': thing.project_id, 'share_id': thing.share.id}


def instance(thing: Instance) -> Json:
    """An instance in the list of everything."""
    return {
        'id': thing.id,
        'name': thing.name,
        'status': thing.status,
        'project_id': thing.tenant_id,
        'path': str(thing.path),
        'databases': thing.databases(),
        'users': [user['name'] for user in thing.users],
        'datastore': thing.datastore.name,
        'volume_size': thing.volume_size,
    }


def backup(thing: Backup) -> Json:
    """A backup in the list of everything."""
    return {
        'id': thing.id,
        'name': thing.name,
        'description': thing.description,
        'status': thing.status,
        'project_id': thing.tenant_id,
        'instance_id': thing.instance_id,
        'parent_id': thing.parent.id if thing.parent else None,
        'path': str(thing.path),
    }


def _tagged(thing: Share | Snapshot) -> Json:
    return {
        'id': thing.id,
        'name': thing.name,
        'description': thing.description,
        'status': thing.status,
        'metadata': thing.metadata,
        'size': thing.size,
        'path': str(thing.path),
    }
