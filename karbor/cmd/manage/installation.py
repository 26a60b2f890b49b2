# SPDX-License-Identifier: Apache-2.0
"""`karbor-manage config`, `service` and `version`: what is installed, and whether it is up."""

import importlib.metadata
import re

from oslo_config import cfg

from karbor import heartbeat
from karbor.cmd.manage.command import Command, CommandError, table
from karbor.conf import opts
from karbor.db import models, repository

CONF = cfg.CONF


def config_list(param: str | None) -> None:
    """Print all options, or one (`option` or `group.option`), with their values; those that are secret as `****`."""
    opts.register_libraries(CONF)
    shown = _Options()
    CONF.log_opt_values(shown, 0)
    if param is not None and param not in shown.values:
        raise CommandError(f'There is no option {param}.')
    for name in sorted(shown.values) if param is None else [param]:
        print(f'{name} = {shown.values[name]}')


class _Options:
    """Stands in for a logger: takes what `log_opt_values` says of each option."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def log(self, level: int, msg: object, *args: object) -> None:
        option = re.fullmatch(r'([\w.-]+)\s+= (.*)', str(msg) % args, re.DOTALL)
        if option:
            self.values[option[1]] = option[2]


def service_list() -> None:
    """Print the services, and whether each is up: its last heartbeat is not older than `service_down_time`."""
    rows = []
    for service in repository.find(models.Service, sort=[('binary', 'asc'), ('host', 'asc'), ('id', 'asc')]):
        status = 'disabled' if service.disabled else 'enabled'
        rows.append(
            [service.binary, service.host, status, ':-)' if heartbeat.is_up(service) else 'XXX', service.updated_at]
        )
    print(table(['Binary', 'Host', 'Status', 'State', 'Updated At'], rows))


def version_list() -> None:
    """Print the version of Karbor."""
    print(importlib.metadata.version('karbor'))


CONFIG = {'list': Command(config_list, {'param': {'nargs': '?', 'help': 'option or group.option'}}, 'nothing')}
SERVICE = {'list': Command(service_list)}
VERSION = {'list': Command(version_list, database='nothing')}
