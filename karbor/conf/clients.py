# SPDX-License-Identifier: Apache-2.0
"""How the cloud's services are reached."""

from keystoneauth1 import loading
from oslo_config import cfg

# service -> (service name, service type) as they stand in the catalogue
SERVICES = {
    'nova': ('nova', 'compute'),
    'cinder': ('cinderv3', 'volumev3'),
    'glance': ('glance', 'image'),
    'neutron': ('neutron', 'network'),
    'manila': ('manilav2', 'sharev2'),
    'trove': ('trove', 'database'),
    'freezer': ('freezer', 'backup'),
    'karbor': ('karbor', 'data-protect'),
}


def _client(service: str, name: str, kind: str) -> list[cfg.Opt]:
    return [
        cfg.StrOpt('service_name', default=name, help='The name of the service in the catalogue; empty is any.'),
        cfg.StrOpt('service_type', default=kind, help='The type of the service in the catalogue.'),
        cfg.StrOpt(
            'version',
            help='The version of the API to ask for. Default: the newest that Karbor is tested with.',
        ),
        cfg.StrOpt('region_id', default='RegionOne', help='The region whose service is used.'),
        cfg.StrOpt(
            'interface',
            default='internal',
            help='Which endpoint of the service is used: internal, public or admin.',
        ),
        cfg.StrOpt(
            'ca_cert_file',
            deprecated_name=f'{service}_ca_cert_file',
            help='The file of CA certificates for TLS.',
        ),
        cfg.BoolOpt(
            'auth_insecure',
            default=False,
            deprecated_name=f'{service}_auth_insecure',
            help='Do not check the TLS certificate of the service.',
        ),
        cfg.URIOpt(f'{service}_endpoint', help='The address of the service; the catalogue is not asked.'),
        cfg.StrOpt(
            f'{service}_catalog_info',
            default=f'{kind}:{name}:publicURL',
            help='Service type, name and interface, as Karbor 1.6 took them; used where the options above'
            ' find nothing.',
        ),
    ]


OPTIONS: dict[str, list[cfg.Opt]] = {
    'clients_keystone': [
        cfg.URIOpt(
            'auth_uri',
            help='The address of Keystone without a version, where the catalogue does not name it.',
        )
    ],
    'trustee': [
        *loading.get_auth_common_conf_options(),
        cfg.ListOpt(
            'delegated_roles',
            default=[],
            help='The roles that a user hands on to Karbor by a trust, as far as the user has them. Empty: all roles'
            ' of the user but admin; admin only from a user who has no other.',
        ),
    ],
    'service_auth': [
        cfg.BoolOpt(
            'send_service_token',
            default=False,
            help='Send the token of the user in [trustee] beside that of the caller, so that services accept the'
            " caller's token when it has just expired.",
        )
    ],
    **{f'{service}_client': _client(service, *names) for service, names in SERVICES.items()},
}

# For the sample file only: keystoneauth registers these when it loads the plugin that `auth_type` names.
SAMPLES: dict[str, list[cfg.Opt]] = {'trustee': loading.get_auth_plugin_conf_options('password')}
