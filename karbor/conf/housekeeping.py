# SPDX-License-Identifier: Apache-2.0
"""What keeps growing tables bounded."""

from oslo_config import cfg

OPTIONS = {
    'housekeeping': [
        cfg.FloatOpt(
            'interval_hours',
            default=24.0,
            min=0.0,
            help='Hours between two runs of the task that folds and purges; one protection service at a time does it.'
            ' 0: none does.',
        ),
        cfg.IntOpt(
            'fold_after_days',
            default=30,
            min=0,
            help='Days after its end that the resources of an operation become one row; they are shown as before.'
            ' 0: never.',
        ),
        cfg.IntOpt(
            'purge_after_days',
            default=365,
            min=0,
            help='Days after which deleted rows are removed, and the operations of checkpoints that are gone, as'
            ' `karbor-manage db purge` does. 0: never.',
        ),
        cfg.IntOpt(
            'unused_trust_days',
            default=30,
            min=0,
            help='Days after which a trust that nobody used is ended. 0: never.',
        ),
    ]
}
