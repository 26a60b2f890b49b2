# SPDX-License-Identifier: Apache-2.0
import pytest

from karbor.tests.unit.protection import backend as backends
from karbor.tests.unit.protection.service import Service


@pytest.fixture
def backend():
    return backends.Backend()


@pytest.fixture
def service(database, backend):
    made = Service(backend, [backends.protection(backend), backends.protection(backend, ('Branch',), name='Branches')])
    yield made
    made.conductor.stop(5)
