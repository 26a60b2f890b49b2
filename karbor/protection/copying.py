# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint is copied to, and whether it can be."""

from collections.abc import Collection

import orjson

from karbor import exception
from karbor.objects.checkpoint import Checkpoint, is_copied, told_of
from karbor.protection import checkpoint as checkpoints
from karbor.protection import graph
from karbor.protection.provider import Provider
from karbor.statuses import CheckpointStatus

_OF_SCHEDULE = ('trigger_id', 'scheduled_operation_id')
NAMED = 140  # characters of types in a message


def require_plugins(provider: Provider, checkpoint_id: str, containers: Collection[str], may_lack: bool) -> None:
    """Raise CopyUnsupported for types of the checkpoint that no plugin copies; ``may_lack`` lets pass what no plugin
    knows at all: what a protect has left out is not in the checkpoint, and anything else fails the copy.
    """
    text = checkpoints.read_graph(provider.bank, checkpoint_id)
    types = {node.type for node in graph.parse(text).nodes}.difference(containers) if text else set()
    plugins = {type: provider.protections.get(type) for type in types}
    lacking = [type for type, plugin in plugins.items() if not (plugin.copy if plugin else may_lack)]
    if lacking:
        named = ', '.join(sorted(lacking))[:NAMED]
        raise exception.CopyUnsupported(id=checkpoint_id, provider_id=provider.id, types=named)


def new(source: Checkpoint, id: str, operation_id: str) -> Checkpoint:
    """The checkpoint that is to become a copy of ``source``: with what the user had kept with that, and its id.
    Raises CheckpointCopied.
    """
    if is_copied(source.extend_info):
        raise exception.CheckpointCopied(id=source.id)
    kept = {key: value for key, value in told_of(source.extend_info).items() if key not in _OF_SCHEDULE}
    return Checkpoint.new(
        id=id,
        project_id=source.project_id,
        checkpoint_status=CheckpointStatus.WAIT_COPYING,
        provider_id=source.provider_id,
        plan_id=source.plan_id,
        operation_id=operation_id,
        create_by='manual',
        extend_info=orjson.dumps(kept | {'created_by': 'manual', 'copied_from': source.id}).decode(),
        protection_plan=source.protection_plan,
    )
