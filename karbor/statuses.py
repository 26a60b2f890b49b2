# SPDX-License-Identifier: Apache-2.0
"""The words that objects are in, and the one table between what plugins say and what is shown.

Wire values never change: users compare them.
"""

from enum import StrEnum


class PlanStatus(StrEnum):
    SUSPENDED = 'suspended'
    STARTED = 'started'


class CheckpointStatus(StrEnum):
    PROTECTING = 'protecting'
    AVAILABLE = 'available'
    ERROR = 'error'
    DELETING = 'deleting'
    DELETED = 'deleted'
    ERROR_DELETING = 'error-deleting'
    WAIT_COPYING = 'wait_copying'
    COPYING = 'copying'
    FINISHED = 'finished'


class RestoreStatus(StrEnum):
    """What a restore is in, or a verification."""

    IN_PROGRESS = 'in_progress'
    SUCCESS = 'success'
    FAIL = 'fail'


class OperationType(StrEnum):
    PROTECT = 'protect'
    RESTORE = 'restore'
    DELETE = 'delete'
    VERIFY = 'verify'
    COPY = 'copy'


# The details of an operation that waits to be begun, the first time or by a retry.
ACCEPTED, ACCEPTED_AGAIN = 'accepted', 'accepted again'


class ResourceStatus(StrEnum):
    """What a resource of an operation is in (seed 001): null where the plugin does not report."""

    ACTIVE = 'active'
    BUILD = 'build'
    ERROR = 'error'


# Operation logs use the words of seed 004: running, done, failed.
OPERATION_WORDS: dict[str, tuple[str, str, str]] = {
    OperationType.PROTECT: ('protecting', 'available', 'error'),
    OperationType.DELETE: ('deleting', 'deleted', 'error-deleting'),
    OperationType.RESTORE: ('restoring', 'restored', 'error-restoring'),
    OperationType.VERIFY: ('in_progress', 'success', 'fail'),
    OperationType.COPY: ('copying', 'available', 'error'),
}

# Nothing that a failed one of these has made is kept: half a checkpoint is none.
MAKING_CHECKPOINTS = (OperationType.PROTECT, OperationType.COPY)

# What a filter `status=` of operation logs may say besides the exact word: the words as Karbor 1.6
# wrote them for restores. Either spelling finds rows of both.
_ALIASES = (('in_progress', 'restoring'), ('success', 'restored'), ('fail', 'error-restoring'))

# The word of each operation for build, active and error in the maps of restores, checkpoints and verifications.
RESOURCE_WORDS: dict[str, dict[str, str]] = {
    OperationType.PROTECT: {'build': 'protecting', 'active': 'available', 'error': 'error'},
    OperationType.RESTORE: {'build': 'restoring', 'active': 'available', 'error': 'error'},
    OperationType.DELETE: {'build': 'deleting', 'active': 'deleted', 'error': 'error'},
    OperationType.VERIFY: {'build': 'verifying', 'active': 'available', 'error': 'error'},
    OperationType.COPY: {'build': 'copying', 'active': 'available', 'error': 'error'},
}

# What plugins and clouds say -> the enumeration. A word that is not here is shown as it is, with status null.
_SAID: dict[ResourceStatus, tuple[str, ...]] = {
    ResourceStatus.BUILD: (
        *(
            'restoring',
            'protecting',
            'deleting',
            'verifying',
            'copying',
            'started',
            'build',
            'building',
            'creating',
        ),
        *('new', 'queued', 'pending', 'saving', 'backup', 'backing-up', 'restoring-backup', 'downloading'),
        *('uploading', 'attaching', 'reverting', 'extending', 'shrinking', 'resize', 'promote', 'upgrade'),
        *('restore_required', 'in_progress', 'creating_from_snapshot', 'manage_starting'),
    ),
    ResourceStatus.ACTIVE: (
        *(
            'available',
            'success',
            'deleted',
            'active',
            'completed',
            'in-use',
            'healthy',
            'running',
            'finished',
        ),
        *('restored', 'not-found'),
    ),
    ResourceStatus.ERROR: (
        *(
            'error',
            'fail',
            'failed',
            'error_deleting',
            'error-deleting',
            'error_restoring',
            'error-restoring',
        ),
        *('delete_failed', 'restore_failed', 'extending_error', 'shrinking_error', 'reverting_error'),
        *('error_extending', 'manage_error', 'unmanage_error', 'killed', 'blocked', 'shutdown'),
        *('restart_required', 'eject', 'detach'),
    ),
}
_MEANING = {word: status for status, words in _SAID.items() for word in words}

DETAILS_LIMIT = 4096
CANCELLING = 'cancelling'  # the details of an operation that somebody has cancelled, until it ends


def clean(text: str | None, limit: int = DETAILS_LIMIT) -> str | None:
    """``text`` as it may be stored and shown: control characters become blanks, at most ``limit``
    characters; None stays.
    """
    if text is None:
        return None
    text = ''.join(c if c.isprintable() else ' ' for c in str(text)).strip()
    return text[: limit - 1] + '…' if len(text) > limit else text


def resource_status(word: str | None, reason: str | None = None) -> tuple[ResourceStatus | None, str | None]:
    """What a plugin's ``word`` means: (status, details). An unknown word is (None, the word and the reason)."""
    reason = clean(reason) or None
    if word is None:
        return None, reason
    status = _MEANING.get(str(word).strip().lower())
    if status is None:
        known = clean(str(word), 255)
        return None, clean(f'{known}: {reason}' if reason and known else reason or known) or None
    return status, reason


def operation_statuses(word: str) -> set[str]:
    """The stored words that the filter ``word`` of operation logs finds: itself and its other spelling."""
    return {word}.union(*(pair for pair in _ALIASES if word in pair))


def accepted(operation_type: str) -> str:
    """The word of an operation that is not begun yet."""
    return CheckpointStatus.WAIT_COPYING if operation_type == OperationType.COPY else running(operation_type)


def running(operation_type: str) -> str:
    return OPERATION_WORDS[operation_type][0]


def done(operation_type: str) -> str:
    return OPERATION_WORDS[operation_type][1]


def failed(operation_type: str) -> str:
    return OPERATION_WORDS[operation_type][2]
