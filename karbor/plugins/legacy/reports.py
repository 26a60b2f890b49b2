# SPDX-License-Identifier: Apache-2.0
"""How plugins written for Karbor 1.6 tell the state of a resource."""

from typing import Any

from oslo_log import log

LOG = log.getLogger(__name__)


def update_resource_restore_result(
    restore_record: Any, resource_type: str, resource_id: str, status: str, reason: str = ''
) -> None:
    """Record what became of a resource of a restore. A fault of it is logged: the restore itself goes on."""
    _update(restore_record, resource_type, resource_id, status, reason)


def update_resource_verify_result(
    verify_record: Any, resource_type: str, resource_id: str, status: str, reason: str = ''
) -> None:
    """The same for a verification."""
    _update(verify_record, resource_type, resource_id, status, reason)


def _update(record: Any, type: str, id: str, status: str, reason: str) -> None:
    try:
        record.update_resource_status(type, id, status, reason)
        record.save()
    except Exception:  # noqa: BLE001  as in Karbor 1.6: what was done must not fail for its report
        LOG.exception('The status %s of %s %s could not be recorded.', status, type, id)
