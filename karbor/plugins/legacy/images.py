# SPDX-License-Identifier: Apache-2.0
"""The data of an image, to the bank and back, in chunks `data_1`, `data_2` … of its section."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from oslo_log import log

from karbor.plugins.banks import layout
from karbor.plugins.legacy import exception, polling

LOG = log.getLogger(__name__)
_CHUNK = re.compile(r'data_([1-9][0-9]*)\Z')


def backup_image_to_bank(glance_client: Any, image_id: str, bank_section: Any, object_size: int) -> int:
    """Write the data of the image to ``bank_section``, ``object_size`` bytes in each chunk; the number of chunks."""
    number, held = 0, bytearray()
    for piece in glance_client.images.data(image_id, do_checksum=True):
        polling.go_on()
        held += piece
        while len(held) >= object_size:
            number += 1
            bank_section.update_object(layout.data(number), bytes(held[:object_size]))
            del held[:object_size]
    if held:
        number += 1
        bank_section.update_object(layout.data(number), bytes(held))
    return number


def restore_image_from_bank(glance_client: Any, bank_section: Any, restore_name: str | None) -> Any:
    """A new image of what `backup_image_to_bank` wrote, ready and checked; `metadata` of the section tells its formats.

    Raises RestoreResourceFailed, and then leaves no image behind.
    """
    metadata = bank_section.get_object('metadata')
    told = metadata['image_metadata']
    image = glance_client.images.create(
        disk_format=told['disk_format'], container_format=told['container_format'], name=restore_name
    )
    try:
        chunks = _Chunks(bank_section, metadata.get('chunks_num'))
        glance_client.images.upload(image.id, chunks)
        made = glance_client.images.get(image.id)
        reason = _wrong(made, told.get('checksum'), chunks)
    except BaseException:  # noqa: BLE001  even when the service stops: half an image is worth nothing
        _remove(glance_client, image.id)
        raise
    if reason:
        _remove(glance_client, image.id)
        fields = {'resource_id': metadata.get('resource_id'), 'resource_type': 'OS::Glance::Image'}
        raise exception.RestoreResourceFailed(name='Image', reason=reason, **fields)
    return made


class _Chunks:
    """The chunks as one stream of bytes, for Glance's client: it reads, or it iterates."""

    def __init__(self, section: Any, number: int | None) -> None:
        self._section = section
        found = {int(m[1]) for m in map(_CHUNK.match, section.list_objects(prefix='data_')) if m}
        wanted = set(range(1, (number or max(found, default=0)) + 1))
        if found != wanted:
            raise exception.BankGetObjectFailed(reason='chunks of the image are missing', key='data_')
        self._left = iter(sorted(wanted))
        self._held = b''
        self.md5 = hashlib.md5(usedforsecurity=False)

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._held) < size:
            number = next(self._left, None)
            if number is None:
                break
            polling.go_on()
            chunk = self._section.get_object(layout.data(number))
            self.md5.update(chunk)
            self._held += chunk
        end = len(self._held) if size < 0 else size
        given, self._held = self._held[:end], self._held[end:]
        return given

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(65536):
            yield piece


def _wrong(image: Any, checksum: str | None, chunks: _Chunks) -> str | None:
    if image.status != 'active':
        return f'the image is {image.status}'
    if checksum and checksum not in (getattr(image, 'checksum', None) or chunks.md5.hexdigest(),):
        return 'the checksum of the image is not that of the original'
    return None


def _remove(glance_client: Any, image_id: str) -> None:
    try:
        glance_client.images.delete(image_id)
    except Exception:  # noqa: BLE001  the fault that led here is the one to be told
        LOG.exception('The image %s of a failed restore could not be removed.', image_id)
