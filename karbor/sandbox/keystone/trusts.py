# SPDX-License-Identifier: Apache-2.0
"""Trusts: acting for somebody else."""

import datetime
import uuid
from typing import Any

import flask

from karbor.sandbox.clock import now
from karbor.sandbox.identity import Trust
from karbor.sandbox.keystone.api import Json, KeystoneApi, stamp
from karbor.sandbox.refusal import Refusal
from karbor.sandbox.service import Route, refuse


class Trusts(KeystoneApi):
    """Trusts: made, looked at, ended."""

    routes: tuple[Route, ...] = (
        ('POST', '/v3/OS-TRUST/trusts', 'create_trust'),
        ('GET', '/v3/OS-TRUST/trusts', 'list_trusts'),
        ('GET', '/v3/OS-TRUST/trusts/<trust_id>', 'show_trust'),
        ('GET', '/v3/OS-TRUST/trusts/<trust_id>/roles', 'list_trust_roles'),
        ('DELETE', '/v3/OS-TRUST/trusts/<trust_id>', 'delete_trust'),
    )

    def create_trust(self) -> Any:
        """A new trust; only its trustor may make it, and not with a trust itself."""
        wanted = self.body('trust')
        identity = self.identity
        if wanted.get('trustor_user_id') != self.caller.user.id or self.caller.trust:
            refuse(403, 'The authenticated user should match the trustor.')
        trustee = identity.users.get(str(wanted.get('trustee_user_id')))
        project = identity.projects.get(str(wanted.get('project_id')))
        if trustee is None or project is None:
            refuse(404 if trustee is None else 403, 'Could not find the trustee, or the project of the roles.')
        if not isinstance(wanted.get('impersonation'), bool):
            refuse(400, "'impersonation' is a required property")
        trust = Trust(
            id=uuid.uuid4().hex,
            trustor=self.caller.user,
            trustee=trustee,
            project=project,
            roles=self._wanted_roles(wanted.get('roles') or []),
            impersonation=wanted['impersonation'],
            expires_at=_time(wanted.get('expires_at')),
            remaining_uses=wanted.get('remaining_uses'),
        )
        return {'trust': self._trust(identity.delegate(trust))}, 201

    def list_trusts(self) -> Any:
        """Trusts by trustor or trustee: one's own, all for administrators."""
        args, caller = flask.request.args, self.caller
        trustor, trustee = args.get('trustor_user_id'), args.get('trustee_user_id')
        if not caller.is_admin and caller.user.id not in (trustor, trustee):
            self.deny()
        found = [
            trust
            for trust in self.identity.trusts.values()
            if trustor in (None, trust.trustor.id) and trustee in (None, trust.trustee.id)
        ]
        return self.listed('trusts', map(self._trust, found))

    def show_trust(self, trust_id: str) -> Any:
        """A trust; for its two sides and administrators."""
        return {'trust': self._trust(self._trust_by_id(trust_id))}

    def list_trust_roles(self, trust_id: str) -> Any:
        """The roles that a trust hands on."""
        return self.listed('roles', self.roles_named(self._trust_by_id(trust_id).roles))

    def delete_trust(self, trust_id: str) -> Any:
        """End a trust and every token made with it; for its trustor and administrators. 204."""
        trust = self._trust_by_id(trust_id)
        if self.caller.user.id != trust.trustor.id and not self.caller.is_admin:
            self.deny()
        del self.identity.trusts[trust_id]
        return '', 204

    def _trust_by_id(self, trust_id: str) -> Trust:
        trust = self.identity.trusts.get(trust_id)
        if trust is None:
            refuse(404, f'Could not find trust: {trust_id}.')
        if self.caller.user.id not in (trust.trustor.id, trust.trustee.id) and not self.caller.is_admin:
            self.deny()
        return trust

    def _wanted_roles(self, wanted: list[Json]) -> list[str]:
        names = {role_id: name for name, role_id in self.identity.roles.items()}
        found = [role.get('name') or names.get(str(role.get('id'))) for role in wanted]
        if not found:
            refuse(403, 'At least one role should be specified.')
        if None in found or set(found) - set(self.identity.roles):
            refuse(404, f'Could not find role: {wanted}.')
        return sorted(str(name) for name in found)

    def _trust(self, trust: Trust) -> Json:
        return {
            'id': trust.id,
            'trustor_user_id': trust.trustor.id,
            'trustee_user_id': trust.trustee.id,
            'project_id': trust.project.id,
            'impersonation': trust.impersonation,
            'roles': self.roles_named(trust.roles),
            'expires_at': stamp(trust.expires_at) if trust.expires_at else None,
            'remaining_uses': trust.remaining_uses,
            'redelegation_count': 0,
            'deleted_at': None,
            'links': {'self': self.url_of(f'/v3/OS-TRUST/trusts/{trust.id}')},
        }


def _time(text: Any) -> datetime.datetime | None:
    if text is None:
        return None
    try:
        found = datetime.datetime.fromisoformat(str(text).replace('Z', '+00:00'))
    except ValueError as error:
        raise Refusal(400, f'expires_at is no ISO 8601 time: {text}') from error
    found = found.astimezone(datetime.UTC).replace(tzinfo=None) if found.tzinfo else found
    if found <= now():
        raise Refusal(400, 'expires_at is in the past.')
    return found
