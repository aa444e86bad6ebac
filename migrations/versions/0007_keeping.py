"""Keeping: tags, notes, pins and archives of runs and sweeps; pins and deletions of checkpoints."""

from __future__ import annotations

from contextlib import AbstractContextManager

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_PINNED = sa.text("pinned")
_INHERITS = sa.text("begins_with IS NOT NULL")
_DELETED = sa.text("deleting_since IS NOT NULL")


def _altered(table: str) -> AbstractContextManager[BatchOperations]:
    """SQLite writes additions in another form than a new table has: it makes the table anew."""
    return op.batch_alter_table(table, recreate="always" if op.get_bind().dialect.name == "sqlite" else "never")


def upgrade() -> None:
    """Add the columns: nothing is tagged, pinned, archived or being deleted."""
    for table in ("sweeps", "runs"):
        with _altered(table) as altered:
            altered.add_column(sa.Column("tags", _JSON, nullable=False, server_default=sa.text("'[]'")))
            altered.add_column(sa.Column("note", sa.Text(), nullable=True))
            altered.add_column(sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()))
            altered.add_column(sa.Column("archived", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("ix_runs_begins_with", "runs", ["begins_with"], sqlite_where=_INHERITS, postgresql_where=_INHERITS)
    with _altered("checkpoints") as checkpoints:
        checkpoints.add_column(sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()))
        checkpoints.add_column(sa.Column("deleting_since", sa.DateTime(timezone=True), nullable=True))
        checkpoints.create_index("ix_checkpoints_pinned", ["id"], sqlite_where=_PINNED, postgresql_where=_PINNED)
        checkpoints.create_index(
            "ix_checkpoints_deleting", ["deleting_since"], sqlite_where=_DELETED, postgresql_where=_DELETED
        )


def downgrade() -> None:
    """Take the columns back. A checkpoint whose deletion was under way has no whole files, and goes too."""
    op.execute("DELETE FROM checkpoints WHERE deleting_since IS NOT NULL")
    with _altered("checkpoints") as checkpoints:
        checkpoints.drop_index("ix_checkpoints_deleting")
        checkpoints.drop_index("ix_checkpoints_pinned")
        checkpoints.drop_column("deleting_since")
        checkpoints.drop_column("pinned")
    op.drop_index("ix_runs_begins_with", "runs")
    for table in ("runs", "sweeps"):
        with _altered(table) as altered:
            for column in ("archived", "pinned", "note", "tags"):
                altered.drop_column(column)
