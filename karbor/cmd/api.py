# SPDX-License-Identifier: Apache-2.0
"""`karbor-api`: the REST API on cheroot."""

from oslo_concurrency import processutils
from oslo_config import cfg

from karbor.cmd import process

CONF = cfg.CONF

CLI = [cfg.BoolOpt('insecure', default=False, help='Let `auth_strategy = noauth` listen on other than the loopback.')]


def _serve() -> process.Service:
    # Imported here: whatever is imported before the workers fork would be shared by them.
    from karbor.api.app import load_app
    from karbor.api.server import ApiServer

    return ApiServer(load_app(CONF), CONF.osapi_karbor_listen, CONF.osapi_karbor_listen_port, reuse_port=True)


def _workers() -> int:
    """How many; asked before the first one starts, so this is where a configuration is refused."""
    from karbor.api import authentication

    authentication.check_listen(CONF, CONF.insecure)
    return CONF.osapi_karbor_workers or processutils.get_worker_count()


def main() -> None:
    CONF.register_cli_opts(CLI)
    process.serve(_serve, _workers, is_answering=True)
