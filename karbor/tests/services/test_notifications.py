# SPDX-License-Identifier: Apache-2.0
"""Notifications of real processes, as a listener of oslo.messaging gets them from RabbitMQ."""

import contextlib
import os
import queue
from collections.abc import Iterator
from typing import Any

import karbor.native_threads  # noqa: F401 isort: skip
import oslo_messaging as messaging
import pytest
import requests
from oslo_config import cfg

from karbor.tests import databases
from karbor.tests.services import broker
from karbor.tests.services.deployment import NOOP, Deployment

PROJECT = '11111111-2222-4333-8444-555555555555'
NOTIFYING = """
[oslo_messaging_notifications]
driver = messagingv2
"""


class Heard:
    """The end of a listener: what comes, in its order."""

    def __init__(self) -> None:
        self.messages: queue.Queue[tuple[str, str, dict[str, Any]]] = queue.Queue()

    def info(self, context: Any, publisher_id: str, event_type: str, payload: dict[str, Any], metadata: Any) -> None:
        assert 'token' not in str(context)
        self.messages.put((publisher_id, event_type, payload))

    def next(self, *event_types: str) -> dict[str, tuple[str, dict[str, Any]]]:
        """Publisher and payload of the next messages, which have these types."""
        found = {}
        for _ in event_types:
            publisher_id, event_type, payload = self.messages.get(timeout=20)
            found[event_type] = publisher_id, payload
        assert set(found) == set(event_types)
        return found


@contextlib.contextmanager
def listening(url: str) -> Iterator[Heard]:
    conf, heard = cfg.ConfigOpts(), Heard()
    conf([], default_config_files=[], default_config_dirs=[])
    transport = messaging.get_notification_transport(conf, url)
    target = messaging.Target(topic='notifications')
    listener = messaging.get_notification_listener(transport, [target], [heard], executor='threading')
    listener.start()
    try:
        yield heard
    finally:
        listener.stop()
        listener.wait()
        transport.cleanup()


@pytest.mark.services
def test_a_listener_hears_of_a_request_and_of_its_operation(tmp_path):
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(databases.temporary('mariadb', tmp_path))
        try:
            url = stack.enter_context(broker.virtual_host())
        except broker.Unreachable as fault:
            (pytest.fail if os.environ.get('CI') else pytest.skip)(str(fault))
        heard = stack.enter_context(listening(url))
        karbor = Deployment(tmp_path / 'karbor', database, url, options=NOTIFYING)
        stack.enter_context(karbor.running())
        base, who = f'{karbor.url}/v1/{PROJECT}', {'X-Auth-Token': f'user:{PROJECT}'}

        resources = [{'type': 'OS::Cinder::Volume', 'id': 'a', 'name': 'a'}]
        plan = {'name': 'p', 'provider_id': NOOP, 'resources': resources, 'parameters': {}}
        made = requests.post(f'{base}/plans', json={'plan': plan}, headers=who, timeout=30)
        plan_id = made.json()['plan']['id']
        told = heard.next('karbor.plan_create.start', 'karbor.plan_create.end')
        publisher_id, payload = told['karbor.plan_create.end']
        assert publisher_id == f'karbor-api.{karbor.host}'
        assert payload['id'] == plan_id
        assert payload['name'] == 'p'
        assert payload['client_ip'] == '127.0.0.1'
        assert payload['request_id'] == made.headers['X-Openstack-Request-Id']

        path = f'{base}/providers/{NOOP}/checkpoints'
        made = requests.post(path, json={'checkpoint': {'plan_id': plan_id}}, headers=who, timeout=30)
        kinds = ('checkpoint_create', 'protect')
        told = heard.next(*(f'karbor.{kind}.{at}' for kind in kinds for at in ('start', 'end')))
        publisher_id, payload = told['karbor.protect.end']
        assert publisher_id == f'karbor-protection.{karbor.host}'
        assert payload['checkpoint_id'] == made.json()['checkpoint']['id']
        assert payload['request_id'] == made.headers['X-Openstack-Request-Id']
        assert payload['resources']['total'] == 1
        assert heard.messages.empty()
