# SPDX-License-Identifier: Apache-2.0
"""Databases and users in an instance."""

from typing import Any

from karbor.sandbox.service import Route, refuse
from karbor.sandbox.trove.api import Json, TroveApi, name_of, user_of
from karbor.sandbox.trove.store import Instance


class Databases(TroveApi):
    """Databases and users."""

    routes: tuple[Route, ...] = (
        ('GET', '/instances/<instance_id>/databases', 'list_databases'),
        ('POST', '/instances/<instance_id>/databases', 'create_databases'),
        ('DELETE', '/instances/<instance_id>/databases/<name>', 'delete_database'),
        ('GET', '/instances/<instance_id>/users', 'list_users'),
        ('POST', '/instances/<instance_id>/users', 'create_users'),
        ('GET', '/instances/<instance_id>/users/<name>', 'show_user'),
        ('DELETE', '/instances/<instance_id>/users/<name>', 'delete_user'),
    )

    def list_databases(self, instance_id: str) -> Any:
        """The databases of an instance, a page of them."""
        instance = self.running(instance_id)
        return self.page('databases', instance.databases(), lambda name: {'name': name}, str)

    def create_databases(self, instance_id: str) -> Any:
        """New databases. 202."""
        instance = self.running(instance_id)
        names = [name_of(database) for database in self.body().get('databases') or []]
        self.store.create_databases(instance, names)
        return '', 202

    def delete_database(self, instance_id: str, name: str) -> Any:
        """Drop a database. 202."""
        self.store.delete_database(self.running(instance_id), name)
        return '', 202

    def list_users(self, instance_id: str) -> Any:
        """The users of an instance, a page of them."""
        return self.page('users', self.running(instance_id).users, _shown_user, lambda user: user['name'])

    def create_users(self, instance_id: str) -> Any:
        """New users. 202."""
        instance = self.running(instance_id)
        for wanted in self.body().get('users') or []:
            user = user_of(wanted)
            if user['name'] in [known['name'] for known in instance.users]:
                refuse(400, f'User {user["name"]} already exists.')
            instance.users.append(user)
        return '', 202

    def show_user(self, instance_id: str, name: str) -> Any:
        """A user with its databases."""
        return {'user': _shown_user(self._user_of(self.running(instance_id), name))}

    def delete_user(self, instance_id: str, name: str) -> Any:
        """Drop a user. 202."""
        instance = self.running(instance_id)
        instance.users.remove(self._user_of(instance, name))
        return '', 202

    def _user_of(self, instance: Instance, name: str) -> Json:
        for user in instance.users:
            if name in (user['name'], f'{user["name"]}@{user["host"]}'):
                return user
        refuse(404, f'User {name} cannot be found on the instance.')


def _shown_user(user: Json) -> Json:
    return {'name': user['name'], 'host': user['host'], 'databases': [{'name': d} for d in user['databases']]}
