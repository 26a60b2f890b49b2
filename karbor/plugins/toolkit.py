# SPDX-License-Identifier: Apache-2.0
"""What plugins share: work that makes, checks or removes one object of a service.

A subclass of `Making`, `Checking` or `Removing` tells what the object is and how it is asked for;
the order of things, tags, polling in one call for many, and cleaning up are here.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from keystoneauth1 import exceptions as keystone_exceptions
from oslo_config import cfg

from karbor import exception, keystone
from karbor.clients import Cloud
from karbor.plugins import notes, tags
from karbor.plugins.interface import Assignment, Leftover, Protection, State, Work

# How services refuse what an object cannot do just now.
BUSY = (keystone_exceptions.BadRequest, keystone_exceptions.Conflict, keystone_exceptions.UnprocessableEntity)

Thing = dict[str, Any]
Handle = dict[str, Any]

# Up to so many objects are asked after one by one.
FEW = 3
# Seconds after which a removal that had no effect is asked for again, or counts as failed again.
REMOVE_AGAIN = 30.0


class Collection(ABC):
    """The objects of one kind in one service, as plain dictionaries, whatever its client library does."""

    def __init__(self, service: str, manager: str, noun: str) -> None:
        self.service, self._manager, self.noun = service, manager, noun

    def manager(self, cloud: Cloud) -> Any:
        """The client library's manager of these objects."""
        return getattr(cloud.client(self.service), self._manager)

    def get(self, cloud: Cloud, id: str) -> Thing | None:
        """The object, or None if there is none (any more)."""
        try:
            return self.manager(cloud).get(id).to_dict()
        except keystone_exceptions.NotFound:
            return None

    def delete(self, cloud: Cloud, id: str) -> bool:
        """Ask for its removal; False if it is gone already."""
        try:
            self.manager(cloud).delete(id)
        except keystone_exceptions.NotFound:
            return False
        return True

    @abstractmethod
    def pages(self, cloud: Cloud, **filters: Any) -> Iterator[list[Thing]]:
        """All objects of the user's project that the filters let through, in pages as the service gives them."""

    def all(self, cloud: Cloud, **filters: Any) -> list[Thing]:
        """The objects of all pages, each once."""
        found = {thing['id']: thing for page in self.pages(cloud, **filters) for thing in page}
        return list(found.values())

    def some(self, cloud: Cloud, ids: set[str]) -> dict[str, Thing]:
        """Those of the objects that can be had with fewer calls than one each, by id."""
        found: dict[str, Thing] = {}
        for calls, page in enumerate(self.pages(cloud), start=1):
            found.update((thing['id'], thing) for thing in page if thing['id'] in ids)
            if len(found) == len(ids) or calls >= len(ids) // 2:
                break
        return found


@dataclass(frozen=True)
class Words:
    """What the words of a service mean while something is waited for; ``other`` is for words that are not listed."""

    active: frozenset[str]
    error: frozenset[str]
    build: frozenset[str] = frozenset()
    other: str = 'build'

    def meaning(self, word: str | None) -> str:
        """active, error or build."""
        for name in ('active', 'error', 'build'):
            if word in getattr(self, name):
                return name
        return self.other


class OneThing(Work):
    """Work on one object of ``things``, whose id is ``id_key`` in the handle and in the bank's notes."""

    repeatable = True
    things: ClassVar[Collection]
    id_key: ClassVar[str]
    option_group: ClassVar[str]

    def __init__(self, config: cfg.ConfigOpts) -> None:
        super().__init__(config)
        self.poll_interval = float(config[self.option_group].poll_interval)

    @abstractmethod
    def state(self, work: Assignment, handle: Handle, thing: Thing | None) -> State:
        """How the work stands if the object is ``thing``, or gone."""

    def poll(self, work: Assignment, handle: Handle) -> State:
        id = handle.get(self.id_key)
        return self.state(work, handle, self.things.get(work.cloud, id) if id else None)

    def poll_many(self, items: Sequence[tuple[Assignment, Handle]]) -> Sequence[State | Exception]:
        """One list call instead of many; what it does not show is asked after alone."""
        found = self._listed(items)
        return [self._seen(work, handle, found.get(handle.get(self.id_key))) for work, handle in items]

    def _listed(self, items: Sequence[tuple[Assignment, Handle]]) -> dict[str | None, Thing]:
        by_cloud: dict[int, tuple[Cloud, set[str]]] = {}
        for work, handle in items:
            if handle.get(self.id_key):
                by_cloud.setdefault(id(work.cloud), (work.cloud, set()))[1].add(handle[self.id_key])
        found: dict[str | None, Thing] = {}
        for cloud, ids in by_cloud.values():
            if len(ids) > FEW:
                found.update(self.things.some(cloud, ids))
        return found

    def _seen(self, work: Assignment, handle: Handle, thing: Thing | None) -> State | Exception:
        if thing is None:
            return self._polled(work, handle)
        try:
            return self.state(work, handle, thing)
        except Exception as unexpected:  # noqa: BLE001  as for poll: it belongs to its resource, not to its neighbours
            return unexpected

    def fault(self, reason: str, handle: Mapping[str, Any], detail: str | None = None) -> exception.BackendFault:
        """A fault of the service about the object, with the id of the request that began the work where known."""
        return exception.BackendFault(
            reason, self.service, handle.get('request_id') or keystone.latest_request_id(), detail
        )


