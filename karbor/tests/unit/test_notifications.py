# SPDX-License-Identifier: Apache-2.0
"""Notifications: what is not told, and configurations that cannot be used."""

import threading

import hypothesis
import pytest
from hypothesis import strategies
from oslo_config import cfg

from karbor import exception, notifications
from karbor.conf import opts
from karbor.tests.notified import GROUP, notified

CONF = cfg.CONF
SECRET = 'pa55w0rt'
values = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def configured():
    opts.register()
    opts.register_messaging(CONF)
    CONF([], project='karbor', default_config_files=[])
    yield
    notifications.close()
    for name, group in (('driver', GROUP), ('transport_url', GROUP), ('transport_url', None)):
        CONF.clear_override(name, group)


@hypothesis.given(values, strategies.sampled_from(['password', 'admin_password', 'X-Auth-Token', 'secret', 'api-key']))
def test_a_value_whose_key_calls_it_a_secret_is_never_told(value, key):
    for secret in (SECRET, [SECRET], {'inner': SECRET}):
        shown = notifications.public({'others': value, 'list': [{key: secret}]})
        assert shown['list'] == [{key: '***'}]
        assert SECRET not in str(shown)


@hypothesis.given(values)
def test_what_holds_no_secret_is_told_as_it_is(value):
    hypothesis.assume(not any(word in str(value).lower().replace('-', '_') for word in notifications._SECRETS))
    hypothesis.assume('=' not in str(value) and ':' not in str(value))
    assert notifications.public(value) == value


def test_of_what_is_long_only_the_size_is_told():
    assert notifications.public({'a': 'x' * 20000}) == {'left_out': '20009 characters'}


def test_a_driver_that_does_not_exist_is_refused():
    CONF.set_override('driver', ['messagingv3'], GROUP)
    with pytest.raises(exception.ConfigurationError, match='there is no messagingv3'):
        notifications.init(CONF)


def test_messages_need_a_broker():
    CONF.set_override('driver', ['messagingv2'], GROUP)
    CONF.set_override('transport_url', 'local://')
    with pytest.raises(exception.ConfigurationError, match='must name a broker'):
        notifications.init(CONF)
    CONF.set_override('transport_url', 'carrier-pigeon://me:pa55w0rt@here/', GROUP)
    with pytest.raises(exception.ConfigurationError, match='nothing can be made') as refused:
        notifications.init(CONF)
    assert SECRET not in str(refused.value)


def test_the_log_needs_none(caplog):
    CONF.set_override('driver', ['log'], GROUP)
    CONF.set_override('transport_url', 'local://')
    caplog.set_level('INFO')
    notifications.init(CONF)
    notifications.send('karbor-api', 'plan_create.start', {'name': 'n'})
    notifications.close()
    assert 'karbor.plan_create.start' in caplog.text


def test_what_does_not_fit_is_dropped_and_counted(caplog):
    gate = threading.Event()
    CONF.set_override('transport_url', 'local://')
    with notified(queue_size=3) as told:
        notifications._sender._notifier = Slow(notifications._sender._notifier, gate)
        for number in range(10):
            notifications.send('karbor-api', 'plan_create.start', {'name': number})
        gate.set()
        told.messages()
        notifications.send('karbor-api', 'plan_create.end', {})
        names = [message['payload'].get('name') for message in told.messages()]
    assert names[:3] == [0, 1, 2]
    assert names[-1] is None
    assert f'{11 - len(names)} were dropped' in caplog.text


class Slow:
    """A notifier that waits for its broker."""

    def __init__(self, notifier, gate):
        self.notifier, self.gate = notifier, gate

    def prepare(self, **named):
        self.gate.wait()
        return self.notifier.prepare(**named)


def test_nothing_happens_when_nobody_is_told():
    notifications.init(CONF)
    assert not notifications.is_on()
    notifications.send('karbor-api', 'plan_create.start', {})
    notifications.close()
