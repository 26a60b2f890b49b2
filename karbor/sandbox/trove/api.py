# SPDX-License-Identifier: Apache-2.0
"""What the parts of the database API share."""

import secrets
from typing import Any

import flask

from karbor.sandbox.clock import Clock
from karbor.sandbox.identity import Identity
from karbor.sandbox.service import FAULT_NAMES, Service, refuse
from karbor.sandbox.trove.store import Backup, Datastore, Instance, InstanceStore

Json = dict[str, Any]
# What a list holds at most, and if nothing is said.
PAGE = 20


class TroveApi(Service):
    """Requests below a project's URL, and how what they name is found."""

    prefix = '/v1.0/<tenant_id>'
    open_paths = ('', '/v1.0')
    fault_names: dict[int, str] = {**FAULT_NAMES, 409: 'conflict'}
    other_fault = 'instanceFault'

    def __init__(self, identity: Identity, clock: Clock, store: InstanceStore):
        super().__init__(identity, clock)
        self.store = store
        self.url_value_preprocessor(self._take_tenant)

    def check_policy(self) -> None:
        """Refuse another project's URL, and a caller with too small a role."""
        tenant = flask.g.get('tenant_id')
        if self.caller.project is None or (tenant != self.caller.project_id and not self.caller.is_admin):
            refuse(403, f'User with tenant ID {self.caller.project_id} cannot access this resource.')
        super().check_policy()

    def _take_tenant(self, endpoint: str | None, values: Json | None) -> None:
        flask.g.tenant_id = (values or {}).pop('tenant_id', None)

    def mine(self, things: dict[str, Any]) -> list[Any]:
        """The caller's things; all for administrators who ask for them."""
        args = flask.request.args
        every = self.caller.is_admin and args.get('all_projects', '').lower() in ('1', 'true')
        return [t for t in things.values() if every or t.tenant_id == self.caller.project_id]

    def find_instance(self, instance_id: str) -> Instance:
        """The instance of this id; Refusal 404 if the caller has none."""
        instance = self.store.instances.get(instance_id)
        if instance is None or (instance.tenant_id != self.caller.project_id and not self.caller.is_admin):
            refuse(404, f'Instance {instance_id} cannot be found.')
        return instance

    def running(self, instance_id: str) -> Instance:
        """The same, if it can be asked about its databases; Refusal 422 if not."""
        instance = self.find_instance(instance_id)
        if instance.status not in ('ACTIVE', 'BACKUP'):
            refuse(422, f'Instance {instance_id} is not ready, status: {instance.status}.')
        return instance

    def find_backup(self, backup_id: str) -> Backup:
        """The backup of this id; Refusal 404 if the caller has none."""
        backup = self.store.backups.get(backup_id)
        if backup is None or (backup.tenant_id != self.caller.project_id and not self.caller.is_admin):
            refuse(404, f'Backup {backup_id} cannot be found.')
        return backup

    def find_datastore(self, wanted: str) -> Datastore:
        """The datastore of this id or name; Refusal 404 if there is none."""
        for datastore in self.store.datastores:
            if wanted in (datastore.name, datastore.id):
                return datastore
        refuse(404, f'Datastore {wanted} cannot be found.')

    def page(self, key: str, things: list[Any], shown: Any, mark: Any = lambda thing: thing.id) -> Json:
        """A page of things, with a link to the next one: `shown` makes the view, `mark` the marker."""
        args = flask.request.args
        limit = args.get('limit', str(PAGE))
        if not limit.isdecimal():
            refuse(400, f'The limit {limit} is not a number.')
        after = sorted((t for t in things if mark(t) > args.get('marker', '')), key=mark)
        found = after[: min(int(limit), PAGE)]
        page: Json = {key: [shown(thing) for thing in found]}
        if len(found) < len(after):
            href = f'{flask.request.base_url}?limit={limit}&marker={mark(found[-1]) if found else ""}'
            page['links'] = [{'rel': 'next', 'href': href}]
        return page

    def links_of(self, kind: str, thing_id: str) -> list[Json]:
        """The links of a thing."""
        root = flask.request.host_url.rstrip('/') + flask.request.script_root
        return [{'rel': 'self', 'href': f'{root}/v1.0/{flask.g.tenant_id}/{kind}/{thing_id}'}]


def name_of(wanted: Any) -> str:
    """The name in a body; Refusal 400 if it has none."""
    name = wanted.get('name') if isinstance(wanted, dict) else None
    if not isinstance(name, str) or not name.strip() or len(name) > 255:
        refuse(400, f"Validation error: 'name' is a string of 1 to 255 characters, not {str(name)[:50]!r}")
    return name


def user_of(wanted: Any) -> Json:
    """The user of a database that a body describes; Refusal 400 if it is none."""
    name = name_of(wanted)
    databases = [name_of(database) for database in wanted.get('databases') or []]
    password = wanted.get('password') or secrets.token_urlsafe(12)
    return {'name': name, 'password': password, 'host': wanted.get('host') or '%', 'databases': databases}


def stamp(time: Any) -> str:
    """The time as Trove writes it."""
    return time.isoformat(timespec='seconds')
