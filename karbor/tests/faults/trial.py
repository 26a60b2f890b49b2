# SPDX-License-Identifier: Apache-2.0
"""A trial: one operation on a Karbor of its own, and how the world looks when it has ended."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from karbor.context import RequestContext
from karbor.db import models
from karbor.plugins import database, share, tags
from karbor.sandbox.identity import Project, User
from karbor.tests.faults.points import SECONDS
from karbor.tests.faults.site import PROVIDER, Karbor, Site, Worker, new_id
from karbor.tests.plugins.driver import files_of, new_instance, new_share

PROJECT = 'OS::Keystone::Project'
MAKER = 'maker'
SECOND = 'second'


@dataclass(frozen=True)
class Scenario:
    """An operation on a kind of resource: share, database, in_place (a share that is reverted) or project (with a
    share and a database).
    """

    operation: str
    kind: str

    def __str__(self) -> str:
        return f'{self.operation}-{self.kind}'


SCENARIOS = [
    *(Scenario(operation, kind) for kind in ('share', 'database') for operation in ('protect', 'restore', 'delete')),
    Scenario('restore', 'in_place'),
    Scenario('protect', 'project'),
    Scenario('verify', 'share'),
]


@dataclass
class Outcome:
    """How it ended. ``world`` is the same for every run of a scenario that ended in the same way."""

    world: dict[str, Any]
    epoch: int
    duplicates: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    trusts: int = 1


class Trial:
    """One operation of one user in one project of the cloud."""

    def __init__(self, karbor: Karbor, scenario: Scenario) -> None:
        self.karbor, self.scenario, self.sandbox = karbor, scenario, karbor.site.sandbox
        self.project, self.user = self._user()
        self.sources = self._sources()
        self.contents = {id: files_of(thing.path) for id, thing in self.sources.items()}
        self.plan_id, self.checkpoint_id, self.restore_id, self.verification_id = (new_id() for _ in range(4))
        self.operation_id = self.protect_id = new_id()
        self._engine = sa.create_engine(karbor.url)
        self._names: dict[str, str] = {}
        self._copies: list[tuple[str, Any]] = []
        if scenario.operation != 'protect':
            self._make_checkpoint()
        if scenario.kind == 'in_place':
            for thing in self.sources.values():
                (thing.path / 'readme.txt').write_text('Overwritten.\n')

    def close(self) -> None:
        """Let the database go."""
        self._engine.dispose()

    # -- what is there

    def _user(self) -> tuple[Project, User]:
        identity = self.sandbox.identity
        with self.sandbox.clock.lock:
            project = identity.add_project(f'project-{new_id()}')
            return project, identity.add_user(f'user-{new_id()}', project, 'member')

    def _sources(self) -> dict[str, Any]:
        kind = self.scenario.kind
        found: list[Any] = []
        if kind != 'database':
            found.append(new_share(self.sandbox, project_id=self.project.id, user_id=self.user.id))
        if kind in ('database', 'project'):
            instance = new_instance(self.sandbox)
            instance.tenant_id = self.project.id
            found.append(instance)
        return {thing.id: thing for thing in found}

    def _make_checkpoint(self) -> None:
        """By another worker, in another life: no trust, no client, no answer of a service is left of it."""
        maker = self.karbor.worker(MAKER)
        maker.ask('start')
        self.accept(maker, 'protect')
        self.wait_until_ended()
        maker.kill()
        self.operation_id = new_id()
        self._copies = self._made()
        with self._engine.begin() as connection:
            connection.execute(sa.delete(models.Trust))
        with self.sandbox.clock.lock:
            trusts = self.sandbox.identity.trusts
            for id in [id for id, trust in trusts.items() if trust.project is self.project]:
                del trusts[id]

    # -- what is done

    def accept(self, worker: Worker, operation: str | None = None) -> None:
        """Have the worker accept the operation; harmless when repeated, as by a client that got no answer."""
        wanted = operation or self.scenario.operation
        getattr(self, f'_{wanted}')(worker)

    def _context(self) -> dict[str, Any]:
        with self.sandbox.clock.lock:
            token = self.sandbox.identity.issue(self.user, ['password'], None, project=self.project)
        return RequestContext(
            user_id=self.user.id,
            project_id=self.project.id,
            project_name=self.project.name,
            roles=token.roles,
            auth_token=token.value,
            service_catalog=self.sandbox.catalog(self.project.id),
            overwrite=False,
        ).to_dict()

    def _protect(self, worker: Worker) -> None:
        types = {True: share.TYPE, False: database.TYPE}
        named = [{'type': types[hasattr(s, 'export_id')], 'id': id, 'name': s.name} for id, s in self.sources.items()]
        if self.scenario.kind == 'project':
            named = [{'type': PROJECT, 'id': self.project.id, 'name': self.project.name}]
        plan = {
            'id': self.plan_id,
            'name': 'plan',
            'project_id': self.project.id,
            'provider_id': PROVIDER,
            'parameters': {},
            'resources': named,
        }
        ids = {'checkpoint_id': self.checkpoint_id, 'operation_id': self.protect_id}
        worker.ask('protect', context=self._context(), plan=plan, **ids)

    def _restore(self, worker: Worker) -> None:
        in_place = {f'{share.TYPE}#{id}': {'share_id': id} for id in self.sources}
        restore = {
            'id': self.restore_id,
            'provider_id': PROVIDER,
            'checkpoint_id': self.checkpoint_id,
            'parameters': in_place if self.scenario.kind == 'in_place' else {},
        }
        worker.ask('restore', context=self._context(), restore=restore, operation_id=self.operation_id)

    def _verify(self, worker: Worker) -> None:
        ids = {'id': self.verification_id, 'provider_id': PROVIDER, 'checkpoint_id': self.checkpoint_id}
        verification = {**ids, 'parameters': {}}
        worker.ask('verify', context=self._context(), verification=verification, operation_id=self.operation_id)

    def _delete(self, worker: Worker) -> None:
        ids = {'checkpoint_id': self.checkpoint_id, 'operation_id': self.operation_id}
        worker.ask('delete', context=self._context(), provider_id=PROVIDER, **ids)

    # -- how it stands

    def rows(self, table: Any, **wanted: Any) -> list[Mapping[str, Any]]:
        query = sa.select(table.__table__).filter_by(**wanted)
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def table(self, table: sa.Table) -> list[Any]:
        """All rows of the table, without how long a lease lasts: the owner's heartbeat may have been on its way."""
        columns = [column for column in table.c if column.name != 'expires_at']
        with self._engine.connect() as connection:
            return sorted(map(repr, connection.execute(sa.select(*columns))))

    @property
    def operation(self) -> Any:
        """Its row, None before it is accepted."""
        return next(iter(self.rows(models.OperationLog, id=self.operation_id)), None)

    def wait_until_ended(self, seconds: float = SECONDS) -> None:
        self.until(lambda: (self.operation or {}).get('ended_at'), 'the operation ends', seconds)

    def until(self, is_so: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
        """What ``is_so`` answers once that is true."""
        end = time.monotonic() + seconds
        while not (found := is_so()):
            assert time.monotonic() < end, f'It did not come to this: {what}.\n{self.operation}\n{self.karbor.logs()}'
            time.sleep(0.02)
        return found

    # -- how it ended

    def outcome(self) -> Outcome:
        """How the world looks now."""
        operation = self.operation
        assert operation is not None
        made = self._made()
        self._names = self._known_ids(made)
        resources = self.rows(models.OperationResource, operation_id=self.operation_id)
        world = {
            'operation': self._shown(operation, 'operation_type', 'status', 'status_details', 'error_info'),
            'resources': [self._resource(row) for row in resources],
            'checkpoint': [
                self._shown(row, 'checkpoint_status', 'status_details', 'extend_info')
                for row in self.rows(models.CheckpointRecord)
            ],
            'restore': [self._shown(row, 'status') for row in self.rows(models.Restore)],
            'verification': [self._shown(row, 'status') for row in self.rows(models.Verification)],
            'bank': self._bank(),
            'sources': [self._source(id, thing) for id, thing in self.sources.items()],
            'made': sorted((self._thing(kind, thing) for kind, thing in made), key=repr),
            'extra_info': operation['extra_info'],
            'is_ended': operation['ended_at'] is not None,
        }
        duplicates, orphans = self._superfluous(made, resources)
        trusts = sum(t.project is self.project for t in self.sandbox.identity.trusts.values())
        return Outcome(world, operation['epoch'], duplicates, orphans, trusts)

    def _made(self) -> list[tuple[str, Any]]:
        """(kind, object) of everything in the project that the test did not make."""
        shares, instances, mine = self.sandbox.shares, self.sandbox.instances, self.project.id
        with self.sandbox.clock.lock:
            found: list[tuple[str, Any]] = [('snapshot', s) for s in shares.snapshots.values() if s.project_id == mine]
            found += [('share', s) for s in shares.shares.values() if s.project_id == mine]
            found += [('backup', b) for b in instances.backups.values() if b.tenant_id == mine]
            found += [('instance', i) for i in instances.instances.values() if i.tenant_id == mine]
        return [(kind, thing) for kind, thing in found if thing.id not in self.sources]

    def _known_ids(self, made: list[tuple[str, Any]]) -> dict[str, str]:
        stamps = {
            str(int(row['created_at'].timestamp() - time.timezone)): 'STAMP'
            for row in self.rows(models.CheckpointRecord)
        }
        dates = {str(row['created_at'].date()): 'DATE' for row in self.rows(models.CheckpointRecord)}
        return {
            self.project.id: 'PROJECT',
            self.project.name: 'PROJECT-NAME',
            self.user.id: 'USER',
            self.plan_id: 'PLAN',
            self.checkpoint_id: 'CHECKPOINT',
            self.operation_id: 'OPERATION',
            self.protect_id: 'PROTECT' if self.protect_id != self.operation_id else 'OPERATION',
            **{id: f'SOURCE-{type(thing).__name__}' for id, thing in self.sources.items()},
            **{thing.id: f'MADE-{kind}' for kind, thing in [*self._copies, *made]},
            **{row['id']: 'INSTALLATION' for row in self.rows(models.Installation)},
            **{one.id: f'TYPE-{name}' for name, one in self.sandbox.shares.types.items()},
            **stamps,
            **dates,
        }

    def _told(self, value: Any) -> Any:
        """The value with names in place of ids."""
        text = orjson.dumps(value, default=str).decode()
        for id, name in self._names.items():
            text = text.replace(id, name)
        return orjson.loads(text)

    def _shown(self, row: Mapping[str, Any], *columns: str) -> Any:
        return self._told({column: row[column] for column in columns})

    def _resource(self, row: Mapping[str, Any]) -> Any:
        kept = ('resource_type', 'resource_id', 'new_id', 'status', 'status_details', 'progress', 'hooks', 'attempt')
        handle = {key: id for key, id in (row['handle'] or {}).items() if key.endswith('_id') and key != 'request_id'}
        return self._shown(row, *kept) | {'handle': self._told(handle), 'is_ended': row['ended_at'] is not None}

    def _bank(self) -> dict[str, str]:
        """The keys and what is there, without what an interrupted write has left: it is no object."""
        root = self.karbor.folder / 'bank'
        files = {str(path.relative_to(root)): path.read_text() for path in root.rglob('*') if path.is_file()}
        return {self._told(key): self._told(text) for key, text in sorted(files.items()) if ',' not in key}

    def _source(self, id: str, thing: Any) -> Any:
        return {'kind': type(thing).__name__, 'status': thing.status, 'same': files_of(thing.path) == self.contents[id]}

    def _thing(self, kind: str, thing: Any) -> Any:
        content = files_of(Path(thing.path))
        return self._told(
            {
                'kind': kind,
                'name': thing.name,
                'status': thing.status,
                'description': getattr(thing, 'description', None),
                'metadata': getattr(thing, 'metadata', None),
                'same': next((i for i, files in self.contents.items() if files == content), None),
            }
        )

    def _superfluous(
        self, made: list[tuple[str, Any]], resources: list[Mapping[str, Any]]
    ) -> tuple[list[str], list[str]]:
        """Objects with the tag, or else the name, of another one; and those that neither rows nor bank know."""
        seen: set[str] = set()
        duplicates, orphans = [], []
        known = repr([(row['handle'], row['new_id']) for row in resources])
        root = self.karbor.folder / 'bank'
        known += ''.join(path.read_text() for path in root.rglob('*') if path.is_file())
        for kind, thing in made:
            about = {'metadata': getattr(thing, 'metadata', None), 'description': getattr(thing, 'description', None)}
            tag = f'{kind} {tags.tag_of(about) or thing.name}'
            told = f'{tag} ({thing.id})'
            duplicates += [told] if tag in seen else []
            orphans += [told] if thing.id not in known else []
            seen.add(tag)
        return duplicates, orphans


@contextlib.contextmanager
def trial(site: Site, scenario: Scenario, **options: Any) -> Iterator[Trial]:
    """A trial that is ready to be accepted."""
    with site.karbor(**options) as karbor:
        made = Trial(karbor, scenario)
        try:
            yield made
        finally:
            made.close()
