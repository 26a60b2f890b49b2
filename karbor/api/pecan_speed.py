# SPDX-License-Identifier: Apache-2.0
"""Pecan asks for the signature of the same two functions at each request, and makes a class for each answer: a tenth
of a millisecond. Here it is told once.

A test fails when Pecan no longer asks this way; then this module can go.
"""

import functools

import pecan.core
import pecan.routing
import pecan.util


def apply() -> None:
    """Remember signatures; harmless when repeated."""
    for module in (pecan.core, pecan.routing):
        module.getargspec = _remembered


# Bound methods of one root object are equal: the keys are few.
_remembered = functools.cache(pecan.util.getargspec)
