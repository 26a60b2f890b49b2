# SPDX-License-Identifier: Apache-2.0
"""`karbor.wsgi.api:application`, for uWSGI and other WSGI servers.

The configuration is read from the usual places, or from the files in OS_KARBOR_CONFIG_FILES
(separated by `;`). With `auth_strategy = noauth` the server that loads this has to stay on the loopback.
"""

import os
from typing import Any

from oslo_config import cfg

import karbor.native_threads  # noqa: F401  before anything that imports oslo.messaging
from karbor.api import app
from karbor.conf import opts
from karbor.db import engine
from karbor.rpc import transport


def _load() -> Any:
    files = [name for name in os.environ.get('OS_KARBOR_CONFIG_FILES', '').split(';') if name]
    opts.parse([], files or None)
    engine.configure(cfg.CONF)
    transport.init(cfg.CONF)
    return app.load_app(cfg.CONF)


application = _load()
