# SPDX-License-Identifier: Apache-2.0
"""Providers: a bank and the plugins that protect into it, one for each file of `provider_config_dir`."""

import functools
import hashlib
import importlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
from oslo_config import cfg
from oslo_log import log
from oslo_utils import timeutils
from stevedore import driver
from stevedore.exception import NoMatches

from karbor import exception
from karbor.db import engine, models
from karbor.plugins.banks.interface import Bank
from karbor.plugins.interface import Protection
from karbor.protection import legacy
from karbor.statuses import CheckpointStatus

CONF = cfg.CONF
LOG = log.getLogger(__name__)
NAMESPACE = 'karbor.protections'
MISSING = (NoMatches, ImportError)  # what a plugin raises that is not installed, or lacks something

OPTIONS = [
    cfg.StrOpt('name', default='', help='The name that users see.'),
    cfg.StrOpt('description', default='', help='The description that users see.'),
    cfg.StrOpt('id', default='', help='The UUID of the provider; it must never change.'),
    cfg.MultiStrOpt(
        'plugin', default=[], help='A protection plugin: an entry point of karbor.protections. Repeatable.'
    ),
    cfg.StrOpt('bank', help='The bank: an entry point of karbor.protections.'),
    cfg.BoolOpt('enabled', default=False, help='A provider that is not enabled does not exist.'),
    cfg.BoolOpt(
        'skip_unsupported',
        default=False,
        help='Protect what can be protected and list the rest, instead of failing when a plan holds a type'
        ' without plugin.',
    ),
]
_SCHEMAS = ('options_schema', 'restore_schema', 'verify_schema', 'saved_info_schema')


