# SPDX-License-Identifier: Apache-2.0
"""Operations are found by their verification; a copy knows the checkpoint that it is made of.

What is there already is left out: MySQL cannot roll back what an interrupted upgrade has made.
"""

import sqlalchemy as sa
from alembic import op

revision = '007'
down_revision = '006'

_TABLE, _SOURCE = 'operation_logs', 'source_checkpoint_id'
_INDEXES = {'ix_operation_logs_verification': 'verification_id', 'ix_operation_logs_source': _SOURCE}


def upgrade() -> None:
    known = sa.inspect(op.get_bind())
    if _SOURCE not in {found['name'] for found in known.get_columns(_TABLE)}:
        op.add_column(_TABLE, sa.Column(_SOURCE, sa.String(36)))
    present = {found['name'] for found in known.get_indexes(_TABLE)}
    for name, column in _INDEXES.items():
        if name not in present:
            op.create_index(name, _TABLE, [column])
