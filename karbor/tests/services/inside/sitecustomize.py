# SPDX-License-Identifier: Apache-2.0
"""Within every process of Karbor that the tests start: at SIGUSR2 it writes down where its primitives come from."""

import _thread
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

FOLDER = os.environ.get('KARBOR_TEST_FACTS')


def facts() -> dict[str, Any]:
    """The modules behind what a green-thread library replaces, and what such libraries say themselves."""
    eventlet = sys.modules.get('eventlet.patcher')
    return {
        'modules': {
            'socket': socket.socket.__module__,
            'select': select.select.__module__,
            'sleep': time.sleep.__module__,
            'thread': _thread.start_new_thread.__module__,
            'lock': type(threading.Lock()).__module__,
            'read': os.read.__module__,
        },
        'patched': sorted(getattr(eventlet, 'already_patched', {})),
        'gevent': 'gevent' in sys.modules,
        'threads': len(threading.enumerate()),
        'karbor': sorted(name for name in sys.modules if name.startswith('karbor.')),
    }


def write(*_: object) -> None:
    """Put the facts into a file with the id of the process as its name."""
    path = Path(str(FOLDER), f'{os.getpid()}.json')
    unfinished = path.with_suffix('.part')
    unfinished.write_text(json.dumps(facts()))
    unfinished.rename(path)


if FOLDER:
    signal.signal(signal.SIGUSR2, write)
