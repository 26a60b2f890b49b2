# SPDX-License-Identifier: Apache-2.0
"""Calls between ends: within a process, and through oslo.messaging's own in-memory broker."""

import oslo_messaging as messaging
import pytest
from oslo_config import cfg

from karbor import exception
from karbor.conf import opts
from karbor.context import RequestContext
from karbor.objects.plan import Plan
from karbor.rpc import transport


class End:
    target = messaging.Target(version='1.0')

    @transport.expected
    def name_of(self, context, plan):
        return {'name': plan.name, 'user': context.user_id, 'token': context.auth_token, 'request': context.request_id}

    @transport.expected
    def refuse(self, context):
        raise exception.CheckpointInvalidState(id='c', state='deleting', action='restore', allowed='available')

    @transport.expected
    def echo(self, context, value):
        return value


@pytest.fixture(params=['local://', 'fake://'], ids=['local', 'fake'])
def served(request):
    opts.register()
    cfg.CONF([], project='karbor', default_config_files=[])
    transport.init(cfg.CONF)
    cfg.CONF.set_override('transport_url', request.param)
    transport.init(cfg.CONF)
    server = transport.server('topic', End())
    server.start()
    yield
    server.stop()
    server.wait()
    cfg.CONF.clear_override('transport_url')


CONTEXT = RequestContext(user_id='u', project_id='p', auth_token='t', roles=['member'], overwrite=False)


def test_objects_and_the_context_arrive(served):
    told = transport.call('topic', CONTEXT, 'name_of', plan=Plan.new(name='mine'))
    assert told == {'name': 'mine', 'user': 'u', 'token': 't', 'request': CONTEXT.request_id}


def test_a_fault_arrives_as_itself_without_a_traceback(served):
    with pytest.raises(exception.CheckpointInvalidState) as refused:
        transport.call('topic', CONTEXT, 'refuse')
    assert type(refused.value) is exception.CheckpointInvalidState
    assert str(refused.value) == 'Checkpoint c is deleting; restore needs one that is available.'
    assert refused.value.code == 409


def test_plain_values_arrive(served):
    value = {'a': [1, 'two', None, True, {'b': 2.5}]}
    assert transport.call('topic', CONTEXT, 'echo', value=value) == value


def test_a_service_that_is_not_there_is_unavailable(served):
    with pytest.raises(exception.ServiceUnavailable):
        transport.call('elsewhere', CONTEXT, 'echo', timeout=0.2, value=1)
