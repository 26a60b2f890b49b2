# SPDX-License-Identifier: Apache-2.0
"""How notifications wait for their broker; which are sent and where is oslo.messaging's to say."""

from oslo_config import cfg

OPTIONS = {
    'notifications': [
        cfg.IntOpt(
            'queue_size',
            default=1000,
            min=1,
            help='Notifications of one process that wait to be sent. What comes when so many wait is dropped: no'
            ' request and no operation waits for the broker.',
        ),
        cfg.FloatOpt(
            'stop_timeout',
            default=3.0,
            min=0.0,
            help='Seconds that a process which ends takes for sending what waits.',
        ),
        cfg.IntOpt(
            'max_value_size',
            default=16384,
            min=0,
            help='Characters of the parameters or properties that a notification repeats; of longer ones it tells the'
            ' size only.',
        ),
    ]
}
