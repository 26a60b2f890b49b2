# SPDX-License-Identifier: Apache-2.0
"""Tags and what else the plugins share."""

import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karbor.plugins import tags

TAG = 'installation/operation/resource/1'
texts = st.from_regex(r'[A-Za-z0-9_./@-]{1,180}', fullmatch=True)


@given(st.text(max_size=600) | st.none(), texts)
def test_a_tag_always_fits_and_is_always_read_again(description: str | None, tag: str) -> None:
    text = tags.described(description, tag)
    assert len(text) <= tags.TEXT_LIMIT
    assert tags.tag_of({'description': text}) == tag
    kept = text.removesuffix(f'[karbor {tag}]').rstrip()
    assert (description or '').startswith(kept)


@pytest.mark.parametrize(
    'thing',
    [
        {},
        {'description': None, 'metadata': None},
        {'description': f'[karbor {TAG}] and more'},
        {'description': f'[karbor {TAG} ]'},
        {'description': f'karbor {TAG}'},
        {'metadata': {'Karbor': TAG}},
    ],
)
def test_there_is_no_tag_where_a_user_wrote_something_like_it(thing: dict[str, Any]) -> None:
    assert tags.tag_of(thing) is None


def test_the_metadata_comes_before_the_description() -> None:
    told = {'metadata': {'karbor': TAG}, 'description': '[karbor another]'}
    assert tags.tag_of(told) == TAG


BEGUN = datetime.datetime(2026, 1, 1, 12, 0, 0)


@pytest.mark.parametrize(
    'created_at, own',
    [
        ('2026-01-01T12:00:05', True),
        ('2026-01-01T12:00:05.123456', True),
        ('2026-01-01T12:00:05Z', True),
        ('2026-01-01T14:00:05+02:00', True),
        ('2026-01-01T11:56:00', True),
        ('2026-01-01T11:54:00', False),
        ('2025-12-31T23:59:59', False),
        ('yesterday', False),
        (None, False),
    ],
)
def test_what_is_older_than_the_operation_is_not_of_it(created_at: str | None, own: bool) -> None:
    work: Any = SimpleNamespace(operation_started_at=BEGUN)
    assert tags.is_of(work, created_at) is own
    work.operation_started_at = BEGUN.replace(tzinfo=datetime.UTC)
    assert tags.is_of(work, created_at) is own


@pytest.mark.parametrize('id, good', [('a-b_c.d@e', True), ('.', False), ('..', False), ('a/b', False), ('', False)])
def test_an_id_can_stand_in_an_address(id: str, good: bool) -> None:
    assert tags.is_id(id) is good


@pytest.mark.parametrize('text', [None, '', 'a name', 'a/b/c', 'a/b/c/d', 'a//c/1', 'a/b/c/1/2'])
def test_what_is_no_tag_tells_nothing(text):
    assert tags.parse(text) is None
    assert tags.carried({'name': text}) is None


def test_a_tag_tells_what_it_was_made_of():
    assert tags.parse(TAG) == tags.Tag('installation', 'operation', 'resource', 1)
    assert tags.carried({'name': TAG}) == TAG
    assert tags.carried({'name': 'x', 'metadata': {tags.TAG_KEY: TAG}}) == TAG
