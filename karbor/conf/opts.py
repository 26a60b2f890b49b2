# SPDX-License-Identifier: Apache-2.0
"""All options: every module of this package has `OPTIONS`, a dictionary of group name to options, and is found here."""

import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Iterable

from oslo_config import cfg
from oslo_db import options as db_options
from oslo_log import formatters, log
from oslo_policy import opts as policy_opts

import karbor.conf

CONF = cfg.CONF

_QUIET = [
    'amqp=WARN',
    'oslo_messaging=INFO',
    'sqlalchemy=WARN',
    'keystoneauth=WARN',
    'taskflow=WARN',
    'cheroot=WARN',
    'alembic=WARN',
    'stevedore=ERROR',  # what it warns of, an entry point that is not there, whoever looked for it tells
]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """(group, options) pairs of Karbor's own options, for `oslo-config-generator`."""
    return _collect('OPTIONS', 'SAMPLES')


def _collect(*attributes: str) -> list[tuple[str, list[cfg.Opt]]]:
    found: dict[str, list[cfg.Opt]] = {}
    for name in sorted(m.name for m in pkgutil.iter_modules(karbor.conf.__path__) if m.name != 'opts'):
        module = importlib.import_module(f'karbor.conf.{name}')
        for attribute in attributes:
            for group, options in getattr(module, attribute, {}).items():
                found.setdefault(group, []).extend(options)
    return list(found.items())


def set_defaults(conf: cfg.ConfigOpts = CONF) -> None:
    """Karbor's defaults of other libraries' options."""
    conf.register_opts(db_options.database_opts, 'database')
    # As many as work at once: a connection that does not fit into the pool is made anew for each use.
    database = {'connection': 'sqlite:///$state_path/karbor.sqlite', 'max_pool_size': 20}
    cfg.set_defaults(db_options.database_opts, **database)
    policy_opts.set_defaults(conf, 'policy.yaml')
    log.set_defaults(default_log_levels=log.get_default_log_levels() + _QUIET)


def register(conf: cfg.ConfigOpts = CONF) -> None:
    """Register every option on ``conf``; harmless when repeated."""
    if 'log_file' not in conf:
        log.register_options(conf)
    for group, options in _collect('OPTIONS'):
        conf.register_opts(options, None if group == 'DEFAULT' else group)
    set_defaults(conf)


class _Formatter(formatters.ContextFormatter):
    """oslo.log adds the fault that is being handled to each warning and error: here not to one that tells it itself."""

    def format(self, record: logging.LogRecord) -> str:
        line, summary = super().format(record), getattr(record, 'error_summary', '')
        told, _, _ = str(sys.exc_info()[1]).partition('\n')
        is_twice = summary and told and not record.exc_info and told in record.getMessage()
        return line.removesuffix(f': {summary}') if is_twice else line


def _tell_once(conf: cfg.ConfigOpts) -> None:
    for handler in logging.getLogger().handlers:
        if type(handler.formatter) is formatters.ContextFormatter:
            handler.setFormatter(_Formatter(project='karbor', datefmt=conf.log_date_format, config=conf))


def parse(argv: list[str] | None = None, default_config_files: list[str] | None = None) -> cfg.ConfigOpts:
    """Read command line and configuration files into the process's configuration, set up logging, and return it."""
    register()
    CONF(
        sys.argv[1:] if argv is None else argv,
        project='karbor',
        prog=os.path.basename(sys.argv[0]),
        default_config_files=default_config_files,
    )
    log.setup(CONF, 'karbor')
    _tell_once(CONF)
    check(CONF)
    _warn_about_class_paths(CONF)
    return CONF


def check(conf: cfg.ConfigOpts = CONF, more: Iterable[tuple[str | None, list[cfg.Opt]]] = ()) -> None:
    """Raise cfg.Error, naming every option with a value that it cannot have, of Karbor, the database and ``more``:
    oslo.config tells only where it is used.
    """
    faults = []
    for group, options in [*_collect('OPTIONS'), *db_options.list_opts(), *more]:
        for option in options:
            if option.deprecated_for_removal:  # has no effect, and reading it warns
                continue
            try:
                conf[group][option.dest] if group not in (None, 'DEFAULT') else conf[option.dest]  # noqa: B018  reading is the check
            except (cfg.Error, ValueError) as fault:
                faults.append(f'[{group or "DEFAULT"}] {option.name}: {fault.__context__ or fault}')
    if faults:
        where = f' in {", ".join(conf.config_file)}' if conf.config_file else ''
        raise cfg.Error(f'Wrong values{where}: {"; ".join(faults)}')


def unread(conf: cfg.ConfigOpts = CONF) -> str:
    """' (no configuration file …)', for an error that may come from that; empty where one was read."""
    if conf.config_file or conf.config_dir:
        return ''
    return f' (no configuration file was found: there is no karbor.conf in {", ".join(cfg._get_config_dirs("karbor"))})'


def register_messaging(conf: cfg.ConfigOpts = CONF) -> list[tuple[str | None, list[cfg.Opt]]]:
    """(group, options) pairs of oslo.messaging, which are registered on ``conf``."""
    import oslo_messaging  # here, as in `register_libraries`
    from oslo_messaging import opts as messaging_opts

    oslo_messaging.set_transport_defaults('karbor')
    options: list[tuple[str | None, list[cfg.Opt]]] = messaging_opts.list_opts()
    for group, listed in options:
        conf.register_opts(listed, group)
    return options


def register_libraries(conf: cfg.ConfigOpts = CONF) -> None:
    """Register what oslo.messaging, keystonemiddleware and the chosen plugins of keystoneauth read, which they do by
    themselves where they are used.
    """
    # Imported here: it takes a quarter of a second, for what most commands never look at.
    from keystoneauth1 import loading
    from keystonemiddleware import opts as middleware_opts

    register_messaging(conf)
    for group, options in middleware_opts.list_auth_token_opts():
        conf.register_opts(options, group)
    for group in ('keystone_authtoken', 'trustee'):
        if conf[group].auth_type:
            conf.register_opts(loading.get_auth_plugin_conf_options(conf[group].auth_type), group)


def check_files(conf: cfg.ConfigOpts = CONF) -> None:
    """Raise cfg.Error or ValueError if the files of ``conf`` cannot be read now, or `check` finds a wrong value."""
    trial = cfg.ConfigOpts()
    register(trial)
    files = [*(f'--config-file={path}' for path in conf.config_file), *(f'--config-dir={p}' for p in conf.config_dir)]
    trial(files, project='karbor', default_config_files=[], default_config_dirs=[])
    check(trial)


def _warn_about_class_paths(conf: cfg.ConfigOpts) -> None:
    from karbor.conf import retired

    for option in retired.CLASS_PATHS:
        if conf[option.name] is not None:
            log.getLogger(__name__).warning('Option %s names a class of Karbor 1.6 and is ignored.', option.name)
