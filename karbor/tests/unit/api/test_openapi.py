# SPDX-License-Identifier: Apache-2.0
import re

import jsonschema
import orjson
import pytest
import schemathesis

from karbor.api import openapi, v1
from karbor.api.method import Method
from karbor.tests import fixtures

ROUTES = pytest.mark.parametrize(('verb', 'path', 'method'), v1.ROUTES, ids=[f'{r[0]} {r[1]}' for r in v1.ROUTES])


def test_the_document_is_one_of_openapi_3_1() -> None:
    document = orjson.loads(orjson.dumps(openapi.document(v1.ROUTES)))
    schemathesis.openapi.from_dict(document).validate()


@ROUTES
def test_a_route_declares_what_it_takes_and_what_it_answers(verb: str, path: str, method: Method) -> None:
    assert (method.body is not None) == (verb in ('POST', 'PUT'))
    assert method.reply is not None or verb == 'DELETE'
    # An object of anything is no schema of a body or reply.
    for found in (method.body, method.reply):
        anything = found is not None and 'properties' not in found and found.get('maxProperties') != 0
        assert not anything or path == '/v1/openapi.json'
    names = re.findall(r'{(\w+)}', path)
    assert {name for name in names if name in method.path} == {name for name in names if not name.endswith('_id')}
    assert set(method.path) <= {'id', 'type', 'class_name'}


@ROUTES
def test_the_document_tells_each_answer_with_its_headers(verb: str, path: str, method: Method) -> None:
    document = openapi.document(v1.ROUTES)
    operation = document['paths'][path][verb.lower()]
    assert operation['summary'].endswith('.')
    told = {int(code) for code in operation['responses']}
    assert told == {method.status} | method.codes(verb, re.findall(r'{(\w+)}', path)) | (
        {304} if verb == 'GET' and method.tagged else set()
    )
    for reply in operation['responses'].values():
        found = document['components']['responses'][reply['$ref'].rpartition('/')[2]] if '$ref' in reply else reply
        assert openapi.REQUEST_ID in found['headers'] and found['description']


def test_the_document_is_rendered_once() -> None:
    with fixtures.service() as service:
        first = service.get('/v1/openapi.json')
        assert first.json == orjson.loads(orjson.dumps(openapi.document(v1.ROUTES)))
        known = v1.versions.rendered.cache_info()
        assert service.get('/v1/openapi.json').body == first.body
        assert v1.versions.rendered.cache_info().misses == known.misses == 1


@pytest.mark.parametrize('declared', [(409,), ()])
def test_a_fault_that_is_not_declared_does_not_pass_under_test(declared: tuple[int, ...]) -> None:
    with fixtures.service() as service:
        plan = service.post('/plans', fixtures.plan_body()).json['plan']
        trigger = {'name': 'a', 'type': 'time', 'properties': {'format': 'crontab', 'pattern': '30 2 * * *'}}
        made = service.post('/triggers', {'trigger_info': trigger}).json['trigger_info']
        definition = {'plan_id': plan['id'], 'provider_id': fixtures.PROVIDER}
        operation = {'name': 'a', 'operation_type': 'protect', 'trigger_id': made['id']}
        body = {'scheduled_operation': operation | {'operation_definition': definition}}
        assert service.post('/scheduled_operations', body).status_int == 200
        method = v1.plans.delete
        kept, method.faults = method.faults, declared
        try:
            assert service.request('DELETE', f'/plans/{plan["id"]}').status_int == (409 if declared else 500)
        finally:
            method.faults = kept


def test_the_document_tells_every_route() -> None:
    document = openapi.document(v1.ROUTES)
    told = {(verb.upper(), path) for path, verbs in document['paths'].items() for verb in verbs}
    assert told == {(verb, path) for verb, path, _ in v1.ROUTES}
    names = [operation['operationId'] for verbs in document['paths'].values() for operation in verbs.values()]
    assert len(names) == len(set(names))


def test_every_schema_of_the_document_is_one() -> None:
    for verbs in openapi.document(v1.ROUTES)['paths'].values():
        for operation in verbs.values():
            places = [operation.get('requestBody', {}), *operation['responses'].values()]
            found = [place['content']['application/json']['schema'] for place in places if 'content' in place]
            for schema in found + [parameter['schema'] for parameter in operation['parameters']]:
                jsonschema.Draft202012Validator.check_schema(schema)


def test_every_method_tells_what_it_does() -> None:
    assert all(method.function.__doc__ for _, _, method in v1.ROUTES)


def test_every_policy_of_a_route_is_a_rule() -> None:
    from karbor import policies

    rules = {rule.name for rule in policies.list_rules()}
    assert {method.policy for _, _, method in v1.ROUTES} - {None} <= rules
