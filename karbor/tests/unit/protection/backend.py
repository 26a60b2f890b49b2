# SPDX-License-Identifier: Apache-2.0
"""A back end of objects in memory, and plugins that work on it: what the engine's tests run."""

import itertools
import threading
from typing import Any, ClassVar

from karbor import exception
from karbor.plugins.interface import Hook, Protection, State, Work


class Backend:
    """Objects by handle. ``faults`` maps (call, resource id) to what that call raises; ``polls`` is how often one asks
    until an object is ready; ``states`` maps a resource id to the word that its object shows.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.faults: dict[tuple[str, str], Exception] = {}
        self.states: dict[str, str] = {}
        self.polls = 1
        self.gate: threading.Event | None = None
        self._serial = itertools.count(1)
        self._lock = threading.Lock()

    def called(self, call: str, id: str) -> None:
        with self._lock:
            self.calls.append((call, id))
        if (call, id) in self.faults:
            raise self.faults[call, id]

    def count(self, call: str) -> int:
        return sum(1 for made, _ in self.calls if made == call)

    def create(self, tag: str, id: str) -> str:
        with self._lock:
            handle = f'object-{next(self._serial)}'
            self.objects[handle] = {'tag': tag, 'id': id, 'polls': 0}
            return handle


class Made(Work):
    """Creates an object, is ready after some polls, and finishes into the bank."""

    service = 'backend'
    poll_interval = 0.05
    backend: ClassVar[Backend]

    def start(self, work):
        self.backend.called('start', work.resource.id)
        handle = self.backend.create(work.tag, work.resource.id)
        self.backend.called('started', work.resource.id)
        return {'object': handle}

    def find(self, work):
        self.backend.called('find', work.resource.id)
        return next(({'object': h} for h, o in self.backend.objects.items() if o['tag'] == work.tag), None)

    def poll(self, work, handle):
        self.backend.called('poll', work.resource.id)
        if self.backend.gate is not None and not self.backend.gate.is_set():
            return State('creating', progress=30)
        made = self.backend.objects[handle['object']]
        made['polls'] += 1
        if work.resource.id in self.backend.states:
            return State(self.backend.states[work.resource.id])
        new_id = handle['object'] if work.operation_type == 'restore' else None
        if made['polls'] < self.backend.polls:
            return State('creating', f'poll {made["polls"]}', progress=made['polls'] * 10, new_id=new_id)
        return State('available', new_id=new_id, extra={'job': handle['object']})

    def finish(self, work, handle):
        self.backend.called('finish', work.resource.id)
        work.section.put_json('metadata', {'object': handle['object']})

    def cancel(self, work, handle):
        self.backend.called('cancel', work.resource.id)
        self.backend.objects.pop(handle['object'], None)
        return True


class Restored(Made):
    def finish(self, work, handle):
        self.backend.called('finish', work.resource.id)


class RestoredLast(Restored):
    hook = Hook.COMPLETE


class Removed(Work):
    """Removes what protect made; done when `start` returns."""

    service = 'backend'
    backend: ClassVar[Backend]

    def start(self, work):
        self.backend.called('remove', work.resource.id)
        self.backend.objects.pop(self._made(work), None)
        return {}

    @staticmethod
    def _made(work):
        try:
            return work.section.get_json('metadata')['object']
        except exception.BankObjectNotFound:  # its protect failed, and may have left something
            return (work.protected or {}).get('object')


class Verified(Work):
    """Looks whether what protect made is still there."""

    service = 'backend'
    repeatable = True
    poll_interval = 0.05
    backend: ClassVar[Backend]

    def start(self, work):
        self.backend.called('look', work.resource.id)
        return {'object': work.section.get_json('metadata')['object']}

    def poll(self, work, handle):
        self.backend.called('poll', work.resource.id)
        if self.backend.gate is not None and not self.backend.gate.is_set():
            return State('verifying', progress=30)
        is_there = handle['object'] in self.backend.objects
        return State('available') if is_there else State('error', 'the object is gone')


class Copied(Made):
    """Makes another object of the one that protect made."""

    def start(self, work):
        self.backend.called('copy', work.source.get_json('metadata')['object'])
        return super().start(work)


def protection(backend: Backend, types=('Leaf',), restored=Restored, name='Leaves') -> type[Protection]:
    """A protection plugin class on ``backend``."""

    def bound(work):
        return type(work.__name__, (work,), {'backend': backend})

    members = {
        'resource_types': types,
        'protect': bound(Made),
        'restore': bound(restored),
        'delete': bound(Removed),
        'verify': bound(Verified),
        'copy': bound(Copied),
    }
    return type(name, (Protection,), members)


REFUSED = exception.BackendFault('refused', 'backend', 'req-1')
