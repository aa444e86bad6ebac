"""What people look for among runs, one narrow row for each, kept true by the database itself.

To find runs by two metrics and sort them, all of them are read: whatever the selectivity, so whatever the index. What that
costs is rows times bytes. A row of `runs` has 3 kB, most of it the spec, so 100,000 of them are 300 MB; a row here has 0.4 kB.
Numbers come first, since both databases walk a row from its beginning to what they are asked for.

Triggers copy what is written to `runs` and `bias_snapshots`, in the transaction that writes it: no writer has to know of this
table, no bulk update can forget it, and to submit a run takes no statement more. A spec is immutable, so the few paths of it
that everybody asks for are copied once. Names of columns are paths with `_` for `.`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    Uuid,
    event,
    false,
    text,
)

from service.domain.filters.columns import BIASES, METRICS
from service.store.models.base import Base, Utc

# The paths of the spec that are copied, with the types of their columns.
SPEC_PATHS: dict[str, Any] = {
    "data.kind": String(20),
    "data.block": Integer(),
    "sae.kind": String(30),
    "sae.d_sae": Integer(),
    "sae.k": Integer(),
    "sae.estimator.kind": String(20),
    "sae.gradient": String(10),
    "sparsity.kind": String(20),
    "sparsity.coefficient": Float(53),
    "sparsity.controller.target_l0": Float(53),
    "training.steps": BigInteger(),
    "training.batch_size": Integer(),
    "training.optimizer.learning_rate": Float(53),
    "training.seed": BigInteger(),
}
# The columns of `runs` that are copied: those that change seldom.
COPIED = (
    "state",
    "failure_class",
    "superseded",
    "archived",
    "owner_id",
    "sweep_id",
    "point",
    "created_at",
    "finished_at",
    "name",
    "variant",
)


def column_of(path: str) -> str:
    """The name of the column for a path of the language."""
    return path.replace(".", "_")


FINDINGS = Table(
    "findings",
    Base.metadata,
    Column("run_id", Uuid(), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    *(Column(f"metrics_{name}", Float(53)) for name in METRICS),
    # Which snapshot the numbers of the biases are from: the last one after the first step.
    Column("bias_step", BigInteger()),
    *(Column(f"bias_{name}", Float(53)) for name in BIASES),
    Column("state", String(16), nullable=False),
    Column("failure_class", String(32)),
    Column("superseded", Boolean(), nullable=False),
    Column("archived", Boolean(), server_default=false(), nullable=False),
    Column("owner_id", Uuid(), nullable=False),
    Column("sweep_id", Uuid()),
    Column("point", Integer()),
    Column("created_at", Utc(), nullable=False),
    Column("finished_at", Utc()),
    *(Column(f"spec_{column_of(path)}", kind) for path, kind in SPEC_PATHS.items()),
    Column("name", Text(), nullable=False),
    Column("variant", Text()),
    Index(
        "ix_findings_sweep_id",
        "sweep_id",
        sqlite_where=text("sweep_id IS NOT NULL"),
        postgresql_where=text("sweep_id IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
    # Room for a row that changes its state to stay where it is.
    postgresql_with={"fillfactor": 85},
)


def watch(connection: Connection) -> None:
    """Have the database keep the table from now on; what it knew of that before is replaced."""
    unwatch(connection)
    for statement in _sqlite() if connection.dialect.name == "sqlite" else _postgresql():
        connection.exec_driver_sql(statement)


def unwatch(connection: Connection) -> None:
    """Stop keeping it, as whoever alters a watched table must: triggers would be in the way, and on SQLite be lost."""
    for name in _TRIGGERS:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
        else:
            connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS {name}() CASCADE")


_TRIGGERS = (
    "findings_of_a_new_run",
    "findings_of_a_changed_run",
    "findings_of_a_new_snapshot",
    "findings_of_a_changed_snapshot",
)
_WATCHED = ", ".join((*COPIED, "metrics"))
_BIAS_COLUMNS = ("bias_step", *(f"bias_{name}" for name in BIASES))


def _sqlite() -> list[str]:
    metrics = {f"metrics_{name}": f"json_extract(NEW.metrics, '$.{name}')" for name in METRICS}
    biases = {f"bias_{name}": f"json_extract(NEW.summary, '$.{name}')" for name in BIASES}
    whole = {
        "run_id": "NEW.id",
        **{name: f"NEW.{name}" for name in COPIED},
        **metrics,
        **{f"spec_{column_of(path)}": f"json_extract(NEW.spec, '$.{path}')" for path in SPEC_PATHS},
    }
    added = (
        f"INSERT INTO findings ({', '.join(whole)}) VALUES ({', '.join(whole.values())});\n"  # noqa: S608 names of ours
        f"UPDATE findings SET {_assigned({name: f'source.{name}' for name in _BIAS_COLUMNS})} FROM findings AS source "
        "WHERE findings.run_id = NEW.id AND source.run_id = NEW.reused_from"
    )
    bodies = (added, _changed(metrics), _seen(biases), _seen(biases))
    whens = (
        "INSERT ON runs",
        f"UPDATE OF {_WATCHED} ON runs",
        "INSERT ON bias_snapshots",
        "UPDATE OF summary ON bias_snapshots",
    )
    return [
        f"CREATE TRIGGER {name} AFTER {when}\nBEGIN\n{body};\nEND"
        for name, when, body in zip(_TRIGGERS, whens, bodies, strict=True)
    ]


def _postgresql() -> list[str]:
    """New runs are copied once for each statement, all else row by row: only a trigger for rows may name columns."""
    metrics = {f"metrics_{name}": f"(NEW.metrics ->> '{name}')::double precision" for name in METRICS}
    biases = {f"bias_{name}": f"(NEW.summary ->> '{name}')::double precision" for name in BIASES}
    whole = {
        "run_id": "run.id",
        **{name: f"run.{name}" for name in COPIED},
        **{name: value.replace("NEW.", "run.") for name, value in metrics.items()},
        **{f"spec_{column_of(path)}": _from_jsonb(path, kind) for path, kind in SPEC_PATHS.items()},
        **{name: f"source.{name}" for name in _BIAS_COLUMNS},
    }
    # A spec lies compressed: `||` opens it once for all its paths, and OFFSET keeps the planner from undoing that.
    added = (
        f"INSERT INTO findings ({', '.join(whole)}) SELECT {', '.join(whole.values())} "  # noqa: S608 names of ours
        "FROM (SELECT *, spec || '{}' AS document FROM added OFFSET 0) AS run "
        "LEFT JOIN findings AS source ON source.run_id = run.reused_from"
    )
    bodies = (added, _changed(metrics), _seen(biases), _seen(biases))
    whens = (
        "INSERT ON runs REFERENCING NEW TABLE AS added FOR EACH STATEMENT",
        f"UPDATE OF {_WATCHED} ON runs FOR EACH ROW",
        "INSERT ON bias_snapshots FOR EACH ROW",
        "UPDATE OF summary ON bias_snapshots FOR EACH ROW",
    )
    functions = [
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n{body};\nRETURN NULL;\nEND $$"
        for name, body in zip(_TRIGGERS, bodies, strict=True)
    ]
    return functions + [
        f"CREATE TRIGGER {name} AFTER {when} EXECUTE FUNCTION {name}()"
        for name, when in zip(_TRIGGERS, whens, strict=True)
    ]


def _from_jsonb(path: str, kind: Any) -> str:
    value = f"run.document #>> '{{{path.replace('.', ',')}}}'"
    casts = {Float: "double precision", BigInteger: "bigint", Integer: "integer"}
    cast = casts.get(type(kind))
    return f"({value})::{cast}" if cast else value


def _changed(metrics: dict[str, str]) -> str:
    """What is done for a run that has changed."""
    copied = {name: f"NEW.{name}" for name in COPIED}
    return f"UPDATE findings SET {_assigned(copied | metrics)} WHERE run_id = NEW.id"  # noqa: S608 names of ours


def _seen(biases: dict[str, str]) -> str:
    """What is done for a snapshot."""
    return (
        f"UPDATE findings SET {_assigned({'bias_step': 'NEW.step', **biases})} "  # noqa: S608 names of ours
        "WHERE run_id = NEW.run_id AND NEW.step > 0 AND NEW.step >= coalesce(bias_step, 0)"
    )


def _assigned(values: dict[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items())


@event.listens_for(Base.metadata, "after_create")
def _watch_what_was_made(_: Any, connection: Connection, **__: Any) -> None:
    watch(connection)
