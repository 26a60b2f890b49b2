# SPDX-License-Identifier: Apache-2.0
"""Karbor's main job in a minute: protect two shares and a database, lose them, restore them, compare.

Starts karbor-standalone with its sandbox cloud and works with it as any user does, by python-karborclient and
its command `karbor`. Ends with the line `demo: passed` and exit status 0, or says what failed and exits with 1.
"""

import shlex
import sys
import time
from collections.abc import Callable
from typing import Any

import demo_cloud
import demo_screen as screen
from demo_cloud import DATABASE, SHARE
from demo_service import Service, spare_proxies, stop_at_sigterm

USER = 'demo'
PROJECT = 'OS::Keystone::Project'
# The longest that an operation may take, and how often its state is asked for, in seconds.
PATIENCE, PAUSE = 30, 0.1
BUSY = ('protecting', 'deleting', 'in_progress')
LOGS = (
    ('protect', 'available'),
    ('restore', 'restored'),
    ('restore', 'error-restoring'),
    ('delete', 'deleted'),
)

Step = Callable[['Demo'], None]
STEPS: list[tuple[str, str, Step]] = []


class Failed(Exception):
    """Something is not as it should be."""


def step(title: str, what_happens: str) -> Callable[[Step], Step]:
    """Make a method the next step of the demo."""

    def add(method: Step) -> Step:
        STEPS.append((title, what_happens, method))
        return method

    return add


