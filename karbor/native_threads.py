# SPDX-License-Identifier: Apache-2.0
"""Native threads only. Imported before whatever imports oslo.messaging, which would else settle on eventlet.

oslo.service brings eventlet along, and other libraries import it as soon as it is installed. None
of them needs it: here it is as good as not installed, which saves its memory, too.
"""

import sys

if 'eventlet' not in sys.modules:
    sys.modules['eventlet'] = None  # type: ignore[assignment]

from oslo_service import backend  # noqa: E402

backend.init_backend(backend.BackendType.THREADING)
