# SPDX-License-Identifier: Apache-2.0
"""A protection plugin that does nothing, for every type: to try Karbor, and to measure it."""

from typing import Any

from karbor.plugins.interface import Assignment, Protection, Work


class Nothing(Work):
    """Work that is done when it is started."""

    def start(self, work: Assignment) -> dict[str, Any]:
        return {}


class Noop(Protection):
    """Protects nothing and succeeds. Its checkpoints hold the names of resources and none of their data."""

    resource_types = (
        'OS::Keystone::Project',
        'OS::Nova::Server',
        'OS::Cinder::Volume',
        'OS::Glance::Image',
        'OS::Manila::Share',
        'OS::Neutron::Network',
        'OS::Trove::Instance',
        'OS::Kubernetes::Pod',
    )
    protect = Nothing
    restore = Nothing
    delete = Nothing
    verify = Nothing
