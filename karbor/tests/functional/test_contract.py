# SPDX-License-Identifier: Apache-2.0
"""schemathesis over the document of the API: every reply is one that the document tells, and none is a fault of ours.

Requests are made from the document, as it allows and as it does not; ids in paths and bodies are mostly those of
objects that are there. The same requests are made each time.
"""

import collections
import re
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
import schemathesis.checks as common
from hypothesis import strategies as st
from oslo_utils import timeutils, uuidutils
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks

from karbor.api import v1
from karbor.db import models, repository
from karbor.statuses import RestoreStatus
from karbor.tests import fixtures
from karbor.tests.fixtures import OTHER, PROJECT, PROVIDER, Service, token

# Left out: a verb that is not known is 404 here, and keys of a query that are not known are ignored.
CHECKS = [
    common.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.negative_data_rejection,
]
EXAMPLES = 20  # of each route, as the document allows; and as many as it does not
ADMIN = token(PROJECT, 'admin')
WHO = st.sampled_from([token(), ADMIN, token(PROJECT, 'reader')])
MODES = {mode.value: mode for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)}
# Beside these two, which take what no plugin here can do or an operation that is in the right state, each route has to
# succeed with at least one of its requests.
HARD = {'checkpoints/action', '{operation_log_id}/action'}
_WORD = st.text('abc-_', min_size=1, max_size=9)
FORMATS: dict[str, st.SearchStrategy[str]] = {
    'name': st.text('aZ09 ä漢', min_size=1, max_size=40).filter(str.strip),
    'printable': st.text('aZ09 ä漢', max_size=40),
    'resource-id': _WORD,
    'metadata-key': _WORD,
    'limit': st.integers(-1, 99).map(str),
}
for _format, _texts in FORMATS.items():
    schemathesis.openapi.format(_format, _texts)
TRIGGER: dict[str, Any] = {
    'name': 'a trigger',
    'type': 'time',
    'properties': {'format': 'crontab', 'pattern': '30 2 * * *'},
}


