# SPDX-License-Identifier: Apache-2.0
"""A resource, as plugins written for Karbor 1.6 make it and get it."""

from typing import Any

from karbor.plugins import interface


class Resource(interface.Resource):
    """``Resource(type, id, name, extra_info=None)``; type and id are its identity."""

    def to_dict(self) -> dict[str, Any]:
        return {'type': self.type, 'id': self.id, 'name': self.name, 'extra_info': self.extra_info}
