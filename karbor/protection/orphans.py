# SPDX-License-Identifier: Apache-2.0
"""Orphans: what carries our tag in a back end, and nothing refers to any more.

Three things are compared: the back ends, the banks and the database. What is unclear is never an orphan, and without a
whole view of all three there is no verdict at all.
"""

import datetime
import functools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa
from oslo_utils import timeutils

from karbor import clients, exception, trusts
from karbor.clients import Cloud
from karbor.db import engine, models, repository
from karbor.objects import operation_resource
from karbor.plugins import tags
from karbor.plugins.banks import layout
from karbor.plugins.banks.interface import Bank
from karbor.plugins.interface import Leftover, Protection
from karbor.protection import run as runs
from karbor.protection.provider import Providers
from karbor.statuses import CheckpointStatus, ResourceStatus

CHECKPOINT, OPERATION = models.CheckpointRecord, models.OperationLog
PAGE = 1000  # keys of a bank that are listed at once
SKEW = datetime.timedelta(seconds=tags.CLOCK_SKEW)
NO_TRUST = 'no trust of a user is known'


class NoVerdict(exception.KarborError):
    message = 'Nothing is said of orphans: %(reason)s.'


@dataclass(frozen=True)
class Orphan:
    """``leftover``, in the ``project_id``, as the plugin found it through ``cloud``."""

    project_id: str
    leftover: Leftover
    plugin: Protection
    cloud: Cloud


@dataclass
class Search:
    """A search for what is older than ``age``. It covers the projects that a trust of the table `trusts` leads to:
    ``projects`` after `orphans`; ``left_out`` are the others that have checkpoints, with the reason.
    """

    providers: Providers
    age: datetime.timedelta
    projects: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def orphans(self) -> list[Orphan]:
        """What was found. Raises NoVerdict when a bank, a cloud or the catalogue of checkpoints cannot be trusted."""
        self._check_catalogue()
        found = [orphan for project_id in self._projects() for orphan in self._tagged(project_id)]
        found = [orphan for orphan in found if self._is_forgotten(orphan.leftover)]
        mentioned = self._mentioned({orphan.leftover.id for orphan in found}, layout.checkpoints())
        return [orphan for orphan in found if orphan.leftover.id not in mentioned]

    def remove(self, orphan: Orphan) -> str:
        """What became of it: removed, gone already, kept since it is no orphan any more, or why it cannot be removed.

        Right before, the database, the checkpoint's part of the bank and the object itself are looked at once more.
        """
        leftover = orphan.leftover
        operation = _operation(leftover)
        if not self._is_forgotten(leftover):
            return 'kept: it is in use again'
        if operation is not None and operation.checkpoint_id:
            prefix = layout.checkpoint_prefix(operation.checkpoint_id)
            if self._mentioned({leftover.id}, prefix):
                return 'kept: it is in use again'
        try:
            return 'removed' if orphan.plugin.remove_leftover(orphan.cloud, leftover) else 'gone already'
        except Exception as unexpected:  # noqa: BLE001  client libraries share no class of exceptions
            return f'failed: {clients.fault(_service_of(orphan.plugin), unexpected).text}'

    # -- is the view whole?

    def _check_catalogue(self) -> None:
        columns = ['id', 'provider_id', 'checkpoint_status']
        living = repository.find(CHECKPOINT, columns, {'checkpoint_status': repository.Not(CheckpointStatus.DELETED)})
        if not living:
            raise NoVerdict(reason='the database has no checkpoint')
        unknown = sorted({row.provider_id for row in living} - set(self.providers))
        if unknown:
            raise NoVerdict(reason=f'provider {unknown[0]} has checkpoints and is not loaded here')
        kept = {id: self._checkpoints_of(provider.bank, id) for id, provider in self.providers.items()}
        if not any(kept.values()):
            raise NoVerdict(reason='there is no checkpoint in any bank')
        for row in living:
            if row.checkpoint_status == CheckpointStatus.AVAILABLE and row.id not in kept[row.provider_id]:
                raise NoVerdict(reason=f'checkpoint {row.id} is not in the bank of provider {row.provider_id}')

    @staticmethod
    def _checkpoints_of(bank: Bank, provider_id: str) -> set[str]:
        indices = (key.split('/') for key in _keys(bank, layout.checkpoints(), provider_id))
        return {parts[2] for parts in indices if parts[3:] == ['index.json']}

    # -- what is there?

    def _projects(self) -> list[str]:
        known = {row.project_id for row in repository.find(models.Trust, ['project_id'])}
        with engine.reading() as session:
            used = set(session.scalars(sa.select(CHECKPOINT.project_id).distinct()))
        self.left_out = dict.fromkeys(sorted(used - known), NO_TRUST)
        self.projects = []
        return sorted(known)

    def _tagged(self, project_id: str) -> list[Orphan]:
        """Everything in the project that carries our tag, as the first of its users sees it who may."""
        newest = [('used_at', 'desc'), ('id', 'asc')]
        why = ''
        for trust in repository.find(models.Trust, ['id', 'user_id'], {'project_id': project_id}, newest):
            cloud = Cloud(functools.partial(trusts.session, trust.id), project_id, trust.user_id)
            try:
                found = list(self._seen_by(cloud))
            except exception.BackendFault as fault:
                if fault.reason not in ('unauthorized', 'forbidden'):
                    raise NoVerdict(reason=f'project {project_id} cannot be looked at: {fault.text}') from fault
                why = fault.text
                continue
            self.projects.append(project_id)
            return found
        self.left_out[project_id] = why or NO_TRUST
        return []

    def _seen_by(self, cloud: Cloud) -> Iterator[Orphan]:
        installation = runs.installation_id()
        plugins = {type(p): p for provider in self.providers.values() for p in provider.protections.values()}
        for plugin in plugins.values():
            try:
                for leftover in plugin.tagged(cloud, installation):
                    yield Orphan(cloud.project_id, leftover, plugin, cloud)
            except Exception as unexpected:  # client libraries share no class of exceptions
                raise clients.fault(_service_of(plugin), unexpected) from unexpected

    # -- does anything refer to it?

    def _is_forgotten(self, leftover: Leftover) -> bool:
        """Whether it is old enough, and the database knows of nothing that has it."""
        tag, made = tags.parse(leftover.tag), leftover.created_at
        if tag is None or made is None or made > timeutils.utcnow() - self.age:
            return False
        operation = _operation(leftover)
        if operation is None:
            # What a restore made is its user's; only the operation's own rows can tell that it did not get that far.
            return leftover.is_copy
        if operation.ended_at is None or not _is_made_by(operation, made):
            return False
        if not leftover.is_copy:
            row = _row(operation.id, tag.key)
            return row is not None and not (_refers(row, leftover.id) and row.status != ResourceStatus.ERROR)
        return not self._is_of_checkpoint(operation, tag.key, leftover.id)

    @staticmethod
    def _is_of_checkpoint(operation: Any, key: str, id: str) -> bool:
        """Whether the copy may be one that a checkpoint or an operation on it still needs."""
        whose = {'checkpoint_id': operation.checkpoint_id}
        if repository.find(OPERATION, ['id'], {**whose, 'ended_at': None}, limit=1):
            return True
        checkpoint = repository.get(CHECKPOINT, operation.checkpoint_id)
        if checkpoint is None or checkpoint.checkpoint_status == CheckpointStatus.DELETED:
            return False
        row = _row(operation.id, key)
        return row is None or _refers(row, id)

    def _mentioned(self, ids: Collection[str], prefix: str) -> set[str]:
        """Those of ``ids`` that stand in what plugins noted in a bank, below ``prefix``."""
        found: set[str] = set()
        for provider_id, provider in self.providers.items():
            for key in _keys(provider.bank, prefix, provider_id) if ids else ():
                if key.endswith(f'/{layout.METADATA}'):
                    text = _text(provider.bank, key, provider_id)
                    found.update(id for id in ids if id in text)
        return found


