# SPDX-License-Identifier: Apache-2.0
"""Who may do what, as a table of the documentation: `doc/source/admin/policy-table.inc`, from `karbor/policies.py`.

`python tools/policy_table.py` writes it. With `--check` nothing is written; exit status 1 says that it is not what the
rules are.
"""

import os
import sys
from pathlib import Path

import karbor.native_threads  # noqa: F401 isort: skip  before anything that imports oslo.messaging
from oslo_config import cfg
from oslo_policy import policy

from karbor import policies
from karbor.context import RequestContext

TABLE = Path(__file__).parent.parent / 'doc' / 'source' / 'admin' / 'policy-table.inc'
PROJECT, OTHER = 'a project', 'another project'
# Keystone adds the roles that a role implies.
ROLES = {
    'reader': ('reader',),
    'member': ('member', 'reader'),
    'manager': ('manager', 'member', 'reader'),
    'admin': ('admin', 'manager', 'member', 'reader'),
    'service': ('service',),
}


def main() -> int:
    """Write, or check with `--check`."""
    cfg.CONF([], project='karbor', default_config_files=[], default_config_dirs=[])
    policies.get_enforcer()
    cfg.CONF.set_override('policy_file', os.devnull, 'oslo_policy')  # the defaults, whatever this machine has
    policies.reset()
    text = '\n'.join(_lines())
    if '--check' not in sys.argv:
        TABLE.write_text(text)
    elif not TABLE.exists() or TABLE.read_text() != text:
        print(f'{TABLE.name} is not what the rules are; run tools/policy_table.py', file=sys.stderr)
        return 1
    return 0


def _lines() -> list[str]:
    lines = ['.. Made by tools/policy_table.py.', '', '.. csv-table::', '   :header: Rule, Allows, ' + ', '.join(ROLES)]
    lines += ['   :widths: 25, 35, 8, 8, 8, 8, 8', '']
    for rule in policies.list_rules():
        if isinstance(rule, policy.DocumentedRuleDefault):
            cells = [f'``{rule.name}``', str(rule.description), *(_cell(rule.name, *roles) for roles in ROLES.values())]
            lines.append('   ' + ', '.join(f'"{cell}"' for cell in cells))
    return [*lines, '']


def _cell(rule: str, *roles: str) -> str:
    """Whether who has the roles may do it to what is their project's, or to what is anybody's."""
    who = RequestContext(user_id='user', project_id=PROJECT, roles=list(roles), overwrite=False)
    who.is_admin = policies.is_admin(who)
    if policies.allows(rule, who, OTHER):
        return 'all'
    return 'own' if policies.allows(rule, who, PROJECT) else ''


if __name__ == '__main__':
    sys.exit(main())
