"""Nodes that have gone are remembered for a while: what they offered is not refused the moment that they restart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_FLOAT = sa.Float(precision=53)


def upgrade() -> None:
    """Add the table: none has gone."""
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


def downgrade() -> None:
    """Forget them."""
    op.drop_table("departed_nodes")
