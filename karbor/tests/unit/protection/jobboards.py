# SPDX-License-Identifier: Apache-2.0
"""Job boards for tests, each kind on its own database; that of Redis in a namespace of its own."""

import os
import uuid

import pytest
import redis
from oslo_config import cfg

from karbor.db import models, repository
from karbor.protection import board
from karbor.tests.unit.protection.service import PROVIDER

CONF = cfg.CONF
KINDS = ['sql', pytest.param('redis', marks=pytest.mark.services)]
OPTIONS = ('lease_seconds', 'claim_interval', 'jobboard', 'redis_namespace')


class Boards:
    """Boards of one ``kind``, as several workers have them."""

    def __init__(self, kind):
        self.kind = kind
        self.made = []
        self.client = redis.Redis() if kind == 'redis' else None
        CONF.set_override('jobboard', kind, 'protection')
        CONF.set_override('redis_namespace', f'karbor-test-{uuid.uuid4().hex}', 'protection')
        self._poster = self.make(providers=())

    def make(self, providers=(PROVIDER,), beats=False, **named):
        """A board of a worker that has loaded ``providers``; it ``beats`` only if told so."""
        made = board.fetch(providers=lambda: providers, **named)
        made.connect()
        if not beats:
            made.leases.stop()
        self.made.append(made)
        return made

    def two(self):
        return self.make(), self.make()

    def post(self, resumable=True, **values):
        """The id of an operation that was accepted, and is on the board."""
        row = {'id': str(uuid.uuid4()), 'project_id': 'p', 'operation_type': 'protect', 'provider_id': PROVIDER}
        row |= board.posted(resumable)
        id = repository.create(models.OperationLog(**(row | values))).id
        self._poster.post(id)
        list(self._poster.iterjobs())
        return id

    def keys(self):
        """The keys of this test in Redis."""
        return list(self.client.scan_iter(f'{CONF.protection.redis_namespace}:*', count=1000))

    def forget(self):
        """Redis has lost what it knew, as after a restart."""
        if keys := self.keys():
            self.client.delete(*keys)

    def close(self):
        for made in self.made:
            made.close()
        if self.client:
            self.forget()
            self.client.close()
        for name in ('jobboard', 'redis_namespace'):
            CONF.clear_override(name, 'protection')


def opened(kind):
    """Boards of the ``kind``; skips the test where there is no Redis, and fails it where CI is set."""
    if kind == 'redis':
        try:
            redis.Redis(socket_connect_timeout=2).ping()
        except redis.exceptions.RedisError as fault:
            if os.environ.get('CI'):
                pytest.fail(f'Redis does not answer: {fault}')
            pytest.skip(f'Redis does not answer: {fault}')
    return Boards(kind)


def ids(jobs):
    return [job.uuid for job in jobs]


@pytest.fixture
def short_lease(database):
    CONF.set_override('lease_seconds', 1.0, 'protection')
    CONF.set_override('claim_interval', 0.05, 'protection')
    yield
    CONF.clear_override('lease_seconds', 'protection')
    CONF.clear_override('claim_interval', 'protection')


@pytest.fixture(params=KINDS)
def boards(request, short_lease):
    """Boards of each kind, with a lease of one second."""
    made = opened(request.param)
    yield made
    made.close()


@pytest.fixture
def redis_boards(short_lease, monkeypatch):
    """Boards in Redis, with a lease of one second, and a reaper that looks often."""
    monkeypatch.setattr('karbor.protection.redis_board.REAP_SECONDS', 0.1)
    made = opened('redis')
    yield made
    made.close()
