# SPDX-License-Identifier: Apache-2.0
"""Who runs operations: a TaskFlow conductor, which claims them from the job board and runs each in a slot
of its own.
"""

import collections
import threading
import time
from collections.abc import Callable, Collection
from concurrent import futures
from typing import Any

import futurist
from oslo_config import cfg
from oslo_log import log
from oslo_utils import timeutils
from taskflow.conductors.backends import impl_nonblocking
from taskflow.types import timing

from karbor import credentials, exception, statuses
from karbor.clients import Cloud
from karbor.db import engine, models, repository
from karbor.plugins.interface import Resource
from karbor.protection import board, cleanup, events, flows
from karbor.protection import run as runs
from karbor.protection.provider import Providers
from karbor.statuses import ResourceStatus

CONF = cfg.CONF
LOG = log.getLogger(__name__)
OPERATION = models.OperationLog
SLOTS = 64  # of a service whose `max_concurrent_operations` is 0, and what that option can be raised to while it runs
RESERVED = 4  # slots more, for operations to be cancelled
AGAIN_SECONDS = 1.0  # until an interrupted operation is given back
TRIES = 3  # at writing how an operation failed


class Pause(timing.Timeout):
    """The conductor's pause between two looks at the board: `poke` ends it early, `interrupt` for ever."""

    def __init__(self) -> None:
        super().__init__(CONF.protection.claim_interval)
        self._poked = threading.Event()

    def poke(self) -> None:
        self._poked.set()

    def interrupt(self) -> None:
        super().interrupt()
        self._poked.set()

    def wait(self) -> None:
        self._poked.wait(CONF.protection.claim_interval)
        self._poked.clear()


