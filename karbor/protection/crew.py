# SPDX-License-Identifier: Apache-2.0
"""The loop over the resources of a wave: start, record, poll, finish, record."""

import collections
import copy
import math
import time
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg
from oslo_log import log
from oslo_utils import timeutils

from karbor import exception, statuses
from karbor.clients import fault
from karbor.plugins.interface import Hook, State, Work
from karbor.protection import run as runs
from karbor.protection.book import Book
from karbor.protection.calls import Calls
from karbor.protection.item import Handle, Item, checked_handle, checked_state
from karbor.protection.reports import Reports
from karbor.statuses import ResourceStatus

CONF = cfg.CONF
LOG = log.getLogger(__name__)
AGE_SHARE = 1 / 32  # of the time that a resource has taken so far: until it is asked after again


class Crew:
    """Works on items that may all be worked on at once. ``blocked`` are positions whose descendants have failed."""

    def __init__(self, run: runs.Run, hook: Hook, book: Book, items: Sequence[Item], blocked: set[int]) -> None:
        self.run, self.hook, self.book, self.blocked = run, hook, book, blocked
        self.todo = collections.deque(i for i in items if i.handle is None)
        self.polled = {i.position: i for i in items if i.handle is not None}
        self.recording: list[Item] = []  # started, to be polled once their handle is written
        self.unfinished: list[Item] = []  # active, but `finish` met a passing fault and is made again
        self.calls = Calls(run.check_lease, CONF.protection.resource_timeout)
        self.asked: set[Work] = set()
        self.next_poll: dict[Work, float] = {}
        self.held: dict[str, float] = {}  # service -> until when nothing is started there, since it is overrun
        self.live = set(self.polled)  # positions that count against max_concurrent_resources
        self.starting: set[int] = set()  # positions whose start has not answered
        self.failing: str | None = None
        self.interrupted: runs.Interrupted | None = None
        self.reports = Reports(run, self.calls, book)
        for item in self.polled.values():
            run.pools.places.keep(self._kind(item), run.id)
            self._assign(item)

    def work(self) -> None:
        """Until every item is done or failed. Raises Interrupted, and OperationFailed for half a checkpoint."""
        latest = math.inf  # when a cancelled run waits for answers no longer
        try:
            while self._is_at_work():
                stop = self._must_stop()
                if isinstance(stop, runs.Cancelled):
                    latest = min(latest, time.monotonic() + CONF.protection.cancel_timeout / 3)
                if stop is not None and (not self.calls or time.monotonic() > latest):
                    break
                if stop is None:
                    self._start_some()
                    self._finish_again()
                    self._ask()
                self.calls.take(self._pause())
                left = self.book.seconds_left()
                if left is not None and (left == 0.0 or not self.calls):
                    self._write()
        finally:
            self.reports.close()
            self.run.pools.places.leave(self.run.id)
        self.calls.take(0)
        self._write()
        stop = self._must_stop()
        if stop is not None and (self._is_at_work() or self.failing):
            self.run.unheard.update(self.starting)
            raise stop

    def _is_at_work(self) -> bool:
        return bool(self.todo or self.calls or self.polled or self.recording or self.unfinished)

    def check(self) -> None:
        """From any thread: raise if the work on a resource has to stop: Interrupted, or why it fails.

        A database that was away ends the run, but not what is under way: that is waited for, and written.
        """
        stop = self.interrupted if isinstance(self.interrupted, runs.LostClaim) else self._ended_by()
        if isinstance(stop, runs.Interrupted):
            raise stop
        if stop is not None:
            why = 'was cancelled' if isinstance(stop, runs.Cancelled) else 'failed'
            raise exception.BackendFault('interrupted', 'karbor', detail=f'stopped: the operation {why}') from stop

    def _must_stop(self) -> Exception | None:
        return self._ended_by() if self.interrupted is None else self.interrupted

    def _ended_by(self) -> Exception | None:
        try:
            self.run.check()
        except (runs.Interrupted, runs.Cancelled) as stop:
            return stop
        if self.failing is not None and self.run.makes_checkpoint:
            return runs.OperationFailed(self.failing)
        return None

    def _pause(self) -> float:
        """Seconds that there is nothing to do but wait for results."""
        ends = [0.5] if self.calls else [0.05]
        left = self.book.seconds_left()
        if left is not None:
            ends.append(left)
        now = time.monotonic()
        ends.extend(max(0.01, item.not_before - now) for item in (*self.todo, *self.unfinished) if item.not_before)
        waiting = {i.work for i in self.polled.values()} - self.asked
        ends.extend(max(0.0, self.next_poll.get(work, now) - now) for work in waiting)
        return min(ends)

    # -- starting

    def _start_some(self) -> None:
        now = time.monotonic()
        for _ in range(len(self.todo)):
            if len(self.live) >= CONF.protection.max_concurrent_resources:
                return
            item = self.todo.popleft()
            if item.position in self.blocked:
                self._fail(item, runs.NOT_STARTED)
                continue
            if max(item.not_before, self.held.get(item.work.service, 0.0)) > now or not self._takes_place(item):
                self.todo.append(item)
                continue
            self._assign(item)
            self.live.add(item.position)
            self.starting.add(item.position)
            if not item.patience.faults:
                item.begun = now
                begun = {} if item.hooks else {'started_at': timeutils.utcnow()}
                self.book.enter(item.position, status=ResourceStatus.BUILD, **begun)
            self.calls.make(self._pool(item), self._started, item, self._start, item)

    def _assign(self, item: Item) -> None:
        work = item.assignment = self.run.assignment(item.resource, item.attempt)
        work.hook, work.check, work.tell = self.hook, self.check, self.reports.teller(item)
        if self.run.restore is not None:
            work.restore = self.reports.restore_for(item)

    def _pool(self, item: Item) -> Any:
        return self.run.pools.waiting if item.work.waits else self.run.pools.hooks

    def _takes_place(self, item: Item) -> bool:
        return self.run.pools.places.take(self._kind(item), self.run.id)

    def _kind(self, item: Item) -> tuple[str, str]:
        return self.run.provider.id, item.resource.type

    def _leave(self, item: Item) -> None:
        """The item is not worked on any more, or for a while."""
        if item.position in self.live:
            self.live.discard(item.position)
            self.run.pools.places.give(self._kind(item), self.run.id)

    def _start(self, item: Item) -> tuple[Handle, BaseException | None]:
        """The handle, and what went wrong after it was there: a handle is recorded whatever happens next."""
        again = self.run.operation.epoch > 1 or item.patience.faults
        found = item.work.find(item.assignment) if again else None
        handle = checked_handle(item.work.start(item.assignment) if found is None else found)
        if item.instant:
            try:
                item.work.finish(item.assignment, handle)
            except BaseException as wrong:  # noqa: BLE001  as for any call of a plugin; here, the handle must survive it
                return handle, wrong
        return handle, None

    def _started(self, item: Item, result: Any, error: BaseException | None) -> None:
        self.starting.discard(item.position)
        if error is not None and item.work.repeatable and self._waits(item, error):
            self._leave(item)
            self.todo.append(item)
            return
        if self._is_over(item, error):
            return
        item.patience.succeed()
        item.handle, wrong = result
        self._record(item)
        if item.instant:
            self._finished(item, None, wrong)
        else:
            self.recording.append(item)

    def _waits(self, item: Item, error: BaseException) -> bool:
        """Whether the call met a fault that passes, and is made again later; `find` will tell what a start did."""
        if isinstance(error, runs.Interrupted):
            return False
        told = _told(item, error)
        # A bank was waited for where it is used.
        pause = item.patience.pause(told) if told.reason != 'bank' else None
        if pause is None:
            return False
        item.not_before = time.monotonic() + pause
        if told.reason == 'over_limit':
            self.held[item.work.service] = item.not_before
        return True

    def _record(self, item: Item) -> None:
        """Write the handle if it is new, or a poll has changed it."""
        if item.handle != item.recorded:
            item.recorded = copy.deepcopy(item.handle)
            self.book.enter(item.position, handle=item.recorded)

    # -- polling

    def _ask(self) -> None:
        now = time.monotonic()
        by_work: dict[Work, list[Item]] = {}
        for item in self.polled.values():
            if item.work not in self.asked and self.next_poll.get(item.work, 0.0) <= now:
                by_work.setdefault(item.work, []).append(item)
        for work, items in by_work.items():
            self.asked.add(work)
            self.calls.make(self.run.pools.polls, self._answered, (work, items), self._poll, work, items)

    @staticmethod
    def _poll(work: Work, items: list[Item]) -> list[tuple[State | BaseException, Handle]]:
        """What is said of each item, and its handle after that; whatever makes no sense is an error."""
        said = list(work.poll_many([(i.assignment, i.handle or {}) for i in items]))
        if len(said) != len(items):
            raise TypeError(f'poll_many answered {len(said)} states for {len(items)} resources')
        return [(checked_state(state), checked_handle(item.handle)) for state, item in zip(said, items, strict=True)]

    def _answered(self, asked: tuple[Work, list[Item]], states: Any, error: BaseException | None) -> None:
        work, items = asked
        self.asked.discard(work)
        if isinstance(error, runs.Interrupted):
            self.interrupted = error
            return
        for place, item in enumerate(items):
            if isinstance(states and states[place][0], runs.Interrupted):
                self.interrupted = states[place][0]
            elif item.position in self.polled:
                state = error or states[place][0]
                self._record(item)
                self._heard(item, state) if isinstance(state, State) else self._not_heard(item, state)
        now = time.monotonic()
        age = min((now - i.begun for i in items if i.position in self.polled), default=0.0)
        usual = now + min(max(age * AGE_SHARE, CONF.protection.poll_first), work.poll_interval)
        self.next_poll[work] = max(usual, *(i.not_before for i in items))

    def _heard(self, item: Item, state: State) -> None:
        item.patience.succeed()
        status, details = statuses.resource_status(state.word, state.details)
        self._note(item, state)
        if status is ResourceStatus.ERROR:
            self._fail(item, details or exception.BackendFault('failed', item.work.service).text)
        elif status is ResourceStatus.ACTIVE:
            del self.polled[item.position]
            finish = item.work.finish
            self.calls.make(self._pool(item), self._finished, item, finish, item.assignment, item.handle)
        elif time.monotonic() - item.begun > CONF.protection.resource_timeout:
            self._fail(item, exception.BackendFault('too_slow', item.work.service).text)
        else:
            self._show(item, ResourceStatus.BUILD if status else None, details, state.progress)

    def _note(self, item: Item, state: State) -> None:
        if state.new_id is not None and state.new_id != item.new_id:
            item.new_id = state.new_id
            self.book.enter(item.position, new_id=state.new_id)
        if state.extra is not None:
            self.book.enter(item.position, extra=dict(state.extra))

    def _show(self, item: Item, status: ResourceStatus | None, details: str | None, progress: int | None) -> None:
        before = item.shown[2]
        if progress is not None:
            progress = min(99, max(0, progress, before or 0))
        shown = (status, details, before if progress is None else progress)
        if shown != item.shown:
            item.shown = shown
            self.book.enter(item.position, status=shown[0], status_details=shown[1], progress=shown[2])

    def _not_heard(self, item: Item, error: BaseException) -> None:
        if not self._waits(item, error):
            self._fail(item, _told(item, error).text)

    # -- ending

    def _finish_again(self) -> None:
        now = time.monotonic()
        due = [item for item in self.unfinished if item.not_before <= now]
        self.unfinished = [item for item in self.unfinished if item.not_before > now]
        for item in due:
            self.calls.make(self.run.pools.hooks, self._finished, item, item.work.finish, item.assignment, item.handle)

    def _finished(self, item: Item, _: Any, error: BaseException | None) -> None:
        if error is not None and self._waits(item, error):
            self.unfinished.append(item)
            return
        if self._is_over(item, error):
            return
        self._leave(item)
        del item.assignment
        if item.new_id is not None:
            self.run.new_ids[item.resource.key] = item.new_id
        hooks = item.hooks | self.hook
        if item.work.hook != self.hook:  # one of several: the handle was that of this hook
            self.book.enter(item.position, handle=None)
        if item.work.hooks_of(item.resource) & ~hooks:
            self.book.enter(item.position, hooks=hooks, status=ResourceStatus.BUILD)
            return
        self.run.done += 1
        values = {'status': ResourceStatus.ACTIVE, 'status_details': None, 'progress': 100}
        self.book.enter(item.position, hooks=hooks, ended_at=timeutils.utcnow(), **values)

    def _is_over(self, item: Item, error: BaseException | None) -> bool:
        """Whether there is an error, which ends the item; or the run, whose next one goes on with it."""
        if isinstance(error, runs.Interrupted):
            self.interrupted = error
            if item.handle is not None:
                self.polled[item.position] = item
        elif error is not None:
            self._fail(item, _told(item, error).text)
        return error is not None

    def _fail(self, item: Item, reason: str) -> None:
        self._leave(item)
        self.polled.pop(item.position, None)
        self.failing = self.failing or f'{item.resource.type} {item.resource.id}: {reason}'
        self.blocked.update(self.run.graph.ancestors(item.position))
        details = statuses.clean(reason)
        self.book.enter(item.position, status=ResourceStatus.ERROR, status_details=details, ended_at=timeutils.utcnow())

    def _write(self) -> None:
        self.book.write(**(self.run.progress() if self.book else {}))
        self.polled.update((item.position, item) for item in self.recording)
        now = time.monotonic()
        for item in self.recording:
            self.next_poll[item.work] = min(self.next_poll.get(item.work, now + 60), now + CONF.protection.poll_first)
        self.recording.clear()


def _told(item: Item, error: BaseException) -> exception.BackendFault:
    if isinstance(error, exception.BankObjectNotFound):
        return exception.BackendFault('no_copy', 'karbor')
    if isinstance(error, exception.BankError):
        LOG.warning('The bank failed for %s %s: %s', item.resource.type, item.resource.id, error)
    return fault(item.work.service, error)
