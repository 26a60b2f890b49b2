# SPDX-License-Identifier: Apache-2.0
"""An index that the checkpoints of a project can be counted in.

What is there already is left out: MySQL cannot roll back what an interrupted upgrade has made.
"""

import sqlalchemy as sa
from alembic import op

revision = '006'
down_revision = '005'

_TABLE, _INDEX = 'checkpoint_records', 'ix_checkpoint_records_quota'


def upgrade() -> None:
    if _INDEX not in {found['name'] for found in sa.inspect(op.get_bind()).get_indexes(_TABLE)}:
        op.create_index(_INDEX, _TABLE, ['project_id', 'deleted', 'checkpoint_status'])
