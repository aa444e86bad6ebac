"""`make bench-api`: how fast results are found, compared and exported when there are many runs, over HTTP.

    .venv/bin/python -m benchmarks.api [--database sqlite] [--only queries ...] [--at sqlite:///build/bench/api.db]

For each database a population is written anew, with 10 snapshots of biases and 100 points of metrics for each run, and asked
through the real service, a process of its own. Writes one JSON: the figures that goals are set for at the top, by database;
each part writes the file anew, so that a call that was interrupted has shown what it had. A database of one's own, `--at` its
URL, is populated if it is empty, and kept, to be measured again.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.api.measuring import QUERIES, export, frontier_milliseconds, p95, query_milliseconds
from benchmarks.api.population import FIRST, SECONDS_APART, SHARE_SUCCEEDED, populate
from benchmarks.queue.__main__ import write
from benchmarks.queue.databases import KINDS, Databases, Kind, databases
from benchmarks.queue.environment import environment
from benchmarks.queue.service import Service, service_on
from service.store import schema
from service.store.db import Database

GOALS = {
    "query_p95_ms": "below 100, whatever the selectivity",
    "frontier_ms": "below 150, p95 over 10,000 runs",
    "parquet_s": "below 3 for 100,000 rows",
    "parquet_peak_mb": "no more for 100,000 rows than for 10,000",
}
_FRONTIER_RUNS = 10_000
_SNAPSHOTS, _POINTS = 10, 100


def main() -> None:
    """Measure, and write what was found."""
    arguments = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # end the servers as after Ctrl-C
    headlines: dict[str, dict[str, float]] = {name: {} for name in GOALS}
    sizes = {"runs": arguments.runs, "snapshots_each": _SNAPSHOTS, "points_each": _POINTS}
    measured: dict[str, Any] = {}
    with databases() as both:
        about = environment(both)
        for kind, database in _opened(both, arguments):
            told = measured[kind] = {"generated": _populated(kind, database, arguments.runs)}
            with service_on(database) as service:
                for part in arguments.only:
                    found, told[part] = PARTS[part](service, arguments)
                    for name, value in found.items():
                        headlines[name][kind] = value
                    document = {**headlines, "goals": GOALS, **sizes, "measured": measured, "environment": about}
                    write(arguments.to, document)
                    _say(kind, f"{part}: {json.dumps(found)}")
    print(f"Written: {arguments.to}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure results; the figures go to build/bench/api.json.")
    parser.add_argument("--to", type=Path, default=Path("build/bench/api.json"), help="where the figures go")
    parser.add_argument("--runs", type=int, default=100_000, help="how many runs there are; the goals are for 100,000")
    parser.add_argument("--times", type=int, default=40, help="how often each question is asked")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="the parts to measure")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--database", nargs="+", choices=KINDS, default=list(KINDS), help="the databases to measure")
    which.add_argument("--at", metavar="URL", help="a database to measure, populated if it is empty, and kept")
    return parser.parse_args()


def _opened(both: Databases, arguments: argparse.Namespace) -> Iterator[tuple[Kind, Database]]:
    """The databases to measure, one after the other."""
    if arguments.at is not None:
        database = Database(arguments.at)
        schema.upgrade(database)
        yield "sqlite" if database.is_sqlite else "postgresql", database
        database.dispose()
        return
    for kind in arguments.database:
        with both.migrated(kind) as database:
            yield kind, database


def _populated(kind: Kind, database: Database, runs: int) -> dict[str, float]:
    """Have so many runs in the database. How long that took, and how large it is."""
    with database.look() as connection:
        there = connection.exec_driver_sql("SELECT count(*) FROM runs").scalar_one()
    if there not in (0, runs):
        raise SystemExit(f"The database has {there:,} runs; give an empty one, or --runs {there}.")
    began = time.monotonic()
    if there == 0:
        populate(
            database,
            runs=runs,
            snapshots=_SNAPSHOTS,
            points=_POINTS,
            on_progress=lambda done: _say(kind, f"{done:,} of {runs:,} runs written, {time.monotonic() - began:.0f} s"),
        )
    return {"seconds": time.monotonic() - began, "mebibytes": _size(database) / 1024**2}


def _say(kind: Kind, sentence: str) -> None:
    print(f"{kind}: {sentence}", flush=True)


Figures = tuple[dict[str, float], Any]


def _queries(service: Service, arguments: argparse.Namespace) -> Figures:
    found = {}
    for name, query in QUERIES.items():
        query_milliseconds(service, query, times=2)
        found[name] = asdict(query) | _summary(query_milliseconds(service, query, times=arguments.times))
    return {"query_p95_ms": max(one["p95_ms"] for one in found.values())}, found


def _frontiers(service: Service, arguments: argparse.Namespace) -> Figures:
    """Of the oldest runs, so many that succeeded; by family as by default, and what costs more."""
    until = FIRST + timedelta(seconds=SECONDS_APART * min(_FRONTIER_RUNS, arguments.runs) / SHARE_SUCCEEDED)
    asked = {"filter": f'created_at < "{until.isoformat()}"', "y": "metrics.ce_loss_score"}
    found = {}
    for name, more in (
        ("by family", {}),
        ("with the dominated", {"dominated": True}),
        ("by a field that findings lack", {"by": "spec.training.optimizer.kind"}),
        ("over seeds", {"seeds": "mean"}),
    ):
        frontier_milliseconds(service, asked | more, times=2)
        took, answer = frontier_milliseconds(service, asked | more, times=arguments.times)
        points = sum(front["count"] for front in answer.document["families"])
        found[name] = {"points": points, "answer_bytes": len(answer.body), **_summary(took)}
    return {"frontier_ms": found["by family"]["p95_ms"]}, found


def _exports(service: Service, arguments: argparse.Namespace) -> Figures:
    """A first one, which loads the libraries; a tenth of all runs; all, and all again, of which the slower counts, last."""
    runs = arguments.runs
    export(service, min(10, runs))
    tenth, *wholes = (export(service, rows) for rows in (max(1, runs // 10), runs, runs))
    found = [asdict(one) for one in (tenth, *sorted(wholes, key=lambda one: one.seconds))]
    peak = max(one["peak_mb"] for one in found[1:])
    return {"parquet_s": found[-1]["seconds"], "parquet_peak_mb": peak}, found


PARTS: dict[str, Callable[[Service, argparse.Namespace], Figures]] = {
    "queries": _queries,
    "frontiers": _frontiers,
    "exports": _exports,
}


def _summary(took: list[float]) -> dict[str, float]:
    return {"median_ms": statistics.median(took), "p95_ms": p95(took), "max_ms": max(took)}


def _size(database: Database) -> int:
    """Bytes of the database, indexes included."""
    with database.look() as connection:
        if not database.is_sqlite:
            return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())


if __name__ == "__main__":
    main()
