# SPDX-License-Identifier: Apache-2.0
"""A back end in a folder that processes share, and the plugin for it: every object that was ever made counts."""

import collections
import hashlib
import os
import time
import uuid
from pathlib import Path

from oslo_config import cfg

from karbor.plugins.interface import Protection, State, Work

TYPE = 'OS::Cinder::Volume'
PROVIDER = '6f1d0f4e-52a0-4f57-9f6e-0d5d3f1f7f10'

CONFIGURATION = """\
[provider]
id = {provider}
name = folder
description = Objects in a folder
plugin = karbor.tests.infrastructure.cloud.Folders
bank = karbor-fs-bank-plugin
enabled = true

[file_system_bank_plugin]
file_system_bank_path = {bank}

[folders]
folder = {folder}
seconds = {seconds}
"""


class Folder:
    """Objects as files, named by their tag's digest and an id of their own, ready ``seconds`` after they were made."""

    def __init__(self, path: str, seconds: float = 0.0) -> None:
        self.path, self.seconds = Path(path), seconds
        self.path.mkdir(parents=True, exist_ok=True)

    def create(self, tag: str) -> str:
        name = f'{_digest(tag)}.{uuid.uuid4().hex}'
        journal = os.open(self.path / 'journal', os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(journal, f'{tag}\n'.encode())
        finally:
            os.close(journal)
        (self.path / name).touch()
        return name

    def find(self, tag: str) -> str | None:
        return next((path.name for path in self.path.glob(f'{_digest(tag)}.*')), None)

    def is_ready(self, name: str) -> bool:
        return time.time() - (self.path / name).stat().st_mtime >= self.seconds

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def objects(self) -> set[str]:
        return {path.name for path in self.path.glob('*.*')}

    def made(self, operation_id: str) -> collections.Counter[str]:
        """How often each tag of the operation was made an object for."""
        journal = self.path / 'journal'
        tags = journal.read_text().splitlines() if journal.exists() else []
        return collections.Counter(tag for tag in tags if tag.split('/')[1] == operation_id)


def _digest(tag: str) -> str:
    return hashlib.sha256(tag.encode()).hexdigest()[:32]


class _Work(Work):
    service = 'folders'
    poll_interval = 0.5

    @property
    def folder(self) -> Folder:
        return Folder(self.config.folders.folder, self.config.folders.seconds)


class Made(_Work):
    """Makes an object, which takes its time, and notes it in the bank."""

    def start(self, work):
        time.sleep(0.02)
        name = self.folder.create(work.tag)
        time.sleep(0.02)
        return {'name': name}

    def find(self, work):
        found = self.folder.find(work.tag)
        return {'name': found} if found else None

    def poll(self, work, handle):
        return State('active' if self.folder.is_ready(handle['name']) else 'build')

    def finish(self, work, handle):
        if work.operation_type == 'protect':
            work.section.put_json('metadata', handle)

    def cancel(self, work, handle):
        self.folder.remove(handle['name'])
        return True


class Removed(_Work):
    """Removes what the bank tells of."""

    def start(self, work):
        time.sleep(0.02)
        self.folder.remove(work.section.get_json('metadata')['name'])
        return {}


class Folders(Protection):
    resource_types = (TYPE,)
    OPTIONS = {'folders': [cfg.StrOpt('folder'), cfg.FloatOpt('seconds')]}
    protect = Made
    restore = Made
    delete = Removed
