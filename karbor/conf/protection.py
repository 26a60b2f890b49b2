# SPDX-License-Identifier: Apache-2.0
"""The protection service: providers and the pools that run operations."""

from oslo_config import cfg

# As TaskFlow's redis board takes them.
REDIS = [
    cfg.HostAddressOpt(
        'redis_host',
        default='127.0.0.1',
        help='The host of the Redis of the job board, or of its first Sentinel.',
    ),
    cfg.PortOpt('redis_port', default=6379, help='The port of that Redis or Sentinel.'),
    cfg.StrOpt('redis_username', help='The user of that Redis.'),
    cfg.StrOpt('redis_password', secret=True, help='The password for that Redis.'),
    cfg.IntOpt('redis_db', default=0, min=0, help='The number of the database in that Redis.'),
    cfg.StrOpt('redis_namespace', default='karbor', help='What the keys of this Karbor begin with in that Redis.'),
    cfg.FloatOpt(
        'redis_socket_timeout',
        default=3.0,
        min=0.1,
        help='Seconds that Redis may take to answer; the job board is away until it does.',
    ),
    cfg.BoolOpt('redis_ssl', default=False, help='Speak TLS with that Redis.'),
    cfg.StrOpt('redis_ssl_ca_certs', help='The file of the authorities that its certificate is checked by.'),
    cfg.StrOpt('redis_ssl_certfile', help='The file of the certificate of this client.'),
    cfg.StrOpt('redis_ssl_keyfile', help='The file of the key of this client.'),
    cfg.StrOpt('redis_sentinel', help='The name of the master, where Sentinels tell which Redis that is.'),
    cfg.ListOpt('redis_sentinel_fallbacks', default=[], help='More Sentinels, as `host:port`.'),
]

OPTIONS = {
    'DEFAULT': [
        cfg.StrOpt(
            'provider_config_dir',
            default='providers.d',
            help='The folder of provider files, one provider in each `*.conf`. A relative path is looked up as'
            ' it is, then below'
            ' $state_path/etc/karbor, $state_path/etc, $state_path and /etc/karbor.',
        ),
        cfg.IntOpt(
            'max_concurrent_operations',
            default=32,
            min=0,
            mutable=True,
            help='Operations that one protection service runs at once; 0 is as many as it has slots (64). Raised while'
            ' the service runs, it is in force up to 64, or up to what it was at the start.',
        ),
        cfg.IntOpt(
            'max_concurrent_operations_per_project',
            default=10,
            min=0,
            mutable=True,
            help='Operations of one project that all protection services together run at once; 0 is no limit. What'
            ' waits holds up no other project.',
        ),
    ],
    'protection': [
        cfg.FloatOpt(
            'lease_seconds',
            default=10.0,
            min=1.0,
            help='Seconds that a claim of an operation lasts without a heartbeat of its worker; then another may claim'
            ' it. The database ends a transaction that was idle for a third of it.',
        ),
        cfg.StrOpt(
            'jobboard',
            default='sql',
            choices=[
                ('sql', 'the table of operations; needs nothing else'),
                ('redis', 'a Redis; every protection service must name the same one'),
            ],
            help='Where operations wait for a worker.',
        ),
        *REDIS,
        cfg.FloatOpt(
            'claim_interval',
            default=0.5,
            min=0.05,
            mutable=True,
            help='Seconds between two looks for operations that others have posted or left.',
        ),
        cfg.IntOpt(
            'max_concurrent_resources',
            default=32,
            min=1,
            mutable=True,
            help='Resources of one operation that are worked on at once, from the call that starts the work'
            ' to its end.',
        ),
        cfg.IntOpt(
            'max_concurrent_resources_per_type',
            default=64,
            min=1,
            mutable=True,
            help='Resources of one type of a provider that one protection service works on at once, over all'
            ' operations, which get equal parts.',
        ),
        cfg.IntOpt(
            'hook_threads',
            default=128,
            min=1,
            help='Threads for calls that start, finish or cancel work on a resource.',
        ),
        cfg.IntOpt(
            'poll_threads',
            default=8,
            min=1,
            help='Threads for calls that ask how the work on resources goes.',
        ),
        cfg.IntOpt(
            'waiting_threads',
            default=128,
            min=1,
            help='Threads for plugins written for Karbor 1.6: each of their hooks holds one until it returns, which may'
            ' take hours.',
        ),
        cfg.StrOpt(
            'resume_unsafe',
            default='fail',
            choices=[
                ('fail', 'the resource ends in error, and its reason says so'),
                ('rerun', 'the hook is run again: what the first run made may be made twice'),
            ],
            help='What becomes of a resource whose hook was begun by a service that did not finish it, where a plugin'
            ' written for Karbor 1.6 cannot tell what came of it.',
        ),
        cfg.FloatOpt(
            'poll_first',
            default=0.2,
            min=0.01,
            mutable=True,
            help='Seconds until a resource is asked after for the first time.',
        ),
        cfg.IntOpt(
            'resource_timeout',
            default=21600,
            min=1,
            mutable=True,
            help='Seconds that the work on one resource may take before it ends in error (too_slow).',
        ),
        cfg.IntOpt(
            'cleanup_timeout',
            default=300,
            min=1,
            mutable=True,
            help='Seconds that a failed operation spends on removing what it has made.',
        ),
        cfg.IntOpt(
            'retry_seconds',
            default=300,
            min=0,
            mutable=True,
            help='Seconds that faults of a service which pass by themselves (no connection, no answer in time, 429,'
            ' 5xx) are waited out for a resource, before it ends in error.',
        ),
        cfg.IntOpt(
            'cancel_timeout',
            default=60,
            min=5,
            mutable=True,
            help='Seconds within which a cancelled operation has ended; what could not be removed in them is listed.',
        ),
        cfg.FloatOpt(
            'bank_retry_seconds',
            default=60.0,
            min=0.0,
            help='Seconds that an operation waits for a bank that is away, before it fails; then it can be run again.',
        ),
        cfg.IntOpt(
            'http_timeout',
            default=60,
            min=1,
            help='Seconds that a cloud service may take to answer one request.',
        ),
    ],
}
