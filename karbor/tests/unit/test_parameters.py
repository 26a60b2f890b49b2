# SPDX-License-Identifier: Apache-2.0
import pytest

from karbor import exception, parameters
from karbor.tests.fixtures import OPTIONS

SHARE = 'OS::Manila::Share'
SCHEMAS = {SHARE: {'type': 'object', 'properties': OPTIONS, 'required': list(OPTIONS)}, 'OS::Nova::Server': {}}


@pytest.mark.parametrize(
    ('name', 'given', 'wanted'),
    [
        *[('force', given, True) for given in (True, 'True', 'true', '1', 'yes', 1)],
        *[('force', given, False) for given in (False, 'False', 'false', '0', 'no', 0)],
        *[('copies', given, 3) for given in (3, '3', ' 3 ', '+3')],
        *[('snapshot_name', given, '5') for given in ('5', 5)],
        ('mode', 'full', 'full'),
    ],
)
def test_a_value_gets_the_type_of_its_schema(name: str, given: object, wanted: object) -> None:
    for check in (parameters.checked, parameters.coerced):
        found = check({SHARE: {name: given}}, SCHEMAS)[SHARE][name]
        assert found == wanted and type(found) is type(wanted)


@pytest.mark.parametrize('given', [None, {}, {'force': None}, {'force': None, 'mode': None}])
def test_nothing_is_left_of_nulls(given: object) -> None:
    assert parameters.checked({SHARE: given}, SCHEMAS) == {SHARE: {}}


def test_required_options_may_be_missing() -> None:
    assert parameters.checked({SHARE: {}}, SCHEMAS) == {SHARE: {}}


@pytest.mark.parametrize(
    ('given', 'told'),
    [
        ({SHARE: {'force': 'perhaps'}}, 'parameters/OS::Manila::Share/force: must be true or false'),
        ({SHARE: {'copies': '3.5'}}, 'parameters/OS::Manila::Share/copies: must be a whole number'),
        ({SHARE: {'copies': True}}, 'parameters/OS::Manila::Share/copies: must be a whole number'),
        ({SHARE: {'mode': 'half'}}, 'parameters/OS::Manila::Share/mode: must be one of full, incremental'),
        ({SHARE: {'snapshot_name': True}}, 'parameters/OS::Manila::Share/snapshot_name: must be text'),
        (
            {SHARE: {'size': 1}},
            'parameters/OS::Manila::Share/size: unknown option; allowed are copies, force, mode, snapshot_name',
        ),
        ({'OS::X': {}}, 'parameters/OS::X: unknown resource type; allowed are OS::Manila::Share, OS::Nova::Server'),
        (
            {f'{SHARE}#..': {}},
            'parameters/OS::Manila::Share#..: must be a resource type, or a type, `#` and a resource id',
        ),
    ],
)
def test_a_message_tells_what_is_wrong_and_what_is_allowed(given: dict, told: str) -> None:
    with pytest.raises(exception.InvalidInput) as refused:
        parameters.checked(given, SCHEMAS)
    assert refused.value.text == told


def test_options_of_one_resource_follow_the_schema_of_its_type() -> None:
    assert parameters.checked({f'{SHARE}#a.b': {'force': '1'}}, SCHEMAS) == {f'{SHARE}#a.b': {'force': True}}


def test_a_schema_without_properties_takes_any_option() -> None:
    assert parameters.checked({'OS::Nova::Server': {'a': 'b'}}, SCHEMAS) == {'OS::Nova::Server': {'a': 'b'}}


def test_stored_text_of_karbor_1_6_is_coerced_as_far_as_it_can_be() -> None:
    stored = {SHARE: {'force': 'False', 'copies': 'many', 'gone': 'x'}, 'OS::Unknown': {'a': '1'}}
    wanted = {SHARE: {'force': False, 'copies': 'many', 'gone': 'x'}, 'OS::Unknown': {'a': '1'}}
    assert parameters.coerced(stored, SCHEMAS) == wanted


def test_nothing_stored_is_no_options() -> None:
    assert parameters.coerced(None, SCHEMAS) == {}


def test_the_plans_own_option_needs_no_type() -> None:
    assert parameters.checked({'skip_unsupported': 'true'}, SCHEMAS) == {'skip_unsupported': True}
    with pytest.raises(exception.InvalidInput):
        parameters.checked({'skip_unsupported': 'perhaps'}, SCHEMAS)
