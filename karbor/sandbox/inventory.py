# SPDX-License-Identifier: Apache-2.0
"""What is in the cloud when it starts: projects, users, shares with files and instances with databases."""

import random
from typing import NamedTuple

from karbor.sandbox.identity import Identity, Project, User
from karbor.sandbox.manila.store import Share, ShareStore
from karbor.sandbox.trove.store import Instance, InstanceStore


class People(NamedTuple):
    """The users, each with its project."""

    demo: User
    reader: User
    other: User
    admin: User
    service: User


def people(identity: Identity) -> People:
    """The projects demo, other, admin and service with their users."""
    demo, other, admin, service = map(identity.add_project, ('demo', 'other', 'admin', 'service'))
    return People(
        demo=identity.add_user('demo', demo, 'member'),
        reader=identity.add_user('reader', demo, 'reader'),
        other=identity.add_user('other', other, 'member'),
        admin=identity.add_user('admin', admin, 'admin'),
        service=identity.add_user('karbor', service, 'admin', 'service'),
    )


def stock(who: People, identity: Identity, shares: ShareStore, instances: InstanceStore) -> None:
    """Fill the cloud: what is made here is available at once."""
    demo = identity.projects[str(who.demo.default_project_id)]
    other = identity.projects[str(who.other.default_project_id)]
    for owner, project, name, size in (
        (who.demo, demo, 'documents', 1),
        (who.demo, demo, 'photos', 2),
        (who.demo, demo, 'scratch', 1),
        (who.other, other, 'papers', 1),
    ):
        _share(shares, owner, project, name, size)
    _instance(instances, demo, 'shop-db', 'mysql', ('shop', 'crm'))
    _instance(instances, demo, 'wiki-db', 'mariadb', ('wiki',))
    _instance(instances, other, 'ledger-db', 'mysql', ('ledger',))


def _share(store: ShareStore, owner: User, project: Project, name: str, size: int) -> None:
    share = Share(
        size=size,
        share_proto='NFS',
        type=store.types['default'],
        project_id=project.id,
        user_id=owner.id,
        directory=store.share_directory,
        name=name,
        status='available',
    )
    folder = share.path / 'folder'
    folder.mkdir(parents=True)
    share.path.chmod(0o777)
    (share.path / 'readme.txt').write_text(f'The share {name} of the project {project.name}.\n')
    (folder / 'data.bin').write_bytes(random.Random(name).randbytes(64 * 1024))
    store.shares[share.id] = share


def _instance(store: InstanceStore, project: Project, name: str, datastore: str, databases: tuple[str, ...]) -> None:
    kind = next(d for d in store.datastores if d.name == datastore)
    instance = Instance(
        name=name,
        flavor='1',
        datastore=kind,
        tenant_id=project.id,
        directory=store.instance_directory,
        volume_size=1 if kind.volumes else None,
        users=[{'name': 'app', 'password': 'app', 'host': '%', 'databases': list(databases)}],
        status='ACTIVE',
    )
    instance.path.mkdir()
    for database in databases:
        rows = ''.join(f"({n}, '{database} {n}'),\n" for n in range(100))
        (instance.path / f'{database}.sql').write_text(
            f'CREATE DATABASE `{database}`;\nCREATE TABLE items (id INT, name TEXT);\n'
            f'INSERT INTO items VALUES\n{rows}(100, NULL);\n'
        )
    store.instances[instance.id] = instance
