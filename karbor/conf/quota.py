# SPDX-License-Identifier: Apache-2.0
"""Limits of what a project may have."""

from oslo_config import cfg

OPTIONS = {
    'DEFAULT': [
        cfg.IntOpt('quota_plans', default=50, min=-1, help='Plans that a project may have; -1 is no limit.'),
        cfg.IntOpt(
            'quota_checkpoints',
            default=-1,
            min=-1,
            help='Checkpoints that a project may have; -1 is no limit.',
        ),
    ]
}
