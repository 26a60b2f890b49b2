# SPDX-License-Identifier: Apache-2.0
"""Logins, and what a token says."""

from typing import Any

import flask

from karbor.sandbox.identity import DOMAIN, Project, Token, User
from karbor.sandbox.keystone.api import Json, KeystoneApi, stamp
from karbor.sandbox.service import Route, below, refuse


class Tokens(KeystoneApi):
    """Tokens: made from passwords and tokens, validated, revoked."""

    routes: tuple[Route, ...] = (
        ('POST', '/v3/auth/tokens', 'log_in'),
        ('GET', '/v3/auth/tokens', 'validate_token'),
        ('DELETE', '/v3/auth/tokens', 'revoke_token'),
        ('GET', '/v3/auth/catalog', 'show_catalog'),
    )

    def _authenticate(self) -> None:
        if (flask.request.method, flask.request.endpoint) != ('POST', 'log_in'):
            super()._authenticate()

    def log_in(self) -> Any:
        """A token for a password or another token; in a project, for a trust, or unscoped."""
        auth = self.body('auth')
        identity = below(auth, 'identity')
        methods = identity.get('methods')
        if not isinstance(methods, list) or not methods:
            refuse(400, "'identity' with 'methods' is a required property of 'auth'")
        source = None
        if methods == ['password']:
            user = self._user_by_password(identity)
        elif methods == ['token']:
            user, source = self._user_by_token(identity)
        else:
            refuse(401, f'Attempted to authenticate with an unsupported method: {methods}.')
        expires_at = source.expires_at if source else None
        found = [*source.methods, 'token'] if source else ['password']
        token = self.identity.issue(user, sorted(set(found)), expires_at, **self._scope(auth, user))
        reply = flask.make_response({'token': self._token(token)}, 201)
        reply.headers['X-Subject-Token'] = token.value
        reply.headers['Vary'] = 'X-Auth-Token'
        return reply

    def _user_by_password(self, identity: Json) -> User:
        wanted = below(identity, 'password', 'user')
        domain = below(wanted, 'domain') or DOMAIN
        user = self.identity.users.get(str(wanted.get('id')))
        if user is None and (domain.get('id') == DOMAIN['id'] or domain.get('name') == DOMAIN['name']):
            user = next((u for u in self.identity.users.values() if u.name == wanted.get('name')), None)
        self.identity.check_password(user, str(wanted.get('password')))
        assert user is not None
        return user

    def _user_by_token(self, identity: Json) -> tuple[User, Token]:
        source = self.identity.validate(str(below(identity, 'token').get('id')))
        if source is None:
            refuse(401, 'The request you have made requires authentication.')
        if source.trust:
            refuse(403, 'Using a trust-scoped token to create another token is forbidden.')
        return source.user, source

    def _scope(self, auth: Json, user: User) -> Json:
        scope = auth.get('scope')
        if scope is None:
            return {'project': self.identity.projects.get(user.default_project_id or '')}
        if scope == 'unscoped' or 'unscoped' in below(auth, 'scope'):
            return {}
        if 'OS-TRUST:trust' in scope:
            trust = self.identity.trusts.get(str(below(auth, 'scope', 'OS-TRUST:trust').get('id')))
            if trust is None:
                refuse(401, 'The request you have made requires authentication.')
            return {'trust': trust}
        project = self._project_of(below(auth, 'scope', 'project'))
        if project is None:
            refuse(401, 'The request you have made requires authentication.')
        return {'project': project}

    def _project_of(self, wanted: Json) -> Project | None:
        if 'id' in wanted:
            return self.identity.projects.get(str(wanted['id']))
        domain = below(wanted, 'domain')
        if domain.get('id') != DOMAIN['id'] and domain.get('name') != DOMAIN['name']:
            return None
        return next((p for p in self.identity.projects.values() if p.name == wanted.get('name')), None)

    def validate_token(self) -> Any:
        """What a token says; for whom it belongs to, for services and for administrators."""
        subject = self._subject()
        reply = flask.make_response({'token': self._token(subject, 'nocatalog' not in flask.request.args)})
        reply.headers['X-Subject-Token'] = subject.value
        reply.headers['Vary'] = 'X-Auth-Token'
        return reply

    def revoke_token(self) -> Any:
        """Revoke a token; 204."""
        self.identity.revoke(self._subject())
        return '', 204

    def _subject(self) -> Token:
        args, headers = flask.request.args, flask.request.headers
        value = headers.get('X-Subject-Token', '')
        token = self.identity.validate(value, args.get('allow_expired', '').lower() in ('1', 'true'))
        if token is None:
            refuse(404, f'Could not find token: {value[:16]}.')
        if token.user.id != self.caller.user.id and not {'admin', 'service'} & set(self.caller.roles):
            self.deny()
        return token

    def _token(self, token: Token, with_catalog: bool = True) -> Json:
        body: Json = {
            'methods': token.methods,
            'user': {
                'id': token.user.id,
                'name': token.user.name,
                'domain': DOMAIN,
                'password_expires_at': None,
            },
            'audit_ids': [token.audit_id],
            'expires_at': stamp(token.expires_at),
            'issued_at': stamp(token.issued_at),
        }
        if token.project:
            body['project'] = {'id': token.project.id, 'name': token.project.name, 'domain': DOMAIN}
            body['is_domain'] = False
            body['is_admin_project'] = token.project.name == 'admin'
            body['roles'] = [{'id': self.identity.roles[name], 'name': name} for name in token.roles]
            if with_catalog:
                body['catalog'] = self.catalog(token.project.id)
        if token.trust:
            body['OS-TRUST:trust'] = {
                'id': token.trust.id,
                'impersonation': token.trust.impersonation,
                'trustor_user': {'id': token.trust.trustor.id},
                'trustee_user': {'id': token.trust.trustee.id},
            }
        return body

    def show_catalog(self) -> Any:
        """The catalog of the caller's project."""
        if self.caller.project is None:
            self.deny()
        return {'catalog': self.catalog(self.caller.project.id), 'links': self.list_links()}
