"""Results: what filters and tables of results read without opening a run's documents.

Triggers keep the table from then on; see `service.store.models.findings`, and `migrations.env`, which puts them there once all
migrations are done, so that none of them has to mind.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_FLOAT = sa.Float(precision=53)
_OF_A_SWEEP = sa.text("sweep_id IS NOT NULL")
_METRICS = (
    "l0",
    "l1",
    "mse",
    "fvu",
    "cosine",
    "shrinkage",
    "dead_fraction",
    "ce_loss_score",
    "ce_clean",
    "ce_sae",
    "ce_zero_ablation",
    "kl",
    "mmcs",
    "recovered_fraction",
)
_BIASES = ("fraction_negative", "fraction_zero", "fraction_positive", "mean", "std", "min", "max", "median")
_SPEC: dict[str, tuple[Any, str]] = {
    "data.kind": (sa.String(length=20), "text"),
    "data.block": (sa.Integer(), "integer"),
    "sae.kind": (sa.String(length=30), "text"),
    "sae.d_sae": (sa.Integer(), "integer"),
    "sae.k": (sa.Integer(), "integer"),
    "sae.estimator.kind": (sa.String(length=20), "text"),
    "sae.gradient": (sa.String(length=10), "text"),
    "sparsity.kind": (sa.String(length=20), "text"),
    "sparsity.coefficient": (_FLOAT, "double precision"),
    "sparsity.controller.target_l0": (_FLOAT, "double precision"),
    "training.steps": (sa.BigInteger(), "bigint"),
    "training.batch_size": (sa.Integer(), "integer"),
    "training.optimizer.learning_rate": (_FLOAT, "double precision"),
    "training.seed": (sa.BigInteger(), "bigint"),
}
_COPIED = (
    "state",
    "failure_class",
    "superseded",
    "owner_id",
    "sweep_id",
    "point",
    "created_at",
    "finished_at",
    "name",
    "variant",
)


def upgrade() -> None:
    """Make the table, and fill it from the runs that there are and their last snapshots."""
    op.create_table(
        "findings",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        *(sa.Column(f"metrics_{name}", _FLOAT, nullable=True) for name in _METRICS),
        sa.Column("bias_step", sa.BigInteger(), nullable=True),
        *(sa.Column(f"bias_{name}", _FLOAT, nullable=True) for name in _BIASES),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("failure_class", sa.String(length=32), nullable=True),
        sa.Column("superseded", sa.Boolean(), nullable=False),
        sa.Column("archived", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("sweep_id", sa.Uuid(), nullable=True),
        sa.Column("point", sa.Integer(), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("finished_at", _TIME, nullable=True),
        *(sa.Column(f"spec_{path.replace('.', '_')}", kind, nullable=True) for path, (kind, _) in _SPEC.items()),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_findings_run_id_runs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", name="pk_findings"),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 85},
    )
    op.execute(_fill(on_sqlite=op.get_bind().dialect.name == "sqlite"))
    op.create_index(
        "ix_findings_sweep_id", "findings", ["sweep_id"], sqlite_where=_OF_A_SWEEP, postgresql_where=_OF_A_SWEEP
    )


def downgrade() -> None:
    """Take it away; what keeps it went when migrations began."""
    op.drop_table("findings")


def _fill(*, on_sqlite: bool) -> str:
    def number(document: str, name: str) -> str:
        return f"json_extract({document}, '$.{name}')" if on_sqlite else f"({document} ->> '{name}')::double precision"

    def of_spec(path: str, kind: str) -> str:
        keys = path.replace(".", ",")
        return f"json_extract(runs.spec, '$.{path}')" if on_sqlite else f"(runs.spec #>> '{{{keys}}}')::{kind}"

    values = {
        "run_id": "runs.id",
        **{name: f"runs.{name}" for name in _COPIED},
        **{f"metrics_{name}": number("runs.metrics", name) for name in _METRICS},
        "bias_step": "seen.step",
        **{f"bias_{name}": number("seen.summary", name) for name in _BIASES},
        **{f"spec_{path.replace('.', '_')}": of_spec(path, kind) for path, (_, kind) in _SPEC.items()},
    }
    return (
        f"INSERT INTO findings ({', '.join(values)}) SELECT {', '.join(values.values())} FROM runs "  # noqa: S608 names of ours
        "LEFT JOIN bias_snapshots AS seen ON seen.run_id = runs.id AND seen.step > 0 AND seen.step = "
        "(SELECT max(later.step) FROM bias_snapshots AS later WHERE later.run_id = runs.id)"
    )
