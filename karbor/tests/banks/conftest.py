# SPDX-License-Identifier: Apache-2.0
"""The banks under test. A new bank joins by an entry in ``MAKERS``: a function from an empty folder to a bank."""

from collections.abc import Callable
from pathlib import Path

import pytest
from oslo_config import cfg

from karbor.plugins.banks.file_system import FileSystemBank
from karbor.plugins.banks.interface import Bank
from karbor.plugins.banks.memory import MemoryBank


def configured(made: type[Bank], **settings: str) -> cfg.ConfigOpts:
    """The namespace of a provider with the options of a bank, as the loader makes it."""
    config = cfg.ConfigOpts()
    config([], default_config_files=[], default_config_dirs=[])
    for group, options in made.OPTIONS.items():
        config.register_opts(options, group)
        for name, value in settings.items():
            config.set_override(name, value, group)
    return config


def file_system(folder: Path) -> FileSystemBank:
    return FileSystemBank(configured(FileSystemBank, file_system_bank_path=str(folder)))


def memory(folder: Path) -> MemoryBank:
    return MemoryBank(configured(MemoryBank))


MAKERS: dict[str, Callable[[Path], Bank]] = {'file_system': file_system, 'memory': memory}


@pytest.fixture(params=list(MAKERS.values()), ids=list(MAKERS))
def bank(request: pytest.FixtureRequest, tmp_path: Path) -> Bank:
    return request.param(tmp_path)


@pytest.fixture
def on_disk(tmp_path: Path) -> FileSystemBank:
    return file_system(tmp_path)
