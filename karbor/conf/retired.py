# SPDX-License-Identifier: Apache-2.0
"""Options of Karbor 1.6 that a configuration file may still hold: accepted, without effect, warned about."""

from oslo_config import cfg

_REASON = 'Karbor has one implementation of this; the option is accepted and ignored.'


def _retired(name: str, kind: type[cfg.Opt] = cfg.StrOpt) -> cfg.Opt:
    return kind(name, deprecated_for_removal=True, deprecated_reason=_REASON, help='No effect.')


CLASS_PATHS = [
    _retired(name)
    for name in (
        'operationengine_manager',
        'protection_manager',
        'workflow_engine',
        'db_driver',
        'quota_driver',
        'scheduling_strategy',
    )
]

OPTIONS = {
    'DEFAULT': [
        *CLASS_PATHS,
        _retired('provider_registry'),
        *(_retired(n, cfg.IntOpt) for n in ('sync_status_interval', 'thread_count', 'until_refresh', 'max_age')),
        *(_retired(n, cfg.IntOpt) for n in ('reservation_expire', 'trigger_poll_interval')),
        *(_retired(n, cfg.IntOpt) for n in ('periodic_interval', 'periodic_fuzzy_delay')),
        *(_retired(n, cfg.IntOpt) for n in ('tcp_keepalive_interval', 'tcp_keepalive_count')),
        *(_retired(n, cfg.BoolOpt) for n in ('enable_new_services', 'fatal_exception_format_errors', 'tcp_keepalive')),
    ]
}