class Making(OneThing):
    """Work that makes one object, tagged, and waits until it is ready.

    The handle holds its id, ``saved`` (what `finish` notes in the bank) and the id of the request
    that made it. It has no id yet while the source is busy: then each poll looks again.
    """

    words: ClassVar[Words]

    def __init__(self, config: cfg.ConfigOpts) -> None:
        super().__init__(config)
        self._asked_to_go: dict[str, float] = {}
        self._lock = threading.Lock()

    @abstractmethod
    def prepare(self, work: Assignment) -> tuple[bool, Handle]:
        """Whether the object can be made now, and the handle but its id. Raises where it never can be."""

    @abstractmethod
    def make(self, work: Assignment, handle: Handle) -> str:
        """Ask for the object, tagged with ``work.tag``; its id."""

    @abstractmethod
    def candidates(self, work: Assignment) -> Iterable[Thing]:
        """The objects of the right source that might be what `make` left behind."""

    def is_tagged(self, work: Assignment, thing: Thing) -> bool:
        return tags.tag_of(thing) == work.tag

    def created_at(self, thing: Thing) -> Any:
        return thing.get('created_at')

    def start(self, work: Assignment) -> Handle:
        ready, handle = self.prepare(work)
        if ready:
            handle[self.id_key] = self.make(work, handle)
            handle['request_id'] = keystone.latest_request_id()
        return handle

    def find(self, work: Assignment) -> Handle | None:
        thing = self._left_behind(work)
        if thing is None:
            return None
        return self.prepare(work)[1] | {self.id_key: thing['id']}

    def _left_behind(self, work: Assignment) -> Thing | None:
        found = [thing for thing in self.candidates(work) if self.is_tagged(work, thing)]
        found = [thing for thing in found if tags.is_of(work, self.created_at(thing))]
        # Nobody can know the tag before the first object carries it: whatever copies it is younger.
        return min(found, key=lambda thing: str(self.created_at(thing)), default=None)

    def poll(self, work: Assignment, handle: Handle) -> State:
        if not handle.get(self.id_key):
            handle.update(self.find(work) or self.start(work))
        if not handle.get(self.id_key):
            return State('build', handle.get('waiting'))
        return super().poll(work, handle)

    def state(self, work: Assignment, handle: Handle, thing: Thing | None) -> State:
        if thing is None:
            return State('error', self.fault('vanished', handle).text)
        meaning = self.words.meaning(thing['status'])
        if meaning == 'error':
            return State('error', self.failure(work, handle, thing).text, new_id=self.new_id(work, thing))
        return State(meaning, progress=self.progress(thing), new_id=self.new_id(work, thing))

    def failure(self, work: Assignment, handle: Handle, thing: Thing) -> exception.BackendFault:
        """Why the object is in an error state, as a tenant may read it."""
        return self.fault('failed', handle, f'{self.things.noun} {thing["id"]} is {thing["status"]}')

    def progress(self, thing: Thing) -> int | None:
        return None

    def new_id(self, work: Assignment, thing: Thing) -> str | None:
        """The id to be shown as the restored one."""
        return None

    def cancel(self, work: Assignment, handle: Handle) -> bool:
        id = handle.get(self.id_key)
        if not id:
            thing = self._left_behind(work)
            if thing is None:
                return True
            id = thing['id']
        return self.removed(work, id)

    def removed(self, work: Assignment, id: str) -> bool:
        """Whether the object is gone; if it is not, it is asked to go as soon as it can."""
        thing = self.things.get(work.cloud, id)
        if thing is None:
            return True
        if thing['status'] in self.words.build | {'deleting'} or not self._may_ask_to_go(id):
            return False
        try:
            return not self.things.delete(work.cloud, id)
        except BUSY:
            return False

    def _may_ask_to_go(self, id: str) -> bool:
        with self._lock:
            now = time.monotonic()
            if now - self._asked_to_go.get(id, -REMOVE_AGAIN) < REMOVE_AGAIN:
                return False
            self._asked_to_go[id] = now
            return True


class Protecting(Making):
    """Work that makes the copy, and notes ``saved`` of the handle with the copy's id in the bank."""

    def finish(self, work: Assignment, handle: Handle) -> None:
        if not handle.get(self.id_key):
            handle = self.find(work) or handle
        if not handle.get(self.id_key):
            raise self.fault('vanished', handle)
        notes.save(work.section, {**handle['saved'], self.id_key: handle[self.id_key]})


