# SPDX-License-Identifier: Apache-2.0
"""The example of the plugin guide: notes, which are files in a folder of each project."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg

from karbor import exception
from karbor.clients import Cloud
from karbor.plugins.interface import Assignment, Protectable, Protection, Resource, State, Work

CONF = cfg.CONF
TYPE = 'Example::Notes::Note'


def folder_of(project_id: str) -> Path:
    """Where the notes of a project are: the "service" that this plugin works with."""
    return Path(CONF.state_path, 'notes', project_id)


class Notes(Protectable):
    """What users can put in a plan."""

    resource_type = TYPE
    service = 'notes'
    parent_types = ('OS::Keystone::Project',)

    def list(self, cloud: Cloud, parameters: Mapping[str, Any] | None = None) -> Sequence[Resource]:
        return [Resource(TYPE, path.name, path.name) for path in sorted(folder_of(cloud.project_id).glob('*'))]

    def show(self, cloud: Cloud, id: str, parameters: Mapping[str, Any] | None = None) -> Resource:
        for note in self.list(cloud):
            if note.id == id:
                return note
        raise exception.ProtectableNotFound(type=TYPE, id=id)

    def children(self, cloud: Cloud, parent: Resource) -> Sequence[Resource]:
        return self.list(cloud) if parent.id == cloud.project_id else ()


class CopyNote(Work):
    """Protect: copies a note. The name of the copy is the tag, so that it can be found again."""

    service = 'notes'
    poll_interval = 1.0

    def start(self, work: Assignment) -> dict[str, Any]:
        note, copy = folder_of(work.project_id) / work.resource.id, self._copy(work)
        if not note.exists():
            raise exception.BackendFault('not_found', self.service, detail=f'note {note.name} does not exist')
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(note, copy)
        return {'copy': copy.name}

    def find(self, work: Assignment) -> dict[str, Any] | None:
        copy = self._copy(work)
        return {'copy': copy.name} if copy.exists() else None

    def poll(self, work: Assignment, handle: dict[str, Any]) -> State:
        copy = self._copy(work)
        if not copy.exists():
            return State('error', exception.BackendFault('vanished', self.service).text)
        return State('available', extra={'bytes': copy.stat().st_size})

    def finish(self, work: Assignment, handle: dict[str, Any]) -> None:
        work.section.put_json('metadata', {'copy': handle['copy']})

    def cancel(self, work: Assignment, handle: dict[str, Any]) -> bool:
        self._copy(work).unlink(missing_ok=True)
        return True

    def _copy(self, work: Assignment) -> Path:
        return Path(self.config.notes_plugin.copies_path, work.tag.replace('/', '_'))


class RestoreNote(Work):
    """Restore: makes a new note from the copy."""

    service = 'notes'
    poll_interval = 1.0

    def start(self, work: Assignment) -> dict[str, Any]:
        assert work.restore is not None  # a restore has one
        copy = work.section.get_json('metadata')['copy']
        work.restore.update_resource_status(TYPE, work.resource.id, 'restoring', f'reading {copy}')
        name = work.parameters.get('restore_name') or f'{work.checkpoint_id}@{work.resource.id}'
        shutil.copyfile(Path(self.config.notes_plugin.copies_path, copy), folder_of(work.project_id) / name)
        return {'note': name}

    def poll(self, work: Assignment, handle: dict[str, Any]) -> State:
        return State('available', new_id=handle['note'])

    def cancel(self, work: Assignment, handle: dict[str, Any]) -> bool:
        (folder_of(work.project_id) / handle['note']).unlink(missing_ok=True)
        return True


class RemoveCopy(Work):
    """Delete: removes the copy. It has no `poll`: the work is done when `start` returns."""

    service = 'notes'

    def start(self, work: Assignment) -> dict[str, Any]:
        copy = work.section.get_json('metadata')['copy']
        Path(self.config.notes_plugin.copies_path, copy).unlink(missing_ok=True)
        return {}


class CopyAgain(CopyNote):
    """Copy: makes another copy of the one that a checkpoint has, for the checkpoint that is its copy."""

    def start(self, work: Assignment) -> dict[str, Any]:
        assert work.source is not None  # a copy has one
        first, copy = work.source.get_json('metadata')['copy'], self._copy(work)
        shutil.copyfile(copy.with_name(first), copy)
        return {'copy': copy.name}


class LookAtCopy(Work):
    """Verify: looks whether the copy is there, and changes nothing."""

    service = 'notes'
    repeatable = True

    def start(self, work: Assignment) -> dict[str, Any]:
        copy = work.section.get_json('metadata')['copy']
        if not Path(self.config.notes_plugin.copies_path, copy).exists():
            raise exception.BackendFault('not_found', self.service, detail=f'copy {copy} does not exist any more')
        return {}


class NotesProtection(Protection):
    """How notes are protected: a class for each operation. What is None cannot be done."""

    resource_types = (TYPE,)
    OPTIONS = {'notes_plugin': [cfg.StrOpt('copies_path', help='The folder of the copies.')]}

    protect = CopyNote
    restore = RestoreNote
    delete = RemoveCopy
    verify = LookAtCopy
    copy = CopyAgain

    @classmethod
    def restore_schema(cls, resource_type: str) -> dict[str, Any]:
        name = {'type': 'string', 'title': 'Restore Name', 'description': 'The name of the new note.', 'default': None}
        return {'title': 'Note Restore', 'type': 'object', 'properties': {'restore_name': name}, 'required': []}
