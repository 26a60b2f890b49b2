# SPDX-License-Identifier: Apache-2.0
"""Every command of both shells of python-karborclient: `karbor`, and the plugin `openstack data protection`."""

import uuid
from importlib import metadata

import pytest
from karborclient import shell as karbor_shell

from karbor.tests.client.commands import COMMANDS, KARBOR, OPENSTACK
from karbor.tests.client.conftest import PLAN_QUOTA, SHARE

PLUGIN = 'openstack.data_protection.v1'
# What is made for the table, in the order in which it can be taken away.
MADE = ('scheduled_operations', 'triggers', 'plans')
CALLS = [(shell, command) for shell in (KARBOR, OPENSTACK) for command in COMMANDS if shell in command.shells]


class Things(dict):
    """What the table names, made when it is first asked for."""

    def __init__(self, karbor):
        super().__init__(nowhere=str(uuid.uuid4()), quota=PLAN_QUOTA, project=karbor.users['demo']['project_id'])
        self.karbor, self.client = karbor, karbor.client()

    def __missing__(self, name):
        self[name] = getattr(self, name.rpartition('_')[2])(name)
        return self[name]

    def noop(self, name):
        return next(p.id for p in self.client.providers.list() if p.name == 'Noop Provider')

    def share(self, name):
        return self.client.protectables.list_instances(SHARE)[0].id

    def engine(self, name):
        return self.karbor.client('admin').services.list(binary='karbor-operationengine')[0].id

    def plan(self, name):
        resource = {'id': self['share'], 'type': SHARE, 'name': 'documents'}
        return self.client.plans.create('planned' if name == 'plan' else name, self['noop'], [resource], {}).id

    def checkpoint(self, name):
        made = self.client.checkpoints.create(self['noop'], self['plan'])
        return self.karbor.ended_checkpoint(self['noop'], made.id).id

    def restore(self, name):
        made = self.client.restores.create(self['noop'], self['checkpoint'], None, {}, None)
        return self.karbor.ended_restore(made.id).id

    def verification(self, name):
        made = self.client.verifications.create(self['noop'], self['checkpoint'], {})
        return self.karbor.ended_verification(made.id).id

    def log(self, name):
        assert self['verification']
        return next(one.id for one in self.client.operation_logs.list() if one.checkpoint_id == self['checkpoint'])

    def trigger(self, name):
        about = {'format': 'crontab', 'pattern': '0 2 * * *'}
        return self.client.triggers.create('triggered' if name == 'trigger' else name, 'time', about).id

    def operation(self, name):
        trigger = self['used_trigger'] if name == 'operation' else self.trigger('for_it')
        about = {'provider_id': self['noop'], 'plan_id': self['plan']}
        called = 'scheduled' if name == 'operation' else name
        return self.client.scheduled_operations.create(called, 'protect', trigger, about).id


@pytest.fixture(scope='module')
def things(karbor):
    """things[shell] are the `Things` of a shell's commands; they are gone at the end."""
    client = karbor.client()
    before = {kind: {one.id for one in getattr(client, kind).list()} for kind in MADE}
    yield {shell: Things(karbor) for shell in (KARBOR, OPENSTACK)}
    karbor.client('admin').services.enable(karbor.client('admin').services.list(binary='karbor-operationengine')[0].id)
    for kind in MADE:
        for one in getattr(client, kind).list():
            if one.id not in before[kind]:
                getattr(client, kind).delete(one.id)


@pytest.fixture
def run(karbor):
    """run(shell, *arguments, user=…) is what the command of the shell did."""
    return karbor.preloaded


def test_every_command_of_karbor_is_in_the_table():
    shell = karbor_shell.KarborShell()
    shell.get_subcommand_parser('1', [])
    names = {command.words(KARBOR)[0] for command in COMMANDS if KARBOR in command.shells}
    # The parser has each name a second time, with underscores where there are hyphens.
    assert {name.replace('_', '-') for name in shell.subcommands} == names
    assert len(names) > 40


def test_every_command_of_openstack_is_in_the_table():
    prefix = 'data_protection_'
    entries = {entry.name.removeprefix(prefix).replace('_', ' ') for entry in metadata.entry_points(group=PLUGIN)}
    assert entries == {command.name for command in COMMANDS if OPENSTACK in command.shells}
    assert len(entries) > 40


@pytest.mark.parametrize(('shell', 'command'), [pytest.param(*call, id=f'{call[0]} {call[1].name}') for call in CALLS])
def test_command_prints_what_the_table_says(run, things, shell, command):
    arguments, has, holds = command.about(things[shell])
    done = run(shell, *command.words(shell), *arguments, user=command.user)
    if command.fails:
        assert (done.status, done.output) == (1, '')
        assert command.fails in done.errors
        return
    assert (done.status, done.errors) == (0, '')
    if command.columns:
        assert [*done.rows[0]] == command.columns
        assert any(has.items() <= row.items() for row in done.rows), done.output
        assert all(any(text in row[name] for row in done.rows) for name, text in holds.items())
    elif has:
        assert set(command.keys) <= set(done.shown)
        assert {name: done.shown[name] for name in has} == has
        assert all(text in done.shown[name] for name, text in holds.items())


@pytest.mark.parametrize('shell', [KARBOR, OPENSTACK])
def test_what_a_silent_command_does_is_done(karbor, run, things, shell):
    known, client = things[shell], karbor.client()
    for kind, one in (('plan', 'past_plan'), ('scheduledoperation', 'past_operation'), ('trigger', 'past_trigger')):
        manager = {'plan': client.plans, 'trigger': client.triggers}.get(kind, client.scheduled_operations)
        assert known[one] in {found.id for found in manager.list()}
        words = [f'{kind}-delete'] if shell == KARBOR else [kind, 'delete']
        done = run(shell, *words, known[one])
        assert (done.status, done.output, done.errors) == (0, '', '')
        assert known[one] not in {found.id for found in manager.list()}


def test_help_and_completion_tell_the_commands(run):
    assert 'usage: karbor plan-list' in run(KARBOR, 'help', 'plan-list').output
    assert {'plan-list', 'checkpoint-reset-state'} <= set(run(KARBOR, 'bash-completion').output.split())