class World:
    """A service with an object for each variable of a path; what a request may remove is made anew each time."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.schema = schemathesis.openapi.from_dict(_for_project(service.get('/v1/openapi.json').json))
        self.schema.app = service.app
        # Whatever limits a request sets for all projects: what is here can be made.
        service.request('PUT', f'/quotas/{PROJECT}', {'quota': {'plans': -1, 'checkpoints': -1}}, **ADMIN)
        engine = models.Service(host='h', binary='karbor-operationengine', updated_at=timeutils.utcnow())
        self.engine = repository.create(engine).id
        self.kept = {name: self._make(name) for name in ('restore_id', 'verification_id', 'operation_log_id')}

    def id(self, name: str) -> str:
        """The value of a variable of a path, or key of a body, that there is something for."""
        return self.kept.get(name) or self._make(name)

    def _make(self, name: str) -> Any:
        made = getattr(self, f'_{name}', None)
        return made() if made else KNOWN[name]

    def _plan_id(self) -> str:
        return self.service.post('/plans', fixtures.plan_body()).json['plan']['id']

    def _checkpoint_id(self) -> str:
        return fixtures.record_checkpoint(PROVIDER)

    def _trigger_id(self) -> str:
        return self.service.post('/triggers', {'trigger_info': TRIGGER}).json['trigger_info']['id']

    def _scheduled_operation_id(self) -> str:
        body = {
            'name': 'an operation',
            'operation_type': 'protect',
            'trigger_id': self._trigger_id(),
            'operation_definition': {'plan_id': self._plan_id(), 'provider_id': PROVIDER},
        }
        made = self.service.post('/scheduled_operations', {'scheduled_operation': body})
        return made.json['scheduled_operation']['id']

    def _record(self, model: type[models.Base]) -> str:
        row = {'provider_id': PROVIDER, 'checkpoint_id': self._checkpoint_id(), 'parameters': {}}
        return repository.create(
            model(id=uuidutils.generate_uuid(), project_id=PROJECT, status=RestoreStatus.SUCCESS, **row)
        ).id

    def _restore_id(self) -> str:
        return self._record(models.Restore)

    def _verification_id(self) -> str:
        return self._record(models.Verification)

    def _operation_log_id(self) -> str:
        log = models.OperationLog(id=uuidutils.generate_uuid(), project_id=PROJECT, operation_type='restore')
        log.provider_id, log.status, log.ended_at = PROVIDER, 'restored', timeutils.utcnow()
        return repository.create(log).id

    def _id(self) -> Any:
        return self.engine


KNOWN = {
    'provider_id': PROVIDER,
    'type': 'OS::Cinder::Volume',
    'quota_project_id': OTHER,
    'class_name': 'a class',
}


def _for_project(document: dict[str, Any]) -> dict[str, Any]:
    """The document for one project, and for who has a token: there is nothing to be tried with these."""
    paths = {}
    for path, verbs in document['paths'].items():
        for operation in verbs.values():
            operation.pop('security', None)
            operation['parameters'] = [found for found in operation['parameters'] if found['name'] != 'project_id']
            for asked in operation['parameters']:
                # schemathesis cannot tell which texts are not of this format; `test_bad_input.py` tries them.
                for schema in (asked['schema'], asked['schema'].get('items', {})):
                    if asked['in'] == 'query' and schema.get('format') == 'printable':
                        del schema['format']
        paths[path.format_map(Keeping(project_id=PROJECT))] = verbs
    return document | {'paths': paths}


class Keeping(dict[str, str]):
    """Variables of a path, of which the others stay as they are."""

    def __missing__(self, name: str) -> str:
        return f'{{{name}}}'


@pytest.fixture(scope='module')
def world() -> Iterator[World]:
    with fixtures.service() as service:
        yield World(service)
        service.settle()


def _known(body: Any, world: World) -> Any:
    """The body with ids that there is something for, and without options, which are for the provider to judge."""
    if isinstance(body, list):
        return [_known(inner, world) for inner in body]
    if not isinstance(body, dict):
        return body
    made = {name: _known(inner, world) for name, inner in body.items()}
    for name in made.keys() & {'provider_id', 'plan_id', 'checkpoint_id', 'trigger_id'}:
        made[name] = world.id(name)
    if 'parameters' in made:
        made['parameters'] = {}
    if 'operation_definition' in made:
        made['operation_definition'] = {'plan_id': world.id('plan_id'), 'provider_id': PROVIDER}
    if 'pattern' in made:
        made |= TRIGGER['properties']
    return made


def _route(path: str) -> str:
    return path.format_map(Keeping(project_id=PROJECT))


# What has neither ids nor query nor body cannot be asked for in a wrong way.
CASES = [
    (verb, path, mode)
    for verb, path, method in v1.ROUTES
    for mode in MODES
    if mode == 'positive' or method.query or method.body or re.search(r'{\w*id}', _route(path))
]


@pytest.mark.parametrize(('verb', 'path', 'mode'), CASES)
def test_replies_are_as_the_document_tells(world: World, verb: str, path: str, mode: str) -> None:
    requests = world.schema[_route(path)][verb].as_strategy(MODES[mode])

    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(requests, WHO, st.integers(0, 3), st.booleans())
    def ask(case: Any, who: dict[str, str], is_there: int, knows: bool) -> None:
        if is_there and not case.meta.is_negative_at(ParameterLocation.PATH):
            for name in case.path_parameters or ():
                case.path_parameters[name] = world.id(name)
            if 'instances/{id}' in path:
                case.path_parameters['id'] = f'volume.{is_there * 2 - 1}'  # one is in no state to be protected
        if knows and mode == 'positive':
            case.body = _known(case.body, world)
        reply = case.call_and_validate(headers=who, checks=CHECKS)
        seen.append(reply.status_code)

    seen: list[int] = []
    ask()
    if mode == 'positive' and not path.endswith(tuple(HARD)):
        assert [code for code in seen if code < 400], collections.Counter(seen)
