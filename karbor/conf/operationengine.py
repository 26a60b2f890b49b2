# SPDX-License-Identifier: Apache-2.0
"""The operation engine: what a schedule may ask for."""

from oslo_config import cfg

OPTIONS = {
    'DEFAULT': [
        cfg.IntOpt('min_interval', default=3600, min=1, help='The least seconds between two runs of a trigger.'),
        cfg.IntOpt('min_window_time', default=900, min=1, help='The least window of a trigger, in seconds.'),
        cfg.IntOpt('max_window_time', default=1800, min=1, help='The largest window of a trigger, in seconds.'),
        cfg.StrOpt(
            'time_format',
            default='calendar',
            choices=['calendar', 'crontab'],
            help='What the pattern of a trigger is whose format says neither, as a trigger of Karbor 1.6 may.',
        ),
        cfg.IntOpt(
            'retained_operation_log_number',
            default=5,
            min=1,
            help='Runs of a scheduled operation that are kept at least.',
        ),
    ],
    'operationengine': [
        cfg.StrOpt(
            'executor',
            default='green_thread',
            help='Accepted for configurations of Karbor 1.6: `thread_pool` and `green_thread` are one.',
        ),
        cfg.IntOpt(
            'max_concurrent_operations',
            default=0,
            min=0,
            help='Runs that one engine has under way at once; 0 is no limit.',
        ),
    ],
}
