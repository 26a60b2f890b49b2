# SPDX-License-Identifier: Apache-2.0
"""Who there is and what they may: projects, users, roles, tokens and trusts, in memory."""

import datetime
import hmac
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any

from karbor.sandbox.clock import now
from karbor.sandbox.refusal import Refusal

DOMAIN = {'id': 'default', 'name': 'Default'}
# Keystone's own implied roles.
IMPLIED = {'admin': ('admin', 'member', 'reader'), 'member': ('member', 'reader')}


def effective(roles: set[str]) -> list[str]:
    """The roles and those that they imply, in order of their names."""
    return sorted({implied for role in roles for implied in IMPLIED.get(role, (role,))})


@dataclass(frozen=True)
class Project:
    """A tenant."""

    id: str
    name: str


@dataclass(frozen=True)
class User:
    """Somebody who can log in; without a scope in the default project."""

    id: str
    name: str
    password: str
    default_project_id: str | None = None


@dataclass
class Trust:
    """The right of the trustee to act for the trustor in one project with some of its roles."""

    id: str
    trustor: User
    trustee: User
    project: Project
    roles: list[str]
    impersonation: bool
    expires_at: datetime.datetime | None = None
    remaining_uses: int | None = None


@dataclass
class Token:
    """A login: who, where, with which roles (the implied ones among them), until when."""

    user: User
    methods: list[str]
    expires_at: datetime.datetime
    project: Project | None = None
    roles: list[str] = field(default_factory=list)
    trust: Trust | None = None
    value: str = field(default_factory=lambda: 'sandbox' + secrets.token_urlsafe(32))
    audit_id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    issued_at: datetime.datetime = field(default_factory=now)

    @property
    def project_id(self) -> str | None:
        """The id of the project that the token is for, None if it is for none."""
        return self.project.id if self.project else None

    @property
    def is_admin(self) -> bool:
        """Whether the services let the bearer do what only their administrators may."""
        return 'admin' in self.roles

    @property
    def is_cloud_admin(self) -> bool:
        """Whether the bearer is administrator in the project `admin`: who may set faults."""
        return self.is_admin and self.project is not None and self.project.name == 'admin'


class Identity:
    """All of them. A token lasts `token_seconds`, which may be set at any time for the tokens to come."""

    def __init__(self, token_seconds: float = 3600):
        self.token_seconds = token_seconds
        self.projects: dict[str, Project] = {}
        self.users: dict[str, User] = {}
        self.roles = {name: uuid.uuid4().hex for name in ('admin', 'member', 'reader', 'service')}
        self.grants: dict[tuple[str, str], set[str]] = {}
        self.trusts: dict[str, Trust] = {}
        self._tokens: dict[str, Token] = {}

    def add_project(self, name: str) -> Project:
        """A new project."""
        project = Project(uuid.uuid4().hex, name)
        self.projects[project.id] = project
        return project

    def add_user(self, name: str, project: Project, *roles: str) -> User:
        """A new user with a password of its own and these roles in the project."""
        user = User(uuid.uuid4().hex, name, secrets.token_urlsafe(16), project.id)
        self.users[user.id] = user
        self.grants[user.id, project.id] = set(roles)
        return user

    def roles_of(self, user: User, project: Project) -> list[str]:
        """The effective roles of the user in the project, none if it has nothing to do there."""
        return effective(self.grants.get((user.id, project.id), set()))

    def projects_of(self, user: User) -> list[Project]:
        """The projects in which the user has a role."""
        return [project for project in self.projects.values() if self.roles_of(user, project)]

    def check_password(self, user: User | None, password: str) -> None:
        """Refuse with 401 if there is no such user or it has another password."""
        expected = user.password if user else secrets.token_urlsafe(16)
        if not hmac.compare_digest(expected.encode(), password.encode()) or user is None:
            raise Refusal(401, 'The request you have made requires authentication.')

    def issue(self, user: User, methods: list[str], expires_at: datetime.datetime | None, **scope: Any) -> Token:
        """A new token; `scope` is nothing, a project or a trust. Refusal 401 or 403 if it is not allowed."""
        trust: Trust | None = scope.get('trust')
        project: Project | None = trust.project if trust else scope.get('project')
        roles: list[str] = []
        if trust:
            roles, user = self._use(trust, user)
        elif project:
            roles = self.roles_of(user, project)
            if not roles:
                raise Refusal(401, f'User {user.id} has no access to project {project.id}')
        expires_at = expires_at or now() + datetime.timedelta(seconds=self.token_seconds)
        token = Token(user, methods, expires_at, project, roles, trust)
        self._tokens[token.value] = token
        return token

    def validate(self, value: str, allow_expired: bool = False) -> Token | None:
        """The token of this value, None if it is unknown, revoked, of a deleted trust, or expired."""
        token = self._tokens.get(value)
        if token is None or (token.trust and token.trust.id not in self.trusts):
            return None
        return token if allow_expired or token.expires_at > now() else None

    def revoke(self, token: Token) -> None:
        """Make the token worthless."""
        self._tokens.pop(token.value, None)

    def delegate(self, trust: Trust) -> Trust:
        """Keep a new trust; Refusal 403 if its trustor does not have the roles that it hands on."""
        missing = set(trust.roles) - set(self.roles_of(trust.trustor, trust.project))
        if missing:
            raise Refusal(403, f'Some of requested roles are not in redelegated trust: {sorted(missing)}')
        self.trusts[trust.id] = trust
        return trust

    def _use(self, trust: Trust, user: User) -> tuple[list[str], User]:
        if trust.trustee.id != user.id:
            raise Refusal(403, 'User is not a trustee.')
        if trust.expires_at and trust.expires_at <= now():
            raise Refusal(401, 'The trust has expired.')
        if set(trust.roles) - set(self.roles_of(trust.trustor, trust.project)):
            raise Refusal(403, 'Trustor has no longer the delegated roles.')
        if trust.remaining_uses is not None:
            if trust.remaining_uses <= 0:
                raise Refusal(403, f'No remaining uses for trust: {trust.id}')
            trust.remaining_uses -= 1
        return effective(set(trust.roles)), trust.trustor if trust.impersonation else trust.trustee
