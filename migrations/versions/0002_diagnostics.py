"""Diagnostics: what is measured of a run at a step beyond its metrics, such as where estimators' updates point."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "diagnostics",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("measured", _JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "epoch"], ["attempts.run_id", "attempts.epoch"], name="fk_diagnostics_run_id_epoch_attempts"
        ),
        sa.PrimaryKeyConstraint("run_id", "step", name="pk_diagnostics"),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("diagnostics")
