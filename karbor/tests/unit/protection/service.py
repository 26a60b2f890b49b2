# SPDX-License-Identifier: Apache-2.0
"""A protection service on a back end in memory, with a real bank and a real database."""

import uuid

from oslo_config import cfg

from karbor.context import RequestContext
from karbor.objects.plan import Plan
from karbor.objects.restore import Restore
from karbor.objects.verification import Verification
from karbor.plugins.banks.memory import MemoryBank
from karbor.plugins.interface import Protectable, Resource
from karbor.protection import manager as managers
from karbor.protection.conductor import Conductor
from karbor.protection.protectables import Protectables
from karbor.protection.provider import Provider, Providers

PROVIDER = str(uuid.uuid4())


class Leaves(Protectable):
    resource_type = 'Leaf'
    parent_types = ('Box', 'Branch')

    def list(self, cloud, parameters=None):
        return []

    def show(self, cloud, id, parameters=None):
        return Resource('Leaf', id, id)

    def children(self, cloud, parent):
        if parent.id == 'broken':
            raise RuntimeError('the listing failed at http://inside.example/')
        return [Resource('Leaf', f'{parent.id}-{n}', f'leaf {n}') for n in range(2)]


class Boxes(Protectable):
    resource_type = 'Box'
    container = True

    def list(self, cloud, parameters=None):
        return []

    def show(self, cloud, id, parameters=None):
        return Resource('Box', id, id)


class Branches(Boxes):
    resource_type = 'Branch'
    container = False


class Service:
    """A protection service on ``backend``, whose worker can be replaced as after a crash."""

    def __init__(self, backend, plugins, starts=True):
        self.backend = backend
        config = cfg.ConfigOpts()
        config([])
        bank = MemoryBank(config)
        protections = {t: plugin(config) for plugin in plugins for t in plugin.resource_types}
        self.provider = Provider(PROVIDER, 'test', '', bank, config, protections=protections)
        self.providers = Providers({PROVIDER: self.provider})
        self.protectables = Protectables([Leaves(), Boxes(), Branches()])
        self.context = RequestContext(project_id='project', user_id='user', roles=['member'], auth_token='token')
        self.conductor = self.worker()
        if starts:
            self.conductor.start()

    def worker(self):
        return Conductor(self.providers, self.protectables.containers(), self.protectables.children)

    def manager(self):
        return managers.Manager(self.providers, self.protectables, self.conductor)

    def replace_worker(self):
        self.conductor.stop(5)
        self.conductor = self.worker()
        self.conductor.start()

    def protect(self, *resources, wait=True, parameters=None):
        named = [dict(zip(('type', 'id', 'name'), (*r, r[1]), strict=False)) for r in resources]
        plan = Plan.new(name='plan', provider_id=PROVIDER, project_id='project', parameters=parameters, resources=named)
        checkpoint, operation = str(uuid.uuid4()), str(uuid.uuid4())
        self.manager().protect(self.context, plan, checkpoint, operation, {'extra_info': {'created_by': 'manual'}})
        if wait:
            assert self.conductor.wait_idle(20)
        return checkpoint, operation

    def restore(self, checkpoint, wait=True):
        restore = Restore.new(provider_id=PROVIDER, checkpoint_id=checkpoint, parameters={})
        operation = str(uuid.uuid4())
        self.manager().restore(self.context, restore, operation)
        if wait:
            assert self.conductor.wait_idle(20)
        return restore.id, operation

    def verify(self, checkpoint, wait=True):
        verification = Verification.new(provider_id=PROVIDER, checkpoint_id=checkpoint, parameters={})
        operation = str(uuid.uuid4())
        self.manager().verification(self.context, verification, operation)
        if wait:
            assert self.conductor.wait_idle(20)
        return verification.id, operation

    def copy(self, *checkpoints, wait=True, parameters=None, context=None):
        """(checkpoint, operation) of each new copy."""
        plan = Plan.new(name='plan', provider_id=PROVIDER, project_id='project')
        made = [(id, str(uuid.uuid4()), str(uuid.uuid4())) for id in checkpoints]
        copies = [dict(zip(('checkpoint_id', 'copy_id', 'operation_id'), ids, strict=True)) for ids in made]
        self.manager().copy(context or self.context, plan, copies, parameters or {})
        if wait:
            assert self.conductor.wait_idle(20)
        return [ids[1:] for ids in made]

    def delete(self, checkpoint, wait=True):
        operation = str(uuid.uuid4())
        self.manager().delete(self.context, PROVIDER, checkpoint, operation)
        if wait:
            assert self.conductor.wait_idle(20)
        return operation
