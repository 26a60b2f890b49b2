# SPDX-License-Identifier: Apache-2.0
"""What the engine does with one resource, one step after the other; and what there is to protect in the sandbox."""

import datetime
import itertools
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_utils import timeutils

from karbor import statuses
from karbor.clients import Cloud
from karbor.plugins import database, noop, share
from karbor.plugins.banks import interface as banks
from karbor.plugins.banks import layout, memory
from karbor.plugins.interface import Assignment, Protection, Resource, State, Work
from karbor.sandbox.cloud import Sandbox
from karbor.sandbox.manila import store as sharestore
from karbor.sandbox.trove import store as instancestore

SECONDS = 10.0
SPEED = 30.0  # of the sandbox: what takes 0.3 s takes 10 ms
Files = dict[str, bytes]


def config_of(plugin: type[Protection]) -> cfg.ConfigOpts:
    """The configuration of a provider with nothing but this plugin."""
    config = cfg.ConfigOpts()
    config(args=[], default_config_files=[], default_config_dirs=[])
    for group, options in plugin.OPTIONS.items():
        config.register_opts(options, group)
    return config


def files_of(path: Path) -> Files:
    """Every file below the directory."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob('*') if file.is_file()}


@dataclass
class Case:
    """A plugin, a resource for it, and how its content is seen: from outside, in the sandbox's directories."""

    plugin: type[Protection]
    resource: Resource
    content: Callable[[str], Files] = lambda id: {}
    change: Callable[[], None] = lambda: None
    # What the plugin has made: the copies and the restored resources of the user's project.
    copies: Callable[[], dict[str, Any]] = dict
    restored: Callable[[], dict[str, Any]] = dict
    service: str = 'karbor'
    copy_route: str = ''
    restore_route: str = ''


def cases(sandbox: Sandbox) -> dict[str, Callable[[], Case]]:
    """Cases by name; each call makes a resource of its own."""
    return {'noop': nothing, 'share': lambda: of_share(sandbox), 'database': lambda: of_database(sandbox)}


def nothing() -> Case:
    return Case(noop.Noop, Resource('OS::Nova::Server', str(uuid.uuid4()), 'a server'))


def new_share(sandbox: Sandbox, type: str = 'default', **more: Any) -> sharestore.Share:
    """Another share of the user demo, with files."""
    user, store = sandbox.users[0], sandbox.shares
    made = sharestore.Share(
        **{
            **dict(size=1, share_proto='NFS', type=store.types[type], project_id=user['project_id']),
            **dict(user_id=user['id'], directory=store.share_directory, name='a share', status='available'),
            **more,
        }
    )
    (made.path / 'folder').mkdir(parents=True)
    (made.path / 'readme.txt').write_text(f'This is {made.id}.\n')
    (made.path / 'folder' / 'data.bin').write_bytes(uuid.uuid4().bytes * 4096)
    with sandbox.clock.lock:
        store.shares[made.id] = made
    return made


def of_share(sandbox: Sandbox, type: str = 'default') -> Case:
    made, store = new_share(sandbox, type), sandbox.shares

    def change() -> None:
        (made.path / 'readme.txt').write_text('Overwritten.\n')
        (made.path / 'folder' / 'data.bin').unlink()
        (made.path / 'new.txt').write_text('New.\n')

    return Case(
        share.ManilaSnapshot,
        Resource(share.TYPE, made.id, 'a share'),
        content=lambda id: files_of((store.shares.get(id) or store.snapshots[id]).path),
        change=change,
        copies=lambda: {i: s for i, s in store.snapshots.items() if s.share is made},
        restored=lambda: {i: s for i, s in store.shares.items() if s.snapshot_id in _copies_of(store, made)},
        service='manila',
        copy_route='/snapshots',
        restore_route='/shares',
    )


def _copies_of(store: sharestore.ShareStore, made: sharestore.Share) -> set[str]:
    return {s.id for s in store.snapshots.values() if s.share is made}


