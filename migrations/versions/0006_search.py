"""Search: the trials of a sweep that chooses its points as it goes, runs that are stopped early, and runs that are reused."""

from __future__ import annotations

from contextlib import AbstractContextManager

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_OPEN = sa.text("state <> 'ended'")


def _altered(table: str) -> AbstractContextManager[BatchOperations]:
    """SQLite writes additions in another form than a new table has: it makes the table anew."""
    return op.batch_alter_table(table, recreate="always" if op.get_bind().dialect.name == "sqlite" else "never")


def upgrade() -> None:
    """Add the columns and make the tables: nothing searches, was stopped early, or refers to another run."""
    with _altered("sweeps") as sweeps:
        sweeps.add_column(sa.Column("early_stopping", _JSON, nullable=True))
    with _altered("runs") as runs:
        runs.add_column(sa.Column("reused_from", sa.Uuid(), nullable=True))
        runs.add_column(sa.Column("stopped_early", sa.Text(), nullable=True))
        runs.create_foreign_key("fk_runs_reused_from_runs", "runs", ["reused_from"], ["id"])
    op.create_table(
        "searches",
        sa.Column("sweep_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
        sa.Column("reuse", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweeps.id"], name="fk_searches_sweep_id_sweeps"),
        sa.PrimaryKeyConstraint("sweep_id", name="pk_searches"),
    )
    op.create_index("ix_searches_open", "searches", ["sweep_id"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_table(
        "trials",
        sa.Column("sweep_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("set", sa.JSON(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("distributions", sa.JSON(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("values", _JSON, nullable=True),
        sa.Column("intermediate", _JSON, nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("same_as", sa.Integer(), nullable=True),
        sa.Column("asked_after", sa.Integer(), nullable=False),
        sa.Column("told", sa.Integer(), nullable=True),
        sa.Column("asked_at", _TIME, nullable=False),
        sa.Column("told_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["sweep_id"], ["searches.sweep_id"], name="fk_trials_sweep_id_searches"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_trials_run_id_runs"),
        sa.PrimaryKeyConstraint("sweep_id", "number", name="pk_trials"),
    )
    op.create_table(
        "judgements",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("sweep_id", sa.Uuid(), nullable=False),
        sa.Column("rung", sa.Integer(), nullable=True),
        sa.Column("value", sa.Float(precision=53), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_judgements_run_id_runs"),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweeps.id"], name="fk_judgements_sweep_id_sweeps"),
        sa.PrimaryKeyConstraint("run_id", "step", name="pk_judgements"),
    )
    op.create_index("ix_judgements_sweep_id_step", "judgements", ["sweep_id", "step"])


def downgrade() -> None:
    """Take everything back. Runs that refer to others keep the metrics that they took from them."""
    for table in ("judgements", "trials", "searches"):
        op.drop_table(table)
    with _altered("runs") as runs:
        runs.drop_constraint("fk_runs_reused_from_runs", type_="foreignkey")
        runs.drop_column("stopped_early")
        runs.drop_column("reused_from")
    with _altered("sweeps") as sweeps:
        sweeps.drop_column("early_stopping")
