"""`make bench-api`: how fast results are found, compared and exported when there are many runs, over HTTP.

    .venv/bin/python -m benchmarks.api [--runs 100000] [--to build/bench/api.json]

For each database a population is written anew, with 10 snapshots of biases and 100 points of metrics for each run, and asked
through the real service, a process of its own. Writes one JSON: the figures that goals are set for at the top, by database.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import time
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
    parser = argparse.ArgumentParser(description="Measure results; the figures go to build/bench/api.json.")
    parser.add_argument("--to", type=Path, default=Path("build/bench/api.json"), help="where the figures go")
    parser.add_argument("--runs", type=int, default=100_000, help="how many runs there are; the goals are for 100,000")
    parser.add_argument("--times", type=int, default=40, help="how often each question is asked")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # end the servers as after Ctrl-C
    headlines: dict[str, dict[str, float]] = {name: {} for name in GOALS}
    measured: dict[str, Any] = {}
    with databases() as both:
        about = environment(both)
        for kind in KINDS:
            found, measured[kind] = _measure(both, kind, runs=arguments.runs, times=arguments.times)
            for name, value in found.items():
                headlines[name][kind] = value
            sizes = {"runs": arguments.runs, "snapshots_each": _SNAPSHOTS, "points_each": _POINTS}
            document = {**headlines, "goals": GOALS, **sizes, "measured": measured, "environment": about}
            write(arguments.to, document)
            print(f"{kind}: {json.dumps(found)}", flush=True)
    print(f"Written: {arguments.to}")


def _measure(both: Databases, kind: Kind, *, runs: int, times: int) -> tuple[dict[str, float], dict[str, Any]]:
    with both.migrated(kind) as database:
        began = time.monotonic()
        populate(database, runs=runs, snapshots=_SNAPSHOTS, points=_POINTS)
        generated = {"seconds": time.monotonic() - began, "mebibytes": _size(database) / 1024**2}
        with service_on(database) as service:
            asked = _queries(service, times)
            frontiers = _frontiers(service, times, runs=min(_FRONTIER_RUNS, runs))
            exports = _exports(service, runs)
    whole = exports[-1]
    headlines = {
        "query_p95_ms": max(one["p95_ms"] for one in asked.values()),
        "frontier_ms": frontiers["by family"]["p95_ms"],
        "parquet_s": whole["seconds"],
        "parquet_peak_mb": max(one["peak_mb"] for one in exports[1:]),
    }
    return headlines, {"generated": generated, "queries": asked, "frontiers": frontiers, "exports": exports}


def _queries(service: Service, times: int) -> dict[str, Any]:
    found = {}
    for name, query in QUERIES.items():
        query_milliseconds(service, query, times=2)
        found[name] = asdict(query) | _summary(query_milliseconds(service, query, times=times))
    return found


def _frontiers(service: Service, times: int, *, runs: int) -> dict[str, Any]:
    """Of the oldest runs, so many that succeeded; by family as by default, and what costs more."""
    until = FIRST + timedelta(seconds=SECONDS_APART * runs / SHARE_SUCCEEDED)
    asked = {"filter": f'created_at < "{until.isoformat()}"', "y": "metrics.ce_loss_score"}
    found = {}
    for name, more in (
        ("by family", {}),
        ("with the dominated", {"dominated": True}),
        ("by a field that findings lack", {"by": "spec.training.optimizer.kind"}),
        ("over seeds", {"seeds": "mean"}),
    ):
        frontier_milliseconds(service, asked | more, times=2)
        took, answer = frontier_milliseconds(service, asked | more, times=times)
        points = sum(front["count"] for front in answer.document["families"])
        found[name] = {"points": points, "answer_bytes": len(answer.body), **_summary(took)}
    return found


def _exports(service: Service, runs: int) -> list[dict[str, Any]]:
    """A first one, which loads the libraries; a tenth of all runs; all, and all again, of which the slower counts, last."""
    export(service, min(10, runs))
    tenth, *wholes = (export(service, rows) for rows in (max(1, runs // 10), runs, runs))
    return [asdict(one) for one in (tenth, *sorted(wholes, key=lambda one: one.seconds))]


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