def new_instance(sandbox: Sandbox, datastore: str = 'mysql') -> instancestore.Instance:
    """Another database instance of the user demo, with databases."""
    store = sandbox.instances
    kind = next(d for d in store.datastores if d.name == datastore)
    made = instancestore.Instance(
        name='an instance',
        flavor='1',
        datastore=kind,
        tenant_id=sandbox.users[0]['project_id'],
        directory=store.instance_directory,
        volume_size=2 if kind.volumes else None,
        status='ACTIVE',
    )
    made.path.mkdir()
    for name in ('shop', 'crm'):
        (made.path / f'{name}.sql').write_text(f'INSERT INTO items VALUES ({uuid.uuid4()});\n' * 100)
    with sandbox.clock.lock:
        store.instances[made.id] = made
    return made


def of_database(sandbox: Sandbox, datastore: str = 'mysql') -> Case:
    made, store = new_instance(sandbox, datastore), sandbox.instances
    before = set(store.instances)

    def change() -> None:
        (made.path / 'shop.sql').write_text('TRUNCATE items;\n')
        (made.path / 'new.sql').write_text('CREATE DATABASE new;\n')

    return Case(
        database.TroveBackup,
        Resource(database.TYPE, made.id, 'an instance'),
        content=lambda id: files_of((store.instances.get(id) or store.backups[id]).path),
        change=change,
        copies=lambda: {i: b for i, b in store.backups.items() if b.instance_id == made.id},
        restored=lambda: {i: s for i, s in store.instances.items() if i not in before},
        service='trove',
        copy_route='/backups',
        restore_route='/instances',
    )


@dataclass
class Driver:
    """Works on resources of one checkpoint, in a memory bank, as the user."""

    cloud: Cloud
    checkpoint_id: str
    bank: banks.Bank = field(default_factory=lambda: memory.MemoryBank(cfg.ConfigOpts()))
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def work(self, case: Case, operation: str) -> Work:
        made = getattr(case.plugin, operation)
        return made(config_of(case.plugin))

    def assignment(
        self, case: Case, operation: str, parameters: Mapping[str, Any] | None = None, **more: Any
    ) -> Assignment:
        number, resource = next(self._numbers), more.pop('resource', case.resource)
        return Assignment(
            **{
                'operation_id': f'operation-{number}',
                'operation_type': operation,
                'project_id': self.cloud.project_id,
                'checkpoint_id': self.checkpoint_id,
                'resource': resource,
                'tag': f'installation/operation-{uuid.uuid4()}/{resource.id}/1',
                'attempt': 1,
                'parameters': parameters or {},
                'section': self.section(resource),
                'cloud': self.cloud,
                'new_ids': {},
                'operation_started_at': timeutils.utcnow() - datetime.timedelta(seconds=1),
                **more,
            }
        )

    def section(self, resource: Resource) -> banks.Section:
        return banks.Section(self.bank, layout.resource_section(self.checkpoint_id, resource.id))

    def run(self, case: Case, operation: str, parameters: Mapping[str, Any] | None = None) -> State:
        """Do it all; the last state, which is active or error."""
        work, assignment = self.work(case, operation), self.assignment(case, operation, parameters)
        return self.go_on(work, assignment, work.start(assignment))

    def go_on(self, work: Work, assignment: Assignment, handle: dict[str, Any]) -> State:
        """Poll until the end, and finish. Where ids were told on the way, the last state has the latest."""
        end, new_id = time.monotonic() + SECONDS, None
        while time.monotonic() < end:
            state = work.poll(assignment, handle)
            new_id = state.new_id or new_id
            status = statuses.resource_status(state.word)[0]
            if status is statuses.ResourceStatus.ACTIVE:
                work.finish(assignment, handle)
            if status in (statuses.ResourceStatus.ACTIVE, statuses.ResourceStatus.ERROR):
                return State(status, state.details, state.progress, new_id, state.extra)
            time.sleep(0.005)
        raise AssertionError(f'still {state} after {SECONDS} s')

    def cancelled(self, work: Work, assignment: Assignment, handle: dict[str, Any]) -> None:
        """Cancel until it answers True."""
        end = time.monotonic() + SECONDS
        while not work.cancel(assignment, handle):
            assert time.monotonic() < end, 'it is never gone'
            time.sleep(0.005)