class Demo:
    """The steps in their order; each leaves for the next ones what it made."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.karbor = service.client(USER)
        self.cloud = demo_cloud.Cloud(service.session(USER), service.session('admin'), service.ready['faults_url'])
        self.provider: Any = None
        self.resources: list[Any] = []
        self.plan: Any = None
        self.protected: dict[str, demo_cloud.Hashes] = {}
        self.checkpoint: Any = None
        self.restored: list[dict[str, Any]] = []

    def run(self) -> None:
        """All steps. Raises Failed, and what the clients raise."""
        for number, (title, what_happens, method) in enumerate(STEPS, start=1):
            screen.heading(f'{number}. {title}', what_happens)
            method(self)

    @step(
        'What can be protected',
        'Karbor knows these types of resources. A provider tells how each is protected, and in which bank the '
        'checkpoints are kept.',
    )
    def list_protectables(self) -> None:
        self.shell('protectable-list')
        self.shell('provider-list')

    @step('The project', 'Resources depend on each other: on the project hang the shares and databases in it.')
    def show_project(self) -> None:
        instances = self.karbor.protectables
        (project,) = instances.list_instances(PROJECT)
        screen.tree(
            project.to_dict(),
            text_of=lambda node: f'{node["name"]}  ({node["type"]})',
            children_of=lambda node: instances.get_instance(node['type'], node['id']).dependent_resources,
        )
        below = sorted(project.dependent_resources, key=lambda resource: str(resource['name']))
        shares = [resource for resource in below if resource['type'] == SHARE]
        databases = [resource for resource in below if resource['type'] == DATABASE]
        require(len(shares) >= 2 and databases, 'the project has no two shares and a database instance')
        self.resources = [*shares[:2], databases[0]]

    @step('A plan', 'What to protect together: two shares with files in them, and an instance with databases.')
    def make_plan(self) -> None:
        self.provider = self.provider_for({SHARE, DATABASE})
        wanted = ','.join(f'{r["id"]}={r["type"]}={r["name"]}' for r in self.resources)
        self.shell('plan-create', 'my-plan', self.provider.id, wanted)
        self.plan = self.karbor.plans.find(name='my-plan')

    @step(
        'A checkpoint',
        'Karbor has a snapshot taken of each share and a backup made of the database instance, all at once, and '
        'writes into its bank what it takes to restore them.',
    )
    def protect(self) -> None:
        self.protected = {r['id']: self.hashes_of(r['type'], r['id']) for r in self.resources}
        screen.command(f'client.checkpoints.create({self.provider.id!r}, {self.plan.id!r})')
        made = self.karbor.checkpoints.create(self.provider.id, self.plan.id)
        self.checkpoint = self.watch(lambda: self.karbor.checkpoints.get(self.provider.id, made.id))
        require(self.checkpoint.status == 'available', f'the checkpoint is {self.checkpoint.status}')
        self.shell('checkpoint-list', self.provider.id)

    @step('The accident', 'Somebody overwrites, changes and adds files where the shares and the databases are.')
    def lose_data(self) -> None:
        for resource in self.resources:
            directory = self.cloud.directory_of(resource['type'], resource['id'])
            demo_cloud.spoil(directory)
            files = sorted(demo_cloud.hashes(directory))
            screen.say(f'   {resource["name"]:<10} now has {", ".join(files)} in {directory}')

    @step('Restore', 'Each resource of the checkpoint becomes a new one beside the original, under a name of its own.')
    def restore(self) -> None:
        restore = self.watch_restore()
        require(restore.status == 'success', f'the restore is {restore.status}: {restore.status_details}')
        self.restored = restore.resources

    @step('Compare', 'Every file of each new resource is to be, byte for byte, what it was in the original before.')
    def compare(self) -> None:
        new_ids = {(r['type'], r['id']): r['new_id'] for r in self.restored}
        rows = [self.compared(r, new_ids[r['type'], r['id']]) for r in self.resources]
        screen.table(('resource', 'restored as', 'files', 'the original', 'the restored'), rows)
        require(all(row[-2:] == ('has changed', 'is identical') for row in rows), 'not everything is as it was')

    def compared(self, original: dict[str, Any], new_id: str) -> tuple[Any, ...]:
        """The row about one resource."""
        before = self.protected[original['id']]
        now = self.hashes_of(original['type'], original['id'])
        new = self.hashes_of(original['type'], new_id)
        return (
            original['name'],
            new_id,
            len(new),
            'has changed' if now != before else 'HAS NOT CHANGED',
            'is identical' if new == before else 'DIFFERS',
        )

    @step(
        'A restore that fails',
        'The sandbox cloud is told that the next share it makes ends in an error. What does not depend on that '
        'share is restored all the same, and the user reads what went wrong, and where.',
    )
    def fail_to_restore(self) -> None:
        with self.cloud.fault(service='manila', match='POST /shares$', kind='error_state'):
            restore = self.watch_restore()
        (log,) = self.karbor.operation_logs.list(search_opts={'restore_id': restore.id})
        reasons = restore.resources_reason
        screen.texts(
            [
                ('status of the restore', restore.status),
                ('status_details', str(restore.status_details)),
                *((f'resources_reason of {resource}', reason) for resource, reason in reasons.items()),
                ('error_info of the operation log', str(log.error_info)),
            ]
        )
        require(restore.status == 'fail', f'the restore is {restore.status} in spite of the fault')
        require(all((restore.status_details, reasons, log.error_info)), 'a reason is missing')

    @step(
        'Delete the checkpoint', 'Its snapshots and backups leave the cloud, and what the bank holds of it goes, too.'
    )
    def delete(self) -> None:
        before = self.cloud.copies()
        self.shell('checkpoint-delete', self.provider.id, self.checkpoint.id)
        checkpoint = self.watch(lambda: self.karbor.checkpoints.get(self.provider.id, self.checkpoint.id))
        require(checkpoint.status == 'deleted', f'the checkpoint is {checkpoint.status}')
        after = self.cloud.copies()
        screen.table(('in the cloud', 'before', 'now'), [(kind, before[kind], after[kind]) for kind in before])
        require(list(before.values()) == [2, 1], 'there were not two snapshots and a backup')
        require(not any(after.values()), 'snapshots or backups are left')

    @step('What was done', 'Every operation leaves a log; its owner may read it, today and later.')
    def show_logs(self) -> None:
        logs = self.karbor.operation_logs.list(sort='created_at:asc')
        screen.table(
            ('operation', 'status', 'started', 'ended', 'error_info'),
            [
                (log.operation_type, log.status, log.started_at[:19], log.ended_at[:19], (log.error_info or '')[:40])
                for log in logs
            ],
        )
        found = tuple((log.operation_type, log.status) for log in logs)
        require(found == LOGS, f'the logs are not {LOGS}')

    def provider_for(self, types: set[str]) -> Any:
        """The provider that can protect resources of all these types, and has options for them."""
        for provider in self.karbor.providers.list():
            schemas = provider.extended_info_schema['options_schema']
            if all(schemas.get(resource_type) for resource_type in types):
                return provider
        raise Failed(f'no provider protects {", ".join(sorted(types))}')

    def shell(self, *arguments: str) -> None:
        """Run `karbor` with these arguments, and show it."""
        done = self.service.shell(USER, *arguments)
        screen.command(f'$ karbor {shlex.join(arguments)}', done.stdout)
        require(done.returncode == 0, f'karbor {arguments[0]}: {done.stderr.strip()}')

    def watch_restore(self) -> Any:
        """A new restore of the checkpoint, after it has ended."""
        parameters = {f'{r["type"]}#{r["id"]}': {'restore_name': f'{r["name"]}-restored'} for r in self.resources}
        screen.command(f'client.restores.create({self.provider.id!r}, {self.checkpoint.id!r}, …)')
        made = self.karbor.restores.create(self.provider.id, self.checkpoint.id, None, parameters, None)
        return self.watch(lambda: self.karbor.restores.get(made.id))

    def watch(self, ask: Callable[[], Any]) -> Any:
        """The checkpoint or restore that `ask` gets, after its operation has ended; drawn until then."""
        bars, end = screen.Bars(), time.monotonic() + PATIENCE
        while True:
            seen = ask()
            bars.show(seen.resources)
            if seen.status not in BUSY:
                return seen
            require(time.monotonic() < end, f'{seen.id} is still {seen.status} after {PATIENCE} seconds')
            time.sleep(PAUSE)

    def hashes_of(self, resource_type: str, id: str) -> demo_cloud.Hashes:
        """The hashes of all files of a share or of a database instance, as they are now."""
        return demo_cloud.hashes(self.cloud.directory_of(resource_type, id))


def require(holds: Any, otherwise: str) -> None:
    """Raise Failed, with what is wrong, unless it holds."""
    if not holds:
        raise Failed(otherwise)


def show(service: Service) -> None:
    """Run the demo on a service that is started for it."""
    screen.say('Starting Karbor, and a sandbox cloud with a Keystone, a Manila and a Trove, on this machine.')
    with service:
        screen.say(f'   Karbor {service.ready["karbor"]}, Keystone {service.ready["auth_url"]}')
        try:
            Demo(service).run()
        except Exception:  # whatever it is, it is raised again: the log of the service tells more
            screen.say(f'\nThe last lines of the log of the service, {service.keep_log()}:\n{service.last_words()}\n')
            raise


def main() -> int:
    """Run the demo; the exit status."""
    stop_at_sigterm()
    spare_proxies()
    began = time.monotonic()
    try:
        show(Service())
    except KeyboardInterrupt:
        screen.say('demo: stopped', screen.RED)
        return 1
    except Exception as fault:  # noqa: BLE001  whatever it is, it is the result of the demo and told as such
        screen.say(f'demo: failed: {type(fault).__name__}: {fault}', screen.RED)
        return 1
    screen.say(f'\nThat took {time.monotonic() - began:.0f} seconds. `make run` starts the same to play with.')
    screen.say('demo: passed', screen.GREEN)
    return 0


if __name__ == '__main__':
    sys.exit(main())
