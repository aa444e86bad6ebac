"""The lab-wide queue: gangs, tiers, limits, retries of a sweep's points, usage, drains, the dispatcher's lease, logs."""

from __future__ import annotations

from contextlib import AbstractContextManager

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_FLOAT = sa.Float(precision=53)
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_CURRENT = sa.text("NOT superseded")
_OF_A_SWEEP = sa.text("sweep_id IS NOT NULL")
_ENDED = sa.text("finished_at IS NOT NULL")


def _altered(table: str) -> AbstractContextManager[BatchOperations]:
    """SQLite cannot alter everything, and writes additions in another form than a new table has: it makes the table anew."""
    return op.batch_alter_table(table, recreate="always" if op.get_bind().dialect.name == "sqlite" else "never")


def upgrade() -> None:
    """Add the columns and make the tables. Runs that wait have waited since their submission."""
    with _altered("users") as users:
        users.add_column(sa.Column("weight", _FLOAT, nullable=False, server_default=sa.text("1")))
    with _altered("sweeps") as sweeps:
        sweeps.add_column(sa.Column("tier", sa.Integer(), nullable=False, server_default=sa.text("0")))
        sweeps.add_column(sa.Column("preemptible", sa.Boolean(), nullable=False, server_default=sa.false()))
    _upgrade_runs()
    with _altered("attempts") as attempts:
        attempts.add_column(sa.Column("nodes", _JSON, nullable=True))
        attempts.add_column(sa.Column("devices", _JSON, nullable=True))
        attempts.add_column(sa.Column("exit_cause", sa.Text(), nullable=True))
        attempts.add_column(sa.Column("stop_reason", sa.String(length=16), nullable=True))
        attempts.add_column(sa.Column("stop_asked_at", _TIME, nullable=True))
        attempts.add_column(sa.Column("news_at", _TIME, nullable=True))
        attempts.create_index(
            "ix_attempts_ended",
            ["outcome", "failure_class"],
            sqlite_where=_ENDED,
            postgresql_where=_ENDED,
        )
    with _altered("nodes") as nodes:
        nodes.add_column(sa.Column("gpu_type", sa.Text(), nullable=True))
    with _altered("dispatcher") as dispatcher:
        dispatcher.add_column(sa.Column("holder", sa.Text(), nullable=True))
        dispatcher.add_column(sa.Column("term", sa.Integer(), nullable=False, server_default=sa.text("0")))
        dispatcher.add_column(sa.Column("lease_until", _TIME, nullable=True))
    _make_tables()


def downgrade() -> None:
    """Take everything back. A retried point of a sweep keeps its newest run alone in the sweep; the others leave it."""
    for table in ("log_chunks", "drains", "usage"):
        op.drop_table(table)
    with _altered("dispatcher") as dispatcher:
        for column in ("lease_until", "term", "holder"):
            dispatcher.drop_column(column)
    with _altered("nodes") as nodes:
        nodes.drop_column("gpu_type")
    with _altered("attempts") as attempts:
        attempts.drop_index("ix_attempts_ended")
        for column in ("news_at", "stop_asked_at", "stop_reason", "exit_cause", "devices", "nodes"):
            attempts.drop_column(column)
    _downgrade_runs()
    with _altered("sweeps") as sweeps:
        sweeps.drop_column("preemptible")
        sweeps.drop_column("tier")
    with _altered("users") as users:
        users.drop_column("weight")


def _upgrade_runs() -> None:
    op.drop_index("ix_runs_queue", "runs")
    with _altered("runs") as runs:
        runs.add_column(sa.Column("ranks", sa.Integer(), nullable=False, server_default=sa.text("1")))
        runs.add_column(sa.Column("gpu_type", sa.Text(), nullable=True))
        runs.add_column(sa.Column("tier", sa.Integer(), nullable=False, server_default=sa.text("0")))
        runs.add_column(sa.Column("preemptible", sa.Boolean(), nullable=False, server_default=sa.false()))
        runs.add_column(sa.Column("run_limit_seconds", _FLOAT, nullable=True))
        runs.add_column(sa.Column("start_limit_seconds", _FLOAT, nullable=True))
        runs.add_column(sa.Column("no_progress_limit_seconds", _FLOAT, nullable=True))
        runs.add_column(sa.Column("retry_of", sa.Uuid(), nullable=True))
        runs.add_column(sa.Column("cloned_from", sa.Uuid(), nullable=True))
        runs.add_column(sa.Column("superseded", sa.Boolean(), nullable=False, server_default=sa.false()))
        runs.add_column(sa.Column("begins_with", sa.Text(), nullable=True))
        runs.add_column(sa.Column("begins_at_step", sa.BigInteger(), nullable=True))
        runs.add_column(sa.Column("waiting_since", _TIME, nullable=True))
        runs.add_column(sa.Column("queued_at", _TIME, nullable=True))
        runs.drop_constraint("uq_runs_sweep_id_point", type_="unique")
    op.execute("UPDATE runs SET waiting_since = created_at, queued_at = created_at")
    with _altered("runs") as runs:
        runs.alter_column("waiting_since", existing_type=_TIME, nullable=False)
        runs.alter_column("queued_at", existing_type=_TIME, nullable=False)
        runs.create_foreign_key("fk_runs_retry_of_runs", "runs", ["retry_of"], ["id"])
        runs.create_foreign_key("fk_runs_cloned_from_runs", "runs", ["cloned_from"], ["id"])
        runs.create_index(
            "uq_runs_sweep_id_point",
            ["sweep_id", "point"],
            unique=True,
            sqlite_where=_CURRENT,
            postgresql_where=_CURRENT,
        )
        runs.create_index("ix_runs_queue", ["desired_state", "state", "id"])
        runs.create_index(
            "ix_runs_sweep_id_id", ["sweep_id", "id"], sqlite_where=_OF_A_SWEEP, postgresql_where=_OF_A_SWEEP
        )


def _downgrade_runs() -> None:
    op.drop_index("ix_runs_queue", "runs")
    op.execute("UPDATE runs SET sweep_id = NULL, point = NULL WHERE superseded")
    with _altered("runs") as runs:
        runs.drop_index("ix_runs_sweep_id_id")
        runs.drop_index("uq_runs_sweep_id_point")
        runs.drop_constraint("fk_runs_cloned_from_runs", type_="foreignkey")
        runs.drop_constraint("fk_runs_retry_of_runs", type_="foreignkey")
        for column in (
            "queued_at",
            "waiting_since",
            "begins_at_step",
            "begins_with",
            "superseded",
            "cloned_from",
            "retry_of",
            "no_progress_limit_seconds",
            "start_limit_seconds",
            "run_limit_seconds",
            "preemptible",
            "tier",
            "gpu_type",
            "ranks",
        ):
            runs.drop_column(column)
        runs.create_unique_constraint("uq_runs_sweep_id_point", ["sweep_id", "point"])
    op.create_index("ix_runs_queue", "runs", ["desired_state", "state", sa.text("priority DESC"), "id"])


def _make_tables() -> None:
    op.create_table(
        "usage",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("gpu_seconds", _FLOAT, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_usage_user_id_users"),
        sa.PrimaryKeyConstraint("user_id", "day", name="pk_usage"),
    )
    op.create_table(
        "drains",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("evict", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("node", name="pk_drains"),
    )
    op.create_table(
        "log_chunks",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "epoch"], ["attempts.run_id", "attempts.epoch"], name="fk_log_chunks_run_id_epoch_attempts"
        ),
        sa.PrimaryKeyConstraint("run_id", "epoch", "seq", name="pk_log_chunks"),
    )
