"""Nodes that have gone are remembered for a while, and the runs that refer to a run are found by an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_REFERS = sa.text("reused_from IS NOT NULL")
_FLOAT = sa.Float(precision=53)


def upgrade() -> None:
    """Add the table and the index: no node has gone."""
    op.create_table(
        "departed_nodes",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("cpus", _FLOAT, nullable=False),
        sa.Column("gpus", _FLOAT, nullable=False),
        sa.Column("gpu_type", sa.Text(), nullable=True),
        sa.Column("memory_gb", _FLOAT, nullable=False),
        sa.Column("gone_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_departed_nodes"),
    )
    op.create_index("ix_runs_reused_from", "runs", ["reused_from"], sqlite_where=_REFERS, postgresql_where=_REFERS)


def downgrade() -> None:
    """Forget them."""
    op.drop_index("ix_runs_reused_from", "runs")
    op.drop_table("departed_nodes")
