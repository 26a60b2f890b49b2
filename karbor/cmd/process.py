# SPDX-License-Identifier: Apache-2.0
"""What the processes of Karbor share: configuration, logging, database, transport, and cotyledon's workers."""

import contextlib
import logging
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import cotyledon
import sqlalchemy.exc
from oslo_config import cfg
from oslo_db import exception as db_exception
from oslo_log import log

import karbor.native_threads  # noqa: F401  before anything that imports oslo.messaging
from karbor import exception, notifications
from karbor.conf import opts
from karbor.db import engine, models, repository
from karbor.rpc import transport

CONF = cfg.CONF
LOG = log.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0  # between two looks whether the database is there
TELL_SECONDS = 30.0  # between two lines in the log that it is not


class Service(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


def connect() -> None:
    """Connect this process to database and broker, as its configuration says."""
    engine.configure(CONF)
    transport.init(CONF)
    notifications.init(CONF)


def reread() -> None:
    """Read the configuration files again: mutable options have their new values, unless something is wrong with any."""
    try:
        opts.check_files(CONF)
        CONF.mutate_config_files()
    except (cfg.Error, ValueError) as fault:
        LOG.error('The configuration is kept as it was: %s', fault)


class Worker(cotyledon.Service):
    """One worker process: connects for itself, since a connection does not survive a fork.

    It waits for the database before it serves, and for what else the service's `connect` looks for; with
    ``is_answering``, only for one that can be opened: without its server it can say that it is away. What can never
    be served is told, noted in ``refused``, and ends the master too.
    """

    def __init__(self, worker_id: Any, make: Callable[[], Service], is_answering: bool, refused: Any) -> None:
        super().__init__(worker_id)
        self.service: Service | None = None
        self._look = _open_database if is_answering else _use_database
        self._ending = threading.Event()
        self._is_begun = False
        why = ''
        try:
            transport.init(CONF)
            notifications.init(CONF)
            self.service = make()
        except (cfg.Error, exception.ConfigurationError) as fault:
            why = str(fault)
        if why and not refused.is_set():  # each worker finds the same
            refused.set()
            _tell(why)

    def run(self) -> None:
        if self.service is None:
            # Whoever forked this worker would only fork it anew.
            os.kill(os.getppid(), signal.SIGTERM)
            return
        looks = filter(None, [self._look, getattr(self.service, 'connect', None)])
        if all(_comes_true(look, self._ending) for look in looks):
            self._is_begun = True
            self.service.start()

    def reload(self) -> None:
        """On SIGHUP."""
        reread()
        reload = getattr(self.service, 'reload', None)
        if reload is not None:
            reload()

    def terminate(self) -> None:
        self._ending.set()
        if self.service is not None and self._is_begun:
            self.service.stop()
        notifications.close()


def _open_database() -> None:
    engine.configure(CONF)


def _use_database() -> None:
    engine.configure(CONF)
    repository.find(models.Installation, ['id'], limit=1)


def _comes_true(look: Callable[[], None], ending: threading.Event) -> bool:
    """Whether ``look`` found what it looks for, which may take as long as it likes; not if the process ends before."""
    pause, told = FIRST_PAUSE, -TELL_SECONDS
    while not ending.is_set():
        try:
            look()
            return True
        except exception.JobBoardAway as fault:
            why = f'job board: {fault}'
        except (db_exception.DBError, sqlalchemy.exc.SQLAlchemyError, sqlite3.Error) as fault:
            why = f'database: {str(fault).splitlines()[0]}{opts.unread(CONF)}'
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            LOG.error('Waiting for the %s', why)
        ending.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311  no secret
        pause = min(pause * 2, LONGEST_PAUSE)
    return False


def _tell(text: str) -> None:
    """One line on standard error, and in the log where that is a file; within `except` the log would say it twice."""
    text = ' '.join(text.split())
    if any(isinstance(handler, logging.FileHandler) for handler in logging.getLogger().handlers):
        LOG.error('%s', text)
    print(f'{os.path.basename(sys.argv[0])}: {text}', file=sys.stderr, flush=True)


def _configured(workers: Callable[[], int]) -> int:
    """How many workers there shall be, after all that can be said of the configuration without any; else it ends."""
    try:
        opts.parse()
        opts.check(CONF, opts.register_messaging(CONF))
        engine.check(CONF)
        return workers()
    except (cfg.Error, exception.ConfigurationError, OSError, log.LogConfigError) as fault:
        why = str(fault)
    _tell(why)
    sys.exit(1)


def serve(make: Callable[[], Service], workers: Callable[[], int] = lambda: 1, is_answering: bool = False) -> None:
    """Run what ``make`` returns in ``workers()`` processes, asked when configured, until SIGTERM or SIGINT.

    On SIGHUP the configuration is read again, and the method `reload` of what has one is called. A configuration that
    cannot be used, which ``workers`` and ``make`` may say by ConfigurationError, is told in one line: exit status 1.
    """
    count = _configured(workers)
    context = multiprocessing.get_context('fork')
    refused = context.Event()
    manager = cotyledon.ServiceManager(graceful_shutdown_timeout=CONF.graceful_shutdown_timeout + 5, mp_context=context)
    manager.register_hooks(on_reload=reread)  # for a worker that it has to start anew
    manager.add(Worker, workers=count, args=(make, is_answering, refused))
    with contextlib.suppress(SystemExit):
        manager.run()
    sys.exit(1 if refused.is_set() else 0)
