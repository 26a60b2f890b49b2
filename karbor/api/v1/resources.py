# SPDX-License-Identifier: Apache-2.0
"""The resources of an operation, as every detail view shows them (seeds 000 and 001)."""

from collections.abc import Iterable
from typing import Any

from karbor.api import schema, views
from karbor.objects import operation_resource
from karbor.statuses import ResourceStatus

SHOWN = {
    'type': {'type': 'string'},
    'id': {'type': 'string'},
    'name': schema.NULLABLE_TEXT,
    'new_id': schema.NULLABLE_TEXT,
    'status': {'enum': [*ResourceStatus, None]},
    'status_details': schema.NULLABLE_TEXT,
    'progress': {'type': ['integer', 'null'], 'minimum': 0, 'maximum': 100},
    'started_at': schema.MOMENT,
    'ended_at': schema.MOMENT,
}
LIST = {'type': 'array', 'items': schema.whole(**SHOWN), 'maxItems': 1000}


def of_operation(operation_id: str | None) -> list[dict[str, Any]]:
    """The first 1,000 resources of the operation, failed ones first; none without an operation."""
    return shown(operation_resource.of_operation(operation_id)) if operation_id else []


def shown(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """The views of rows of `operation_resources`."""
    return [
        {
            'type': row.resource_type,
            'id': row.resource_id,
            'name': row.resource_name,
            'new_id': row.new_id,
            'status': row.status,
            'status_details': row.status_details,
            'progress': row.progress,
            'started_at': views.moment(row.started_at),
            'ended_at': views.moment(row.ended_at),
        }
        for row in rows
    ]
