# SPDX-License-Identifier: Apache-2.0
"""How Alembic reaches the database: over the connection that `karbor.db.migration` passes, as one transaction.

Without one (a developer who writes a revision) it is the database of the process's configuration.
"""

from typing import Any

import sqlalchemy as sa
from alembic import context

from karbor.db import engine, models


def _is_ours(name: str | None, kind: str, parents: Any) -> bool:
    """Not what other programs, or the migrations of Karbor 1.6, have left in the database."""
    return kind != 'table' or name in models.Base.metadata.tables


def _run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection, target_metadata=models.Base.metadata, render_as_batch=True, include_name=_is_ours
    )
    with context.begin_transaction():
        context.run_migrations()


def _run_alone() -> None:
    from karbor.conf import opts

    engine.configure(opts.parse([]))
    with engine.engine().begin() as connection:
        _run(connection)


given = context.config.attributes.get('connection')
if given is not None:
    _run(given)
else:
    _run_alone()
