# SPDX-License-Identifier: Apache-2.0
"""The daily task: fold, purge, end trusts that nobody uses. Of all protection services one does it at a time."""

import datetime
import random
import threading

from oslo_config import cfg
from oslo_log import log
from oslo_utils import timeutils

from karbor import trusts
from karbor.db import engine, folding, models, purge, repository

CONF = cfg.CONF
LOG = log.getLogger(__name__)
HOUR = 3600.0
FIRST_LOOK = 120.0  # seconds after the start, at most, so that services that start together do not look together


class Housekeeper:
    """Looks once an hour, from `start` to `stop`, whether the daily task is due, and does it."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name='housekeeping', daemon=True)

    def start(self) -> None:
        if CONF.housekeeping.interval_hours:
            self._thread.start()

    def stop(self) -> None:
        """It is not waited for: each of its transactions is whole, and the next one goes on with the rest."""
        self._stopped.set()

    def _run(self) -> None:
        pause = random.uniform(0, FIRST_LOOK)
        while not self._stopped.wait(pause):
            pause = min(HOUR, CONF.housekeeping.interval_hours * HOUR)
            try:
                if claim():
                    tidy()
            except Exception:  # noqa: BLE001  whatever it is, the service goes on, and the next time may do
                LOG.exception('The daily task failed; it is begun again when it is due next.')


@engine.repeated
def claim() -> bool:
    """Whether the daily task is due, and this process is the one to do it."""
    now = timeutils.utcnow()
    before = now - datetime.timedelta(hours=CONF.housekeeping.interval_hours)
    row = next(iter(repository.find(models.Installation, limit=1)), None)
    if row is None or (row.tidied_at is not None and row.tidied_at > before):
        return False
    return repository.update(models.Installation, row.id, {'tidied_at': now}, tidied_at=row.tidied_at)


def tidy() -> dict[str, int]:
    """Do what the options say; how many keys were forgotten, operations folded, rows purged by table, and
    trusts ended.
    """
    options, done = CONF.housekeeping, {}
    if forgotten := purge.forget_keys():
        done['idempotency_keys'] = forgotten
    if options.fold_after_days:
        done['folded operations'] = folding.fold(_days_ago(options.fold_after_days))
    if options.purge_after_days:
        done |= purge.purge(_days_ago(options.purge_after_days))
    if options.unused_trust_days and CONF.auth_strategy != 'noauth':
        done['ended trusts'] = trusts.remove_unused(options.unused_trust_days)
    LOG.info(
        'The daily task is done: %s', ', '.join(f'{name}: {count}' for name, count in done.items() if count) or '-'
    )
    return done


def _days_ago(days: int) -> datetime.datetime:
    return timeutils.utcnow() - datetime.timedelta(days=days)
