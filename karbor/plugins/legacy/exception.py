# SPDX-License-Identifier: Apache-2.0
"""The exceptions that plugins written for Karbor 1.6 raise and catch.

Each is made as there: ``KarborException(message)``, or from the keywords of its ``message``. A name that is not
here is an AttributeError that says so, when the plugin is loaded or when it raises.
"""

from typing import Any

from karbor import exception


class KarborException(exception.KarborError):
    """The base of all. ``msg`` is the text, ``kwargs`` what it was made from, ``code`` its HTTP code."""

    message = 'An unknown exception occurred.'

    def __init__(self, message: Any = None, **kwargs: Any) -> None:
        self.kwargs = kwargs
        self.msg = str(message) if message else _filled(type(self).message, kwargs)
        super().__init__(self.msg)

    def __str__(self) -> str:
        return self.msg


def _filled(template: str, fields: dict[str, Any]) -> str:
    try:
        return template % fields
    except (KeyError, TypeError, ValueError):  # a text that lacks something still tells more than another fault
        return f'{template} {fields}' if fields else template


class Error(Exception):
    """A fault without a text of its own."""


class NotFound(KarborException):
    message = 'Resource could not be found.'
    code = 404
    safe = True


class Invalid(KarborException):
    message = 'Unacceptable parameters.'
    code = 400


class InvalidInput(Invalid):
    message = 'Invalid input received: %(reason)s'


class InvalidParameterValue(Invalid):
    message = '%(err)s'


class InvalidPluginConfig(Invalid):
    message = 'Invalid plugin config: %(reason)s'


class NotAuthorized(KarborException):
    message = 'Not authorized.'
    code = 403


class AuthorizationFailure(NotAuthorized):
    message = 'Authorization for %(obj)s is failed'


class ConfigNotFound(NotFound):
    message = 'Could not find config at %(path)s'


class CheckpointNotFound(NotFound):
    message = 'Checkpoint %(checkpoint_id)s could not be found.'


class ProviderNotFound(NotFound):
    message = 'Provider %(provider_id)s could not be found.'


# --- operations on a resource


class CreateResourceFailed(KarborException):
    message = 'Create %(name)s failed: %(reason)s, id=%(resource_id)s, type=%(resource_type)s'


class DeleteResourceFailed(KarborException):
    message = 'Delete %(name)s failed: %(reason)s, id=%(resource_id)s, type=%(resource_type)s'


class RestoreResourceFailed(KarborException):
    message = 'Restore %(name)s failed: %(reason)s, id=%(resource_id)s, type=%(resource_type)s'


class VerifyResourceFailed(KarborException):
    message = 'Verify %(name)s failed: %(reason)s, id=%(resource_id)s, type=%(resource_type)s'


# --- protectables


class ListProtectableResourceFailed(KarborException):
    message = 'List protectable resources of type %(type)s failed: %(reason)s'


class ProtectableResourceNotFound(NotFound):
    message = 'The %(type)s resource %(id)s could not be found: %(reason)s'


class ProtectableResourceInvalidStatus(KarborException):
    message = 'The %(type)s resource %(id)s could not be operated on with current status: %(status)s'
    code = 409


# --- banks


class BankCreateObjectFailed(KarborException):
    message = 'Create object in bank failed: %(reason)s'


class BankUpdateObjectFailed(KarborException):
    message = 'Update object %(key)s in bank failed: %(reason)s'


class BankDeleteObjectFailed(KarborException):
    message = 'Delete object %(key)s in bank failed: %(reason)s'


class BankGetObjectFailed(KarborException):
    message = 'Get object %(key)s in bank failed: %(reason)s'


class BankListObjectsFailed(KarborException):
    message = 'List objects in bank failed: %(reason)s'


class BankReadonlyViolation(KarborException):
    message = 'Bank read-only violation'


class AcquireLeaseFailed(KarborException):
    message = 'Acquire lease failed: %(reason)s'


class CreateContainerFailed(KarborException):
    message = 'Create container in bank failed: %(reason)s'