def _operation(leftover: Leftover) -> Any:
    tag = tags.parse(leftover.tag)
    columns = ['id', 'ended_at', 'created_at', 'started_at', 'checkpoint_id']
    return next(iter(repository.find(OPERATION, columns, {'id': tag.operation_id if tag else None})), None)


def _is_made_by(operation: Any, made: datetime.datetime) -> bool:
    """Whether the operation can have made it: anybody can copy a tag, but not the time."""
    begun = operation.started_at or operation.created_at
    return begun is not None and begun - SKEW <= made <= operation.ended_at + SKEW


def _row(operation_id: str, key: str) -> Any:
    """The operation's row of the resource with this key in the bank, or None."""
    rows = sorted(operation_resource.of_operation(operation_id, limit=1_000_000), key=lambda row: row.position)
    keys = layout.resource_keys([(row.resource_type, row.resource_id) for row in rows])
    return next((row for row in rows if keys[row.resource_type, row.resource_id] == key), None)


def _refers(row: Any, id: str) -> bool:
    return row.new_id == id or id in orjson.dumps(row.handle).decode()


def _service_of(plugin: Protection) -> str:
    return plugin.protect.service if plugin.protect else 'karbor'


def _keys(bank: Bank, prefix: str, provider_id: str) -> Iterable[str]:
    marker: str | None = None
    while True:
        try:
            page: Sequence[str] = bank.list(prefix, limit=PAGE, marker=marker)
        except exception.BankError as fault:
            raise NoVerdict(reason=f'the bank of provider {provider_id} cannot be read') from fault
        yield from page
        if len(page) < PAGE:
            return
        marker = page[-1]


def _text(bank: Bank, key: str, provider_id: str) -> str:
    try:
        return bank.get(key).decode(errors='replace')
    except exception.BankObjectNotFound:
        return ''  # removed since it was listed
    except exception.BankError as fault:
        raise NoVerdict(reason=f'the bank of provider {provider_id} cannot be read') from fault
