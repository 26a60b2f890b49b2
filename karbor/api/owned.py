# SPDX-License-Identifier: Apache-2.0
"""An object of a project, for those who may see it and do something to it."""

from typing import TypeVar

from karbor import exception, policies
from karbor.api.method import Call
from karbor.objects.base import KarborObject

Object = TypeVar('Object', bound=KarborObject)


def find(call: Call, made: type[Object], id: str, see: str, rule: str) -> Object:
    """The object ``id``, if the caller may see it, by the rule ``see``, and do ``rule`` to it. Raises the
    `not_found` of its class, as for one that there is not, and Forbidden.
    """
    found = made.get(id)
    if not policies.allows(see, call.context, found.project_id):
        raise made.not_found(id=id)
    if not policies.allows(rule, call.context, found.project_id):
        raise exception.Forbidden(action=rule)
    return found