class Checking(OneThing):
    """Work that looks whether the copy is still good: what a restore needs is noted in the bank (``required``), the
    copy is there and ready, and it is still that of what was protected. It changes nothing.
    """

    words: ClassVar[Words]
    required: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def compared(self, noted: Mapping[str, Any], thing: Thing) -> Iterable[tuple[str, Any, Any]]:
        """What has to be the same: its name, as it was ``noted``, and as it is; None where one of them is not told."""

    def wrong(self, noted: Mapping[str, Any], thing: Thing) -> str | None:
        """What is not as it was noted."""
        for name, before, now in self.compared(noted, thing):
            if None not in (before, now) and str(before) != str(now):
                return f'its {name} is {now}, not {before}'
        return None

    def start(self, work: Assignment) -> Handle:
        noted = notes.load(work.section, self.id_key, *self.required)
        return {self.id_key: notes.id_in(noted, self.id_key), 'noted': noted}

    def state(self, work: Assignment, handle: Handle, thing: Thing | None) -> State:
        if thing is None:
            return State(
                'error', self.fault('not_found', handle, f'the {self.things.noun} does not exist any more').text
            )
        meaning = self.words.meaning(thing['status'])
        if meaning == 'error':
            detail = f'{self.things.noun} {thing["id"]} is {thing["status"]}'
            return State('error', self.fault('failed', handle, detail).text)
        wrong = self.wrong(handle['noted'], thing)
        if wrong:
            detail = f'{self.things.noun} {thing["id"]} is not the one that was made: {wrong}'
            return State('error', self.fault('unsafe', handle, detail).text)
        return State(meaning)


class Removing(OneThing):
    """Work that removes the copy; one that is gone already is no fault."""

    words: ClassVar[Words]

    def start(self, work: Assignment) -> Handle:
        try:
            handle = {self.id_key: notes.noted_id(work.section, self.id_key)}
        except exception.BankObjectNotFound:
            # The protect failed: it has made one, which could not be removed then, or none.
            left = (work.protected or {}).get(self.id_key)
            if not left:
                return {}
            handle = {self.id_key: left}
        thing = self.things.get(work.cloud, handle[self.id_key])
        if thing is not None:
            self._ask(work, handle, thing)
        return handle

    def _ask(self, work: Assignment, handle: Handle, thing: Thing) -> None:
        """Ask for the removal unless that was done, or the object is busy: then a later poll does."""
        if handle.get('asked') or thing['status'] in self.words.build:
            return
        try:
            self.things.delete(work.cloud, handle[self.id_key])
        except BUSY as unexpected:
            if self.words.meaning(thing['status']) != 'error':
                raise
            again = f'{self.service} deletes it only once its state was reset by an administrator'
            raise self._failure(handle, thing, again) from unexpected
        # A word of failure that was there before tells nothing of this removal, until it has had its time.
        failed_before = thing['status'] if self.words.meaning(thing['status']) == 'error' else None
        handle.update(asked=time.time(), failed_before=failed_before, request_id=keystone.latest_request_id())

    def _has_failed(self, handle: Handle, thing: Thing) -> bool:
        if not handle.get('asked') or self.words.meaning(thing['status']) != 'error':
            return False
        return thing['status'] != handle.get('failed_before') or time.time() - handle['asked'] > REMOVE_AGAIN

    def _failure(self, handle: Handle, thing: Thing, *more: str) -> exception.BackendFault:
        return self.fault('failed', handle, ': '.join((f'the {self.things.noun} is {thing["status"]}', *more)))

    def state(self, work: Assignment, handle: Handle, thing: Thing | None) -> State:
        if thing is None or self.words.meaning(thing['status']) == 'active':
            return State('active')
        if self._has_failed(handle, thing):
            return State('error', self._failure(handle, thing).text)
        self._ask(work, handle, thing)
        return State('build')


class Tagged(Protection):
    """A plugin that finds what was left over by the tags of its ``copies`` and of what was ``restored``."""

    copies: ClassVar[Collection]
    restored: ClassVar[Collection]

    def tagged(self, cloud: Cloud, installation: str) -> Iterable[Leftover]:
        for things, is_copy in ((self.copies, True), (self.restored, False)):
            for thing in things.all(cloud):
                carried = tags.carried(thing)
                tag = tags.parse(carried)
                if carried and tag and tag.installation == installation:
                    created_at = _created_at(thing) or _created_at(things.get(cloud, thing['id']) or {})
                    yield Leftover(things.noun, thing['id'], carried, created_at, is_copy)

    def remove_leftover(self, cloud: Cloud, leftover: Leftover) -> bool:
        things = self.copies if leftover.is_copy else self.restored
        thing = things.get(cloud, leftover.id)
        if thing is None or tags.carried(thing) != leftover.tag:
            return False
        return things.delete(cloud, leftover.id)


def _created_at(thing: Mapping[str, Any]) -> Any:
    """Lists of some services do not tell it."""
    return tags.moment(thing.get('created_at') or thing.get('created'))
