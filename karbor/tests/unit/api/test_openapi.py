# SPDX-License-Identifier: Apache-2.0
import jsonschema

from karbor.api import openapi, v1


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