@dataclass
class Provider:
    """A loaded provider. ``protections`` maps a type to its plugin; ``unavailable`` a plugin's name to why
    it is not loaded.
    """

    id: str
    name: str
    description: str
    bank: Bank
    config: cfg.ConfigOpts
    skip_unsupported: bool = False
    protections: dict[str, Protection] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)

    def schema(self, kind: str, type: str) -> dict[str, Any]:
        """The schema ``kind`` (options_schema, …) of ``type``; empty where there is none."""
        plugin = self.protections.get(type)
        return getattr(plugin, kind)(type) if plugin else {}

    def published(self, containers: Iterable[str] = ()) -> dict[str, Any]:
        """The row of this provider in the table that the API reads."""
        shown = {
            'id': self.id,
            'name': self.name,
            'description': self.description,
            'extended_info_schema': {
                kind: {t: self.schema(kind, t) for t in sorted(self.protections)} for kind in _SCHEMAS
            },
            'resource_types': sorted(self.protections),
            'unavailable': self.unavailable,
            'options': {'skip_unsupported': self.skip_unsupported, 'containers': sorted(containers)},
        }
        digest = hashlib.sha256(orjson.dumps(shown, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return shown | {'digest': digest}


class Providers(dict[str, Provider]):
    """The providers of this process by id."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._files: dict[Path, tuple[bytes, Provider]] = {}

    @classmethod
    def load(cls) -> 'Providers':
        """Every enabled provider file. A file that cannot be used is logged and left out."""
        providers = cls()
        providers.reload()
        return providers

    def reload(self) -> None:
        """Take every provider file as it is now. Of one that cannot be used, or has a plugin that cannot be loaded any
        more, what it said before stays, and it is logged.
        """
        folder = find_folder()
        if folder is None:
            return
        found, files = Providers(), {}
        for path in sorted(folder.glob('*.conf')):
            loaded = self._loaded(path)
            if loaded is None:
                continue
            files[path] = loaded
            provider = loaded[1]
            if provider.id in found:
                LOG.error('The provider file %s is left out: another one has its id %s.', path, provider.id)
                continue
            found[provider.id] = provider
            provider.bank.was_used = functools.partial(self.was_used, provider.id, provider.bank.place)
        self._files = files
        self.update(found)
        for id in self.keys() - found.keys():
            del self[id]

    def _loaded(self, path: Path) -> tuple[bytes, Provider] | None:
        """The text of a file and the provider that it tells, or told before."""
        text, kept = b'', self._files.get(path)
        try:
            text = path.read_bytes()
            if kept and kept[0] == text and not kept[1].unavailable:
                return kept
            provider = load(path)
            if provider is None:
                return None
            broken = provider.unavailable.keys() - (kept[1].unavailable.keys() if kept else provider.unavailable.keys())
            if broken:
                raise exception.ConfigurationError(reason=f'no plugin {", ".join(sorted(broken))} can be loaded')
        except (cfg.Error, cfg.ConfigFileParseError, exception.KarborError, OSError, ValueError) as fault:
            stays = ', it is kept as it was' if kept else ''
            LOG.error('The provider file %s cannot be used%s: %s', path, stays, fault)
            return kept
        return text, provider

    def was_used(self, id: str, place: str) -> bool:
        """Whether a checkpoint was ever put into the bank at ``place``: by the provider, or by another that shares it.

        The graph of a checkpoint is written after its first objects; those of Karbor 1.6 have none. Raises
        BankUnavailable when the database is away: what cannot be told is not to be guessed.
        """
        ids = {id} | {p.id for p in list(self.values()) if place and p.bank.place == place}
        row, graph = models.CheckpointRecord, models.CheckpointGraph
        is_available = row.checkpoint_status == CheckpointStatus.AVAILABLE
        has_graph = row.id.in_(sa.select(graph.checkpoint_id))
        query = sa.select(row.id).where(row.provider_id.in_(ids), sa.or_(is_available, has_graph)).limit(1)
        try:
            with engine.reading() as session:
                return session.scalar(query) is not None
        except engine.PASSING_FAULTS as fault:
            LOG.error('Whether the bank %s is new, or away, cannot be told without the database: %s', place, fault)
            raise exception.BankUnavailable('whether the bank is new cannot be told') from fault

    def publish(self, containers: Iterable[str] = ()) -> None:
        """Write what this host has loaded, in place of what it had before, for the API to show."""
        now = timeutils.utcnow()
        table = models.Provider.__table__
        with engine.writing() as session:
            session.execute(table.delete().where(table.c.host == CONF.host))  # type: ignore[attr-defined]
            rows = [models.Provider(**p.published(containers), host=CONF.host, published_at=now) for p in self.values()]
            session.add_all(rows)
            for row in rows:
                _compare(row, session.scalars(sa.select(models.Provider).filter_by(id=row.id)))


def _compare(mine: models.Provider, all_hosts: Iterable[models.Provider]) -> None:
    """Tell the operator when another host has loaded something else under the same id."""
    for other in all_hosts:
        if other.host != mine.host and other.digest != mine.digest:
            LOG.warning('Provider %s is not the same here as on %s: compare their files.', mine.id, other.host)


def find_folder() -> Path | None:
    """The folder of provider files, looked up as `provider_config_dir` tells; None if there is none."""
    state = CONF.state_path
    for base in ('', f'{state}/etc/karbor', f'{state}/etc', state, '/etc/karbor'):
        folder = Path(base, CONF.provider_config_dir)
        if folder.is_dir():
            return folder
    LOG.error('There is no folder %s of provider files.', CONF.provider_config_dir)
    return None


def load(path: Path) -> Provider | None:
    """The provider that a file tells; None when it is not enabled. Raises ConfigurationError, or what
    oslo.config raises.
    """
    config = cfg.ConfigOpts()
    config(args=[], project='karbor-provider', default_config_files=[os.fspath(path)], default_config_dirs=[])
    config.register_opts(OPTIONS, 'provider')
    told = config.provider
    if not told.enabled:
        return None
    if not told.id or not told.bank or not any(told.plugin):
        raise exception.ConfigurationError(reason='id, bank and at least one plugin are required')
    provider = Provider(told.id, told.name, told.description, _bank(told.bank, config), config, told.skip_unsupported)
    for name in filter(None, told.plugin):
        try:
            plugin = _plugin(name, config)
        except Exception as fault:  # noqa: BLE001  a broken plugin must not take its provider down with it, whatever it raises
            is_bug = not isinstance(fault, MISSING)
            LOG.error('The plugin %s of provider %s cannot be loaded: %s', name, told.id, fault, exc_info=is_bug)
            provider.unavailable[name] = f'the plugin cannot be loaded ({type(fault).__name__})'
            continue
        provider.protections.update(dict.fromkeys(plugin.resource_types, plugin))
    return provider


def _bank(name: str, config: cfg.ConfigOpts) -> Bank:
    try:
        made = legacy.bank(_load_class(name))
        _register(made.OPTIONS, config)
        return made(config)
    except Exception as fault:  # noqa: BLE001  a bank may raise anything; other providers must not go down with it
        raise exception.ConfigurationError(reason=f'the bank {name} cannot be loaded: {fault}') from fault


def _plugin(name: str, config: cfg.ConfigOpts) -> Protection:
    made = legacy.protection(_load_class(name))
    _register(made.OPTIONS, config)
    return made(config)


def _register(options: Mapping[str, Any], config: cfg.ConfigOpts) -> None:
    for group, found in options.items():
        config.register_opts(found, group)


def _load_class(name: str) -> Any:
    """The class behind an entry point of `karbor.protections`, or, for a name with a dot, behind that dotted path.

    Raises NoMatches or ImportError where there is none, and what importing it raises.
    """
    if '.' not in name:
        return driver.DriverManager(NAMESPACE, name, on_missing_entrypoints_callback=None).driver
    module, _, attribute = name.replace(':', '.').rpartition('.')
    found = vars(importlib.import_module(module))
    if attribute not in found:
        raise ImportError(f'there is no {attribute} in {module}')
    return found[attribute]
