# SPDX-License-Identifier: Apache-2.0
"""Limits of what a project may have."""

from oslo_config import cfg

_UNLESS = '; -1 is no limit. Limits of the quota class `default`, and of the project itself, take its place.'

OPTIONS = {
    'DEFAULT': [
        cfg.IntOpt('quota_plans', default=50, min=-1, help=f'Plans that a project may have{_UNLESS}'),
        cfg.IntOpt(
            'quota_checkpoints',
            default=-1,
            min=-1,
            help=f'Checkpoints that a project may have{_UNLESS}',
        ),
    ]
}
