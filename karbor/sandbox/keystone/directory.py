# SPDX-License-Identifier: Apache-2.0
"""Who and what there is: users, projects, roles, services."""

from typing import Any

import flask

from karbor.sandbox.identity import DOMAIN, Project, User
from karbor.sandbox.keystone.api import Json, KeystoneApi
from karbor.sandbox.service import Route, refuse


class Directory(KeystoneApi):
    """Looking around."""

    routes: tuple[Route, ...] = (
        ('GET', '/v3/auth/projects', 'list_own_projects'),
        ('GET', '/v3/auth/domains', 'list_domains'),
        ('GET', '/v3/domains', 'list_domains'),
        ('GET', '/v3/domains/<domain_id>', 'show_domain'),
        ('GET', '/v3/projects', 'list_projects'),
        ('GET', '/v3/projects/<project_id>', 'show_project'),
        ('GET', '/v3/users', 'list_users'),
        ('GET', '/v3/users/<user_id>', 'show_user'),
        ('GET', '/v3/users/<user_id>/projects', 'list_projects_of_user'),
        ('POST', '/v3/users/<user_id>/application_credentials', 'create_application_credential'),
        ('GET', '/v3/roles', 'list_roles'),
        ('GET', '/v3/roles/<role_id>', 'show_role'),
        ('GET', '/v3/role_assignments', 'list_role_assignments'),
        ('GET', '/v3/services', 'list_services'),
        ('GET', '/v3/endpoints', 'list_endpoints'),
    )

    def list_own_projects(self) -> Any:
        """The projects in which the caller has a role."""
        return self.listed('projects', map(_project, self.identity.projects_of(self.caller.user)))

    def list_domains(self) -> Any:
        """The one domain."""
        return self.listed('domains', [{**DOMAIN, 'enabled': True, 'description': 'The default domain'}])

    def show_domain(self, domain_id: str) -> Any:
        """The one domain."""
        if domain_id != DOMAIN['id']:
            refuse(404, f'Could not find domain: {domain_id}.')
        return {'domain': {**DOMAIN, 'enabled': True, 'description': 'The default domain'}}

    def list_projects(self) -> Any:
        """All projects, for administrators; `name` selects."""
        return self.listed('projects', map(_project, self._named(self.identity.projects)))

    def show_project(self, project_id: str) -> Any:
        """A project; for administrators and those in it."""
        project = self.identity.projects.get(project_id)
        if project_id != self.caller.project_id:
            self.need_admin()
        if project is None:
            refuse(404, f'Could not find project: {project_id}.')
        return {'project': _project(project)}

    def list_users(self) -> Any:
        """All users, for administrators; `name` selects."""
        return self.listed('users', map(_user, self._named(self.identity.users)))

    def show_user(self, user_id: str) -> Any:
        """A user; for administrators and itself."""
        return {'user': _user(self._user(user_id))}

    def list_projects_of_user(self, user_id: str) -> Any:
        """The projects in which the user has a role; for administrators and itself."""
        return self.listed('projects', map(_project, self.identity.projects_of(self._user(user_id))))

    def create_application_credential(self, user_id: str) -> Any:
        """403: the sandbox has none."""
        refuse(403, f'Application credentials are not available to user {user_id} in the sandbox.')

    def list_roles(self) -> Any:
        """All roles, for administrators; `name` selects."""
        self.need_admin()
        name = flask.request.args.get('name')
        return self.listed(
            'roles', [role for role in self.roles_named(self.identity.roles) if name in (None, role['name'])]
        )

    def show_role(self, role_id: str) -> Any:
        """A role, for administrators."""
        self.need_admin()
        found = [role for role in self.roles_named(self.identity.roles) if role['id'] == role_id]
        if not found:
            refuse(404, f'Could not find role: {role_id}.')
        return {'role': found[0]}

    def list_role_assignments(self) -> Any:
        """Who has which role in which project, for administrators."""
        self.need_admin()
        return self.listed(
            'role_assignments',
            [
                {
                    'role': {'id': self.identity.roles[role]},
                    'user': {'id': user},
                    'scope': {'project': {'id': project}},
                }
                for (user, project), roles in self.identity.grants.items()
                for role in roles
            ],
        )

    def list_services(self) -> Any:
        """The services of the catalog, for administrators."""
        self.need_admin()
        return self.listed('services', [{**s, 'endpoints': None, 'enabled': True} for s in self.catalog('')])

    def list_endpoints(self) -> Any:
        """The endpoints of the catalog, for administrators; `service_id` and `interface` select."""
        self.need_admin()
        args = flask.request.args
        found = [
            {**endpoint, 'service_id': service['id'], 'enabled': True}
            for service in self.catalog('%(project_id)s')
            for endpoint in service['endpoints']
        ]
        wanted = {key: args[key] for key in ('service_id', 'interface') if key in args}
        return self.listed('endpoints', [e for e in found if wanted.items() <= e.items()])

    def _user(self, user_id: str) -> User:
        if user_id != self.caller.user.id:
            self.need_admin()
        user = self.identity.users.get(user_id)
        if user is None:
            refuse(404, f'Could not find user: {user_id}.')
        return user

    def _named(self, things: dict[str, Any]) -> list[Any]:
        self.need_admin()
        name = flask.request.args.get('name')
        return [thing for thing in things.values() if name in (None, thing.name)]


def _project(project: Project) -> Json:
    return {
        'id': project.id,
        'name': project.name,
        'domain_id': DOMAIN['id'],
        'parent_id': DOMAIN['id'],
        'description': '',
        'enabled': True,
        'is_domain': False,
        'tags': [],
        'options': {},
    }


def _user(user: User) -> Json:
    return {
        'id': user.id,
        'name': user.name,
        'domain_id': DOMAIN['id'],
        'default_project_id': user.default_project_id,
        'enabled': True,
        'password_expires_at': None,
        'options': {},
    }
