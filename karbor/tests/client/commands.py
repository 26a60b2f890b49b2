# SPDX-License-Identifier: Apache-2.0
"""The commands of both shells of python-karborclient: how each is called, and what it prints.

A command is named as `openstack data protection` has it. `{word}` in arguments and expectations is one of the things
of `test_commands.Things`.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

KARBOR, OPENSTACK = 'karbor', 'openstack'
# Where `karbor` does not just join the words by hyphens.
NAMES = {
    'protectable instance list': 'protectable-list-instances',
    'protectable instance show': 'protectable-show-instance',
    'quotaclass show': 'quota-class-show',
    'quotaclass update': 'quota-class-update',
    'quotas default': 'quota-defaults',
    'quotas show': 'quota-show',
    'quotas update': 'quota-update',
}


@dataclass(frozen=True)
class Command:
    """``columns`` are those of a list, exactly; ``has`` are cells of one of its rows, or properties that are shown, and
    ``holds`` is text within cells. ``keys`` are properties that are shown, beside perhaps others.

    ``fails`` is the error of a command that ends with status 1: one that the client itself breaks.
    """

    name: str
    arguments: str = ''
    columns: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    has: dict[str, str] = field(default_factory=dict)
    holds: dict[str, str] = field(default_factory=dict)
    fails: str = ''
    user: str = 'demo'
    shells: tuple[str, ...] = (KARBOR, OPENSTACK)

    def words(self, shell: str) -> list[str]:
        """The command as the shell has it."""
        return [NAMES.get(self.name, self.name.replace(' ', '-'))] if shell == KARBOR else self.name.split()

    def about(self, things: Mapping[str, object]) -> tuple[list[str], dict[str, str], dict[str, str]]:
        """Arguments, `has` and `holds` with the things in their places."""
        has, holds = ({n: text.format_map(things) for n, text in told.items()} for told in (self.has, self.holds))
        return shlex.split(self.arguments.format_map(things)), has, holds


PLAN = ['id', 'name', 'description', 'provider_id', 'resources', 'parameters', 'status']
CHECKPOINT = ['id', 'project_id', 'status', 'protection_plan', 'resource_graph', 'created_at', 'extra_info']
VERIFICATION = ['id', 'project_id', 'provider_id', 'checkpoint_id', 'parameters', 'status']
VERIFICATION += ['resources_status', 'resources_reason']
RESTORE = [*VERIFICATION, 'restore_target']
TRIGGER = ['id', 'name', 'type', 'properties']
OPERATION = ['id', 'name', 'operation_type', 'trigger_id', 'operation_definition', 'enabled']
LOG = ['id', 'operation_type', 'checkpoint_id', 'plan_id', 'provider_id', 'restore_id', 'scheduled_operation_id']
LOG += ['status', 'started_at', 'ended_at', 'error_info', 'extra_info']
LOGS = ['Id', 'Operation Type', 'Checkpoint id', 'Plan Id', 'Provider id', 'Restore Id', 'Scheduled Operation Id']
LOGS += ['Status', 'Started At', 'Ended At', 'Error Info', 'Extra Info']
SERVICES = ['Id', 'Binary', 'Host', 'Status', 'State', 'Updated_at', 'Disabled Reason']
CRONTAB = "'format=crontab,pattern=0 3 * * *,start_time=2026-01-01 00:00:00,window=900'"
DEFINITION = 'provider_id={noop},plan_id={plan}'
RESOURCE = '{share}=OS::Manila::Share=documents'

COMMANDS = [
    Command(
        'plan create',
        f'made {{noop}} {RESOURCE} --description told',
        keys=PLAN,
        has={'name': 'made', 'description': 'told', 'provider_id': '{noop}', 'status': 'suspended'},
        holds={'resources': '{share}'},
    ),
    Command(
        'plan list',
        '--name planned --status suspended --sort name:asc --limit 5',
        columns=['Id', 'Name', 'Description', 'Provider id', 'Status'],
        has={'Id': '{plan}', 'Name': 'planned', 'Provider id': '{noop}', 'Status': 'suspended'},
    ),
    Command('plan show', '{plan}', keys=PLAN, has={'id': '{plan}', 'name': 'planned'}, holds={'resources': '{share}'}),
    Command(
        'plan update',
        f'{{spare_plan}} --name changed --description new --status started --resources {RESOURCE}',
        keys=PLAN,
        has={'id': '{spare_plan}', 'name': 'changed', 'description': 'new', 'status': 'started'},
    ),
    Command('plan delete', '{old_plan}'),
    Command(
        'checkpoint create',
        '{noop} {plan} --extra_info why=try',
        keys=CHECKPOINT,
        has={'status': 'protecting', 'extra_info': '{{"why":"try"}}'},
        holds={'protection_plan': '{plan}'},
    ),
    Command(
        'checkpoint list',
        '{noop} --plan_id {plan} --start_date 2026-01-01 --end_date 2126-01-01 --sort id:asc',
        columns=['Id', 'Project id', 'Status', 'Protection plan', 'Created at'],
        has={'Id': '{checkpoint}', 'Project id': '{project}', 'Protection plan': 'Name: planned\nId: {plan}'},
        shells=(KARBOR,),
    ),
    Command(
        'checkpoint list',
        '{noop} --plan_id {plan} --start_date 2026-01-01 --end_date 2126-01-01 --sort id:asc',
        columns=['Id', 'Project id', 'Status', 'Protection plan', 'Metadata', 'Created at'],
        has={'Id': '{checkpoint}', 'Project id': '{project}', 'Protection plan': 'Name: planned\nId: {plan}'},
        shells=(OPENSTACK,),
    ),
    Command(
        'checkpoint show',
        '{noop} {checkpoint}',
        keys=CHECKPOINT,
        has={'id': '{checkpoint}', 'status': 'available'},
        holds={'resource_graph': '{share}', 'protection_plan': '{plan}'},
    ),
    Command('checkpoint reset state', '{noop} {reset_checkpoint}'),
    Command('checkpoint delete', '{noop} {old_checkpoint}'),
    Command(
        'restore create',
        "{noop} {checkpoint} --parameters-json '{{}}'",
        keys=RESTORE,
        has={'checkpoint_id': '{checkpoint}', 'provider_id': '{noop}', 'status': 'in_progress', 'parameters': '{{}}'},
    ),
    Command(
        'restore list',
        '--status success --sort id:desc',
        columns=['Id', 'Project id', 'Provider id', 'Checkpoint id', 'Restore target', 'Parameters', 'Status'],
        has={'Id': '{restore}', 'Checkpoint id': '{checkpoint}', 'Parameters': '{{}}', 'Status': 'success'},
    ),
    Command('restore show', '{restore}', keys=RESTORE, has={'id': '{restore}', 'status': 'success'}),
    Command(
        'verification create',
        '{noop} {checkpoint}',
        keys=VERIFICATION,
        has={'checkpoint_id': '{checkpoint}', 'provider_id': '{noop}', 'status': 'in_progress'},
    ),
    Command(
        'verification list',
        '--status success --sort id:desc',
        columns=['Id', 'Project id', 'Provider id', 'Checkpoint id', 'Parameters', 'Status'],
        has={'Id': '{verification}', 'Checkpoint id': '{checkpoint}', 'Parameters': '{{}}', 'Status': 'success'},
    ),
    Command('verification show', '{verification}', keys=VERIFICATION, has={'id': '{verification}'}),
    Command('protectable list', columns=['Protectable type'], has={'Protectable type': 'OS::Keystone::Project'}),
    Command(
        'protectable show',
        'OS::Keystone::Project',
        has={'name': 'OS::Keystone::Project'},
        holds={'dependent_types': 'OS::Manila::Share'},
    ),
    Command(
        'protectable instance list',
        'OS::Keystone::Project --limit 1 --parameters region=RegionOne',
        columns=['Id', 'Type', 'Name', 'Dependent resources', 'Extra info'],
        has={'Id': '{project}', 'Name': 'demo'},
        holds={'Dependent resources': '{share}'},
    ),
    Command(
        'protectable instance show',
        'OS::Manila::Share {share} --parameters region=RegionOne',
        keys=['extra_info'],
        has={'id': '{share}', 'type': 'OS::Manila::Share', 'dependent_resources': '[]'},
    ),
    Command(
        'provider list',
        "--name 'Noop Provider'",
        columns=['Id', 'Name', 'Description'],
        has={'Id': '{noop}', 'Name': 'Noop Provider'},
    ),
    Command(
        'provider show',
        '{noop}',
        keys=['description'],
        has={'id': '{noop}', 'name': 'Noop Provider'},
        holds={'extended_info_schema': '"restore_schema"'},
    ),
    Command(
        'trigger create',
        f'nightly time {CRONTAB}',
        keys=['id'],
        has={'name': 'nightly', 'type': 'time'},
        holds={'properties': '"window": 900'},
        shells=(KARBOR,),
    ),
    Command('trigger create', f'nightly time {CRONTAB}', fails="'str' object has no attribute", shells=(OPENSTACK,)),
    # A comma ends a property. Two rules say what a list of days would.
    Command(
        'trigger create',
        r"twice time 'format=calendar,pattern=BEGIN:VEVENT\nRRULE:FREQ=WEEKLY;BYDAY=MO,WE\nEND:VEVENT'",
        fails='Unable to parse parameter properties.',
        shells=(KARBOR,),
    ),
    Command(
        'trigger create',
        r"twice time 'format=calendar,pattern=BEGIN:VEVENT\n"
        r"RRULE:FREQ=WEEKLY;BYDAY=MO\nRRULE:FREQ=WEEKLY;BYDAY=WE\nEND:VEVENT'",
        has={'name': 'twice'},
        holds={'properties': 'BYDAY=WE'},
        shells=(KARBOR,),
    ),
    Command(
        'trigger list',
        '--name triggered --type time --sort name:asc',
        columns=['Id', 'Name', 'Type', 'Properties'],
        has={'Id': '{trigger}', 'Name': 'triggered', 'Type': 'time'},
        holds={'Properties': '0 2 * * *'},
    ),
    Command('trigger show', '{trigger}', keys=TRIGGER, has={'id': '{trigger}'}, holds={'properties': '0 2 * * *'}),
    Command(
        'trigger update',
        f'{{spare_trigger}} --name changed --properties {CRONTAB}',
        keys=TRIGGER,
        has={'id': '{spare_trigger}', 'name': 'changed'},
        holds={'properties': '0 3 * * *'},
    ),
    Command('trigger update', '{trigger} --name triggered', keys=TRIGGER, has={'id': '{trigger}'}, shells=(KARBOR,)),
    Command('trigger update', '{trigger} --name triggered', fails="'properties'", shells=(OPENSTACK,)),
    Command('trigger delete', '{old_trigger}'),
    Command(
        'scheduledoperation create',
        f'made protect {{trigger}} {DEFINITION}',
        keys=OPERATION,
        has={'name': 'made', 'operation_type': 'protect', 'trigger_id': '{trigger}', 'enabled': 'True'},
        holds={'operation_definition': '{plan}'},
        shells=(KARBOR,),
    ),
    Command(
        'scheduledoperation create',
        f'made protect {{trigger}} {DEFINITION}',
        fails='operation_definition: must be an object',
        shells=(OPENSTACK,),
    ),
    # The client looks for attributes that no scheduled operation has, and leaves these columns out.
    Command(
        'scheduledoperation list',
        '--name scheduled --operation_type protect',
        columns=['Id', 'Name'],
        has={'Id': '{operation}', 'Name': 'scheduled'},
        shells=(KARBOR,),
    ),
    Command(
        'scheduledoperation list',
        '--name scheduled --operation_type protect',
        columns=['Id', 'Name', 'Operation Type', 'Trigger Id', 'Operation Definition'],
        has={'Id': '{operation}', 'Name': 'scheduled', 'Operation Type': 'protect', 'Trigger Id': '{used_trigger}'},
        holds={'Operation Definition': '{plan}'},
        shells=(OPENSTACK,),
    ),
    Command('scheduledoperation show', '{operation}', keys=OPERATION, has={'trigger_id': '{used_trigger}'}),
    Command('scheduledoperation delete', '{old_operation}'),
    Command(
        'operationlog list',
        '--status success --sort id:asc',
        columns=LOGS,
        has={'Operation Type': 'verify', 'Checkpoint id': '{checkpoint}', 'Plan Id': '{plan}', 'Status': 'success'},
    ),
    Command('operationlog show', '{log}', keys=LOG, has={'id': '{log}', 'provider_id': '{noop}'}),
    Command(
        'service list',
        '--binary karbor-operationengine',
        columns=SERVICES,
        has={'Id': '{engine}', 'Status': 'enabled', 'State': 'up'},
        user='admin',
    ),
    Command(
        'service disable',
        '{engine} --reason work',
        columns=SERVICES,
        has={'Id': '{engine}', 'Status': 'disabled', 'Disabled Reason': 'work'},
        user='admin',
        shells=(KARBOR,),
    ),
    Command(
        'service disable',
        '{engine} --reason work',
        has={'id': '{engine}', 'status': 'disabled', 'disabled_reason': 'work'},
        user='admin',
        shells=(OPENSTACK,),
    ),
    Command('service enable', '{engine}', columns=SERVICES, has={'Status': 'enabled'}, user='admin', shells=(KARBOR,)),
    Command('service enable', '{engine}', has={'status': 'enabled'}, user='admin', shells=(OPENSTACK,)),
    Command('quotas show', keys=['checkpoints'], has={'id': '{project}', 'plans': '{quota}'}),
    Command('quotas show', '--detail', has={'id': '{project}'}, holds={'plans': 'limit = {quota}'}),
    Command('quotas default', keys=['checkpoints'], has={'id': '{project}', 'plans': '{quota}'}),
    Command('quotas update', '{nowhere} --plans 7', keys=['checkpoints'], has={'plans': '7'}, user='admin'),
    Command('quotaclass update', 'tabled --plans 8', keys=['checkpoints'], has={'plans': '8'}, user='admin'),
    Command('quotaclass show', 'tabled', has={'id': 'tabled', 'plans': '8'}, user='admin'),
    Command('help', 'plan-list', shells=(KARBOR,)),
    Command('bash completion', shells=(KARBOR,)),
]
