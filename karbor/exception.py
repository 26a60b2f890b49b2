# SPDX-License-Identifier: Apache-2.0
"""Every fault that Karbor names: the class is the fault, with its HTTP code and its message.

A message is read by a tenant: one line, no path, no address, no text of another program.
"""

from typing import Any


class KarborError(Exception):
    """A fault with an HTTP ``code`` and a ``message`` template that the keyword arguments fill."""

    code = 500
    message = 'An unexpected fault.'
    retry_after: int | None = None

    def __init__(self, message: str | None = None, **fields: Any) -> None:
        self.text = message or self.message % fields
        super().__init__(self.text)


# --- what the caller did wrong -----------------------------------------------------------------


class BadRequest(KarborError):
    code = 400


class InvalidInput(BadRequest):
    message = '%(field)s: %(reason)s'


class Unauthorized(KarborError):
    code = 401
    message = 'Authentication with a token scoped to a project is required.'


class Forbidden(KarborError):
    code = 403
    message = 'The policy does not allow %(action)s.'


class NotFound(KarborError):
    code = 404
    message = 'The resource could not be found.'


class PlanNotFound(NotFound):
    message = 'Plan %(id)s could not be found.'


class ProviderNotFound(NotFound):
    message = 'Provider %(id)s could not be found.'


class CheckpointNotFound(NotFound):
    message = 'Checkpoint %(id)s could not be found.'


class RestoreNotFound(NotFound):
    message = 'Restore %(id)s could not be found.'


class VerificationNotFound(NotFound):
    message = 'Verification %(id)s could not be found.'


class OperationLogNotFound(NotFound):
    message = 'Operation log %(id)s could not be found.'


class TriggerNotFound(NotFound):
    message = 'Trigger %(id)s could not be found.'


class ScheduledOperationNotFound(NotFound):
    message = 'Scheduled operation %(id)s could not be found.'


class ServiceNotFound(NotFound):
    message = 'Service %(id)s could not be found.'


class ProtectableTypeNotFound(NotFound):
    message = 'Protectable type %(type)s could not be found.'


class ProtectableNotFound(NotFound):
    message = '%(type)s %(id)s could not be found.'


class Conflict(KarborError):
    code = 409


class CheckpointInvalidState(Conflict):
    message = 'Checkpoint %(id)s is %(state)s; %(action)s needs one that is %(allowed)s.'


class CheckpointInUse(Conflict):
    message = (
        'Checkpoint %(id)s is %(state)s, and in use by %(operation_type)s operation %(operation_id)s;'
        ' %(action)s has to wait.'
    )


class CheckpointCopied(Conflict):
    message = 'Checkpoint %(id)s has a copy already, or is one.'


class CopyUnsupported(Conflict):
    message = 'Checkpoint %(id)s cannot be copied: provider %(provider_id)s has no plugin that copies %(types)s.'


class OperationInvalidState(Conflict):
    message = '%(operation_type)s operation %(id)s is %(state)s; %(needed)s.'


class RequestUnderWay(Conflict):
    message = '%(header)s: the first request with this key is still under way; try again later.'
    retry_after = 1


class PlanInUse(Conflict):
    message = 'Plan %(id)s is used by scheduled operation %(blocker)s.'


class TriggerInUse(Conflict):
    message = 'Trigger %(id)s is used by scheduled operation %(blocker)s.'


class ProtectableInvalidStatus(Conflict):
    message = '%(type)s %(id)s is %(status)s and cannot be protected now.'


class PreconditionFailed(KarborError):
    code = 412
    message = '%(header)s: %(reason)s'


class IdempotencyKeyReused(KarborError):
    code = 422
    message = '%(header)s: this key was used for another request; a new request needs a new key.'


class BodyTooLarge(KarborError):
    code = 413
    message = 'The request body is larger than %(limit)s bytes.'


class OverQuota(KarborError):
    code = 413
    message = 'Quota exceeded: %(in_use)s of %(limit)s %(resource)s are in use.'
    retry_after = 0


# --- what other services did wrong ---------------------------------------------------------------


class ServiceUnavailable(KarborError):
    code = 503
    message = 'The %(service)s service does not answer; try again later.'
    retry_after = 5


class JobBoardAway(KarborError):
    message = 'Redis cannot be used: %(reason)s'


class BackendFault(KarborError):
    """A fault of a cloud service, told as a tenant may read it.

    ``reason`` is a word of ``REASONS``; ``service`` the service's name; ``request_id`` what that
    service logged the request under, or None; ``transient`` tells whether asking again can help.
    """

    code = 503

    REASONS = {
        'unreachable': 'the service cannot be reached',
        'timeout': 'the service did not answer in time',
        'unavailable': 'the service answered with a fault of its own',
        'over_limit': 'a quota or rate limit of the service is used up',
        'unauthorized': 'the service does not accept the credentials any more',
        'forbidden': 'the service does not allow this to the user',
        'not_found': 'the object does not exist any more',
        'conflict': 'the object is in a state that does not allow this',
        'refused': 'the service refused the request as invalid',
        'failed': 'the service reports that the object failed',
        'vanished': 'the object vanished while it was being worked on',
        'unsafe': 'the object was changed by somebody else',
        'too_slow': 'the object did not get ready within the time allowed',
        'credentials_lost': 'the credentials of the user were only kept in memory and the service was restarted',
        'unsupported': 'no loaded plugin can do this',
        'bank': 'the bank cannot be read or written',
        'no_copy': 'the checkpoint holds no copy of the resource',
        'internal': 'an unexpected fault of Karbor; its log has the details',
        'interrupted': 'the work was interrupted before its result was known',
    }

    def __init__(
        self,
        reason: str,
        service: str,
        request_id: str | None = None,
        detail: str | None = None,
        transient: bool = False,
        retry_after: float | None = None,
    ) -> None:
        self.reason, self.service, self.request_id = reason, service, request_id
        self.detail, self.transient, self.wait = detail, transient, retry_after
        where = f'{service}, request {request_id}' if request_id else service
        text = detail or self.REASONS[reason]
        super().__init__(f'{reason}: {text} ({where})')

    def __reduce__(self) -> tuple[Any, ...]:
        return BackendFault, (self.reason, self.service, self.request_id, self.detail, self.transient)


class ProtectableListFailed(KarborError):
    code = 503
    message = 'Listing %(type)s failed: %(reason)s'


# --- banks ---------------------------------------------------------------------------------------


class BankError(KarborError):
    code = 503
    message = 'bank: %(reason)s'

    def __init__(self, reason: str = 'the bank cannot be read or written') -> None:
        super().__init__(reason=reason)


class BankObjectNotFound(BankError):
    code = 404


class BankUnavailable(BankError):
    pass


class BankKeyInvalid(BankError):
    code = 400


# --- configuration -------------------------------------------------------------------------------


class ConfigurationError(KarborError):
    message = '%(reason)s'
