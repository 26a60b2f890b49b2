# SPDX-License-Identifier: Apache-2.0
"""What plugins and clouds say, and what is shown of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karbor import statuses


@pytest.mark.parametrize(
    ('word', 'shown'),
    [
        ('restoring', 'build'),
        ('protecting', 'build'),
        ('deleting', 'build'),
        ('BUILD', 'build'),
        ('BACKUP', 'build'),
        ('creating', 'build'),
        ('available', 'active'),
        ('ACTIVE', 'active'),
        ('COMPLETED', 'active'),
        ('deleted', 'active'),
        ('success', 'active'),
        ('error', 'error'),
        ('FAILED', 'error'),
        ('error_deleting', 'error'),
        ('DELETE_FAILED', 'error'),
    ],
)
def test_a_known_word_becomes_one_of_the_three(word, shown):
    assert statuses.resource_status(word) == (shown, None)


def test_an_unknown_word_is_null_with_the_word_as_details():
    assert statuses.resource_status('hibernating') == (None, 'hibernating')
    assert statuses.resource_status('hibernating', 'it is winter') == (None, 'hibernating: it is winter')


def test_no_word_is_null():
    assert statuses.resource_status(None) == (None, None)


@given(st.text(), st.integers(1, 50))
def test_clean_text_is_printable_and_within_its_limit(text, limit):
    cleaned = statuses.clean(text, limit)
    assert len(cleaned) <= limit
    assert cleaned.isprintable()


@given(st.text(), st.text())
def test_whatever_a_plugin_says_can_be_stored(word, reason):
    status, details = statuses.resource_status(word, reason)
    assert status in (None, 'build', 'active', 'error')
    assert details is None or (details.isprintable() and 0 < len(details) <= statuses.DETAILS_LIMIT)


def test_a_long_reason_is_cut_to_4096_characters():
    assert len(statuses.resource_status('error', 'x' * 10_000)[1]) == 4096


@pytest.mark.parametrize(
    ('asked', 'found'),
    [
        ('success', {'success', 'restored'}),
        ('restored', {'success', 'restored'}),
        ('fail', {'fail', 'error-restoring'}),
        ('in_progress', {'in_progress', 'restoring'}),
        ('available', {'available'}),
        ('nonsense', {'nonsense'}),
    ],
)
def test_a_filter_finds_both_spellings(asked, found):
    assert statuses.operation_statuses(asked) == found


def test_every_operation_has_its_words():
    for type in statuses.OperationType:
        assert len(statuses.OPERATION_WORDS[type]) == 3
        assert set(statuses.RESOURCE_WORDS[type]) == set(statuses.ResourceStatus)
