# SPDX-License-Identifier: Apache-2.0
"""schemathesis over the document of the API: every reply is one that the document tells, and none is a fault of ours.

Requests are made from the document, as it allows and as it does not; ids in paths and bodies are mostly those of objects
that are there. The same requests are made each time.
"""

import copy
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
import schemathesis.checks as common
from hypothesis import strategies as st
from oslo_utils import timeutils, uuidutils
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
EXAMPLES = 12  # of each route, as the document allows; and as many as it does not
WHO = st.sampled_from([token(), token(PROJECT, 'admin'), token(PROJECT, 'reader')])
MODES = {mode.value: mode for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)}
TRIGGER = {
    'name': 'a trigger',
    'type': 'time',
    'properties': {'format': 'crontab', 'pattern': '30 2 * * *'},
}


class World:
    """A service with an object for each variable of a path; what a request may remove is made anew each time."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.document = service.get('/v1/openapi.json').json
        self.schema = schemathesis.openapi.from_dict(self.document)
        self.schema.app = service.app
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
    'quota_project_id': PROJECT,
    'class_name': 'default',
}


@pytest.fixture(scope='module')
def world() -> Iterator[World]:
    with fixtures.service() as service:
        yield World(service)
        service.settle()


@st.composite
def _asked(draw: Any, world: World, verb: str, path: str, mode: Any) -> Any:
    """A request to the route, of an object that there is more often than not."""
    names = [part[1:-1] for part in path.split('/') if part.startswith('{')]
    fixed: dict[str, Any] = {'project_id': PROJECT} if 'project_id' in names else {}
    if draw(st.integers(0, 3)):
        fixed |= {name: world.id(name) for name in names if name != 'project_id'}
        if 'instances/{id}' in path:
            fixed['id'] = draw(st.sampled_from(['volume.1', 'volume.5', 'nothing']))
    case = draw(world.schema[path][verb].as_strategy(mode, path_parameters=fixed or None))
    if mode is MODES['positive'] and draw(st.booleans()):
        case.body = _known(case.body, world)
    return case


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


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize(('verb', 'path'), [route[:2] for route in v1.ROUTES])
def test_replies_are_as_the_document_tells(world: World, verb: str, path: str, mode: str) -> None:
    seen: set[int] = set()

    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(_asked(world, verb, path, MODES[mode]), WHO)
    def ask(case: Any, who: dict[str, str]) -> None:
        reply = case.call_and_validate(headers=who, checks=CHECKS)
        seen.add(reply.status_code)

    ask()
    print(verb, path, mode, seen)
