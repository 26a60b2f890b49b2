# SPDX-License-Identifier: Apache-2.0
"""How long a call may last, and what its waiting for a thread counts."""

import threading
import time

import futurist

from karbor.protection.calls import Calls


def until(calls, condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        calls.take(0.02)


def test_a_call_that_waits_for_a_thread_is_not_late():
    pool, gate, said = futurist.ThreadPoolExecutor(max_workers=1), threading.Event(), {}
    calls = Calls(lambda: None, 0.3)
    for name, function in (('first', gate.wait), ('second', lambda: 'done')):
        calls.make(pool, lambda subject, result, error: said.update({subject: error or result}), name, function)
    until(calls, lambda: 'first' in said)
    assert said['first'].reason == 'too_slow'
    assert 'second' not in said
    gate.set()
    until(calls, lambda: 'second' in said)
    assert said['second'] == 'done'
    assert len(calls) == 0
    pool.shutdown()
