# SPDX-License-Identifier: Apache-2.0
"""The HTTP behaviour that `functional/gabbits/*.yaml` tell, on real processes with tokens of a Keystone.

Where the files say who asks in the words of keystonemiddleware's headers, a user with those roles logs in.
"""

import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gabbi import handlers, suitemaker, utils
from keystoneauth1 import session
from keystoneauth1.identity import v3

from karbor.sandbox.cloud import Sandbox
from karbor.tests import databases, fixtures, functional
from karbor.tests.services.deployment import CLOUD, NOOP, Deployment

GABBITS = Path(functional.__file__).parent / 'gabbits'
# Files whose service is configured otherwise, or has protectables that are made up for them.
UNFIT = {'limits', 'noauth', 'protectables', 'services'}
# What no request through keystonemiddleware can be like, what needs a made-up protectable, and what counts
# the objects of all projects.
UNFIT_TESTS = {
    'traps': {
        'an id may hold dots',
        'no user',
        'a token without a project',
        'a broken service catalogue',
    },
    'plans': {'an administrator lists all projects'},
    'dashboard': {
        'the tree begins with the projects',
        'the tree goes on with the first dependent',
        'and with the last one',
    },
    # There is one user for each set of roles in a project.
    'repeats': {'another user has keys of their own', 'three plans were made in the project'},
}
IDENTITY = ('x-identity-status', 'x-user-id', 'x-project-id', 'x-roles')
Json = dict[str, Any]


class Tokens:
    """Tokens of users in two projects, PROJECT and OTHER, that a test has to itself."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.projects = {name: sandbox.identity.add_project(f'gabbi {name}') for name in ('PROJECT', 'OTHER')}
        self._known: dict[tuple[str, str], str] = {}

    def of(self, project: str, roles: str) -> str:
        """A token of a user with these roles, separated by commas."""
        if (project, roles) not in self._known:
            scope = self.projects[project]
            user = self.sandbox.identity.add_user(f'{roles} of {project}', scope, *roles.split(','))
            password = v3.Password(self.sandbox.auth_url, user_id=user.id, password=user.password, project_id=scope.id)
            self._known[project, roles] = str(session.Session(password).get_token())
        return self._known[project, roles]


@pytest.fixture
def tokens(karbor: Deployment) -> Tokens:
    return Tokens(karbor.sandbox)


@pytest.fixture
def other_hosts(karbor: Deployment) -> Iterator[None]:
    """The providers of two other hosts, one of them down, as the files expect."""
    with databases.connected(karbor.database):
        fixtures.publish_provider('00000000-0000-4000-8000-00000000dead', 'gone', up=False)
        unavailable = {'karbor-server-protection-plugin': 'the plugin cannot be loaded (ImportError)'}
        fixtures.publish_provider('00000000-0000-4000-8000-000000000bad', 'there', unavailable=unavailable)
        yield
        for host in ('gone', 'there'):
            fixtures.withdraw_host(host)


def _adapted(told: Json, unfit: set[str], tokens: Tokens) -> Json:
    """The suite without fixtures and without what does not fit, and with tokens instead of identities."""
    defaults = told.get('defaults', {})
    headers = defaults.pop('request_headers', {})
    tests = [test for test in told['tests'] if test['name'] not in unfit]
    for test in tests:
        wanted = headers | test.get('request_headers', {})
        who = {name: wanted.pop(name, '') for name in IDENTITY}
        project = who['x-project-id'].removeprefix("$ENVIRON['").removesuffix("']")
        if project:
            wanted['x-auth-token'] = tokens.of(project, who['x-roles'])
        test['request_headers'] = wanted
    return {'defaults': defaults, 'tests': tests}


def _run(name: str, told: Json, port: int) -> list[str]:
    """The requests that were not answered as told."""
    suite = suitemaker.test_suite_from_dict(
        unittest.TestLoader(),
        name,
        told,
        str(GABBITS),
        '127.0.0.1',
        port,
        None,
        None,
        handlers=[handler() for handler in handlers.RESPONSE_HANDLERS],
    )
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun == len(told['tests'])
    return [f'{test}\n{text}' for test, text in result.failures + result.errors]


@pytest.mark.parametrize('name', sorted(f.stem for f in GABBITS.glob('*.yaml') if f.stem not in UNFIT))
def test_requests_are_answered_as_told_when_they_reach_real_processes(karbor, tokens, other_hosts, monkeypatch, name):
    ids = {name: project.id for name, project in tokens.projects.items()}
    for variable, value in (ids | {'PROVIDER': NOOP, 'SHARES': CLOUD}).items():
        monkeypatch.setenv(variable, value)
    told = utils.load_yaml(yaml_file=str(GABBITS / f'{name}.yaml'))
    unfit = UNFIT_TESTS.get(name, set())
    assert unfit <= {test['name'] for test in told['tests']}
    assert _run(name, _adapted(told, unfit, tokens), karbor.port) == []
