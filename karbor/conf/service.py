# SPDX-License-Identifier: Apache-2.0
"""What every process of Karbor needs to know."""

import socket

from oslo_config import cfg

OPTIONS = {
    'DEFAULT': [
        cfg.StrOpt(
            'state_path',
            default='/var/lib/karbor',
            help="The folder of Karbor's own state, such as an SQLite database.",
        ),
        cfg.HostAddressOpt(
            'host',
            default=socket.gethostname(),
            sample_default='<host name>',
            help='The name of this node in the table of services. It must be unique and must stay the same:'
            ' a protection'
            ' service takes up the unfinished operations of the host of this name when it starts.',
        ),
        cfg.IntOpt(
            'service_down_time',
            default=60,
            min=1,
            help='Seconds after its last heartbeat that a service counts as up.',
        ),
        cfg.IntOpt('report_interval', default=10, min=1, help='Seconds between two heartbeats of a service.'),
        cfg.StrOpt('protection_topic', default='karbor-protection', help='The topic of the protection service.'),
        cfg.StrOpt(
            'operationengine_topic',
            default='karbor-operationengine',
            help='The topic of the operation engine.',
        ),
        cfg.IntOpt(
            'graceful_shutdown_timeout',
            default=60,
            min=0,
            help='Seconds that a service which is told to stop may take for the calls that it has under way.',
        ),
    ]
}
