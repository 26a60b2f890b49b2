# SPDX-License-Identifier: Apache-2.0
"""The user's project: a container of everything in it that can be protected."""

from collections.abc import Mapping, Sequence
from typing import Any

from karbor import exception
from karbor.clients import Cloud
from karbor.plugins.interface import Protectable, Resource


class Projects(Protectable):
    """Exactly one project, the one that the user's token is scoped to."""

    resource_type = 'OS::Keystone::Project'
    service = 'keystone'
    container = True

    def list(self, cloud: Cloud, parameters: Mapping[str, Any] | None = None) -> Sequence[Resource]:
        return [self._own(cloud)]

    def show(self, cloud: Cloud, id: str, parameters: Mapping[str, Any] | None = None) -> Resource:
        if id != cloud.project_id:
            raise exception.ProtectableNotFound(type=self.resource_type, id=id)
        return self._own(cloud)

    def _own(self, cloud: Cloud) -> Resource:
        return Resource(self.resource_type, cloud.project_id, cloud.project_name or cloud.project_id)