class Conductor(impl_nonblocking.NonBlockingConductor):
    """Runs operations of the providers that this process has loaded, from `start` to `stop`."""

    def __init__(
        self, providers: Providers, containers: set[str], children_of: Callable[[Cloud, Resource], Any]
    ) -> None:
        self.providers, self.containers, self.children_of = providers, containers, children_of
        self.pools = runs.Pools.make()
        self.stopping = threading.Event()
        self._slots = max(CONF.max_concurrent_operations, SLOTS)
        super().__init__(
            board.worker_name(),
            board.fetch(providers=self.providers.keys, cancel=self.cancel),
            wait_timeout=Pause(),
            executor_factory=lambda: futurist.ThreadPoolExecutor(self._slots + RESERVED),
        )
        self._runs: dict[str, runs.Run] = {}
        self._unwritten: collections.Counter[str] = collections.Counter()
        self._thread = threading.Thread(target=self.run, name='conductor', daemon=True)

    def connect(self) -> None:
        """Be able to claim. Raises JobBoardAway, and may be called again."""
        engine.cut_idle_transactions(CONF.protection.lease_seconds / 3)
        super().connect()

    def start(self) -> None:
        """Claim operations: what is posted from now on, and what others have left."""
        self.connect()
        self._thread.start()

    def post(self, operation_id: str) -> None:
        """The operation was accepted in this process: put it on the board, and look there at once."""
        self._jobboard.post(operation_id)
        self.look()

    def look(self) -> None:
        """Look at the board at once."""
        self._wait_timeout.poke()

    def cancel(self, operation_ids: Collection[str]) -> None:
        """Tell those that run here that somebody asked for their cancellation; end those that have not in time."""
        for run in filter(None, map(self._runs.get, operation_ids)):
            run.cancel()
            if time.monotonic() > run.cut_at:
                LOG.error('Operation %s did not end when it was cancelled, and is cut short.', run.id)
                self._give_up(run.operation, cleanup.left_by(run, runs.CANCELLED))
                self._jobboard.leases.drop(run.id, run.operation.epoch)

    def stop(self, seconds: float = 0.0) -> None:
        """Claim nothing more, let operations stop between two groups of writes, for at most ``seconds``;
        give them back.
        """
        self.halt()
        self._until(lambda: not self._dispatched, seconds)
        if self._thread.is_alive():
            self._thread.join(timeout=max(0.1, seconds))
        self.close()
        self.pools.close()

    def halt(self) -> None:
        """Claim nothing more, and tell operations to stop; `stop` waits for them."""
        self.stopping.set()
        super().stop()

    def wait_idle(self, seconds: float) -> bool:
        """Whether nothing of this host is under way or waiting within ``seconds``."""
        return self._until(lambda: not self._dispatched and not self._waiting(), seconds)

    def _waiting(self) -> int:
        owners = repository.OneOf((self._name, CONF.host, board.ANYONE))
        return repository.count(OPERATION, ended_at=None, owner=owners)

    @staticmethod
    def _until(condition: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    # -- what TaskFlow's conductor calls

    def _dispatch_job(self, job: board.Job) -> bool:
        """Run the operation; whether it has ended, or is to be given back."""
        try:
            ended = self._run(job)
        except (runs.Interrupted, *engine.PASSING_FAULTS) as interruption:
            LOG.warning('Operation %s was interrupted: %s', job.uuid, interruption)
            ended = False
        except BaseException:  # noqa: BLE001  the last resort of a slot: a bug of ours shows in the log, the next run may do
            LOG.exception('Operation %s is given back.', job.uuid)
            ended = False
        if ended:
            credentials.forget(job.uuid)
        else:
            self.stopping.wait(AGAIN_SECONDS)
        return ended

    def _can_claim_more_jobs(self, job: board.Job) -> bool:
        """One to be cancelled has its end before it: it finds a slot where others would wait."""
        if self._wait_timeout.is_stopped():
            return False
        slots = min(CONF.max_concurrent_operations or SLOTS, self._slots)
        return len(self._dispatched) < slots + (RESERVED if job.cancel_requested else 0)

    def _on_job_done(self, job: board.Job, fut: futures.Future[bool]) -> None:
        super()._on_job_done(job, fut)
        self.look()  # a slot is free

    # -- how

    def _run(self, job: board.Job) -> bool:
        operation = repository.get(OPERATION, job.uuid)
        if operation is None or operation.ended_at is not None:
            return True
        if operation.epoch != job.epoch:
            raise runs.LostClaim('it was claimed by somebody else')
        run = self._prepare(operation)
        if run is None:
            return True
        self._runs[run.id] = run
        try:
            flows.execute(run)
        except runs.Interrupted:
            raise
        except Exception as fault:  # noqa: BLE001  the flow has reverted and written how the operation ended
            LOG.info('Operation %s failed: %s', job.uuid, fault)
            return self._is_ended(run, fault)
        finally:
            if self._runs.get(run.id) is run:  # not the next run's, of an operation that was lost and claimed again
                del self._runs[run.id]
        return True

    def _is_ended(self, run: runs.Run, fault: Exception) -> bool:
        """Whether the failure was written. One that cannot be, however often it is tried, is cut short."""
        left = repository.get(OPERATION, run.id)
        if left is None or left.ended_at is not None:
            return True
        self._unwritten[run.id] += 1
        if self._unwritten[run.id] < TRIES:
            raise runs.Interrupted('its end could not be written') from fault
        LOG.error('The end of operation %s cannot be written.', run.id, exc_info=fault)
        self._give_up(run.operation, exception.BackendFault('internal', 'karbor').text)
        return True

    def _prepare(self, operation: models.OperationLog) -> runs.Run | None:
        """What the operation's run works on; None when it cannot be begun, and was ended."""
        provider = self.providers.get(operation.provider_id or '')
        wanted = [operation.checkpoint_id, *filter(None, [operation.source_checkpoint_id])]
        rows = [repository.get(models.CheckpointRecord, id) for id in wanted]
        missing = [f'checkpoint {id}' for id, row in zip(wanted, rows, strict=True) if row is None]
        if provider is None or missing:
            what = missing[0] if provider else f'provider {operation.provider_id}'
            detail = f'{what} does not exist any more'
            self._give_up(operation, exception.BackendFault('unsupported', 'karbor', detail=detail).text)
            return None
        checkpoint, source = rows[0], rows[1] if operation.source_checkpoint_id else None
        assert checkpoint is not None  # noqa: S101  none is missing
        run = runs.Run(
            operation=operation,
            provider=provider,
            checkpoint=checkpoint,
            source=source,
            installation_id=runs.installation_id(),
            containers=self.containers,
            children_of=self.children_of,
            pools=self.pools,
            stopping=self.stopping,
            is_owner=lambda: self._jobboard.leases.is_valid(operation.id, operation.epoch),
        )
        if operation.cancel_requested:
            run.cancel()
        return run

    @engine.repeated
    def _give_up(self, operation: models.OperationLog, reason: str) -> None:
        """End an operation that cannot be run, or whose run does not end, and what its resources say."""
        now, resource = timeutils.utcnow(), models.OperationResource
        failed = {'status': ResourceStatus.ERROR, 'status_details': statuses.clean(reason), 'ended_at': now}
        with engine.writing():
            if repository.update(OPERATION, operation.id, {'epoch': operation.epoch + 1}, epoch=operation.epoch):
                repository.update_all(resource, failed, operation_id=operation.id, status=ResourceStatus.BUILD)
                flows.write_end(operation, reason, now)
        events.ended(operation.id)
