# SPDX-License-Identifier: Apache-2.0
"""The REST API."""

from oslo_config import cfg


def _filters(collection: str, default: list[str]) -> cfg.ListOpt:
    return cfg.ListOpt(
        f'query_{collection}_filters',
        default=default,
        help=f'Filters that a list of {collection}s takes from a user.',
    )


OPTIONS = {
    'DEFAULT': [
        cfg.StrOpt(
            'auth_strategy',
            default='keystone',
            choices=[
                ('keystone', 'tokens are checked by keystonemiddleware'),
                (
                    'noauth',
                    'the token is `user:project` and everybody is admin; for tests, on the loopback only',
                ),
            ],
            help='How requests are authenticated.',
        ),
        cfg.HostAddressOpt('osapi_karbor_listen', default='0.0.0.0', help='The address that karbor-api listens on.'),  # noqa: S104 a server
        cfg.PortOpt('osapi_karbor_listen_port', default=8799, help='The port that karbor-api listens on.'),
        cfg.IntOpt(
            'osapi_karbor_workers',
            min=1,
            help='Worker processes of karbor-api. Default: one for each processor.',
        ),
        cfg.IntOpt('osapi_karbor_threads', default=4, min=1, help='Threads of each worker process of karbor-api.'),
        cfg.IntOpt('osapi_max_limit', default=1000, min=1, help='The most items that one page of a list holds.'),
        cfg.IntOpt(
            'osapi_max_request_body_size',
            default=4194304,
            min=1024,
            help='The largest request body, in bytes. A plan of 10,000 resources has about 1.1 million.',
        ),
        cfg.URIOpt('osapi_karbor_base_URL', help='The base of links in replies, where the API stands behind a proxy.'),
        cfg.BoolOpt(
            'use_forwarded_for',
            default=False,
            help='Take the address of the client from X-Forwarded-For, behind a proxy that sets it.',
        ),
        cfg.IntOpt(
            'rpc_accept_timeout',
            default=20,
            min=1,
            help='Seconds that the API waits for the protection service before it answers 503.',
        ),
        _filters('plan', ['name', 'status', 'description']),
        _filters('provider', ['name', 'description']),
        _filters('checkpoint', ['project_id', 'plan_id', 'start_date', 'end_date']),
        _filters('instance', ['status']),
        _filters('restore', ['status']),
        _filters('verification', ['status']),
        _filters('operation_log', ['checkpoint_id', 'plan_id', 'restore_id', 'status']),
    ]
}
