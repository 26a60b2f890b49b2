# SPDX-License-Identifier: Apache-2.0
"""A look into a process of Karbor while it runs, by way of `inside/sitecustomize.py`."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

INSIDE = Path(__file__).parent / 'inside'


def environment(folder: Path) -> dict[str, str]:
    """The variables with which a process can be asked for its facts."""
    return {'PYTHONPATH': str(INSIDE), 'KARBOR_TEST_FACTS': str(folder)}


def facts(folder: Path, pid: int, seconds: float = 5) -> dict[str, Any]:
    """What the process, started with `environment(folder)`, tells of itself."""
    path = folder / f'{pid}.json'
    path.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR2)
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f'process {pid} does not tell of itself'
        time.sleep(0.02)
    return json.loads(path.read_text())
