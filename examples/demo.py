"""`make demo`: start everything on this machine, train the demo sweep, print and draw what came out, stop everything.

    .venv/bin/python examples/demo.py

Writes build/demo/results.parquet, biases.png, frontier.png, and summary.json: how long each call took and what came out.
Exit status 0 only if every run succeeded. A second call finds the extracted activations in build/demo/data and trains anew.
Talks to the service as any user would: with `prolu.client`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from prolu.client import Client, Conflict, ProluError
from prolu.client.cli.watching import follow_sweep
from prolu.client.plots import bias_figure, biases_of_sweep, frontier_figure, save
from prolu.client.results import Results
from prolu.client.runs import TERMINAL
from prolu.client.up.private import private_service
from prolu.client.wire import ResultRow
from prolu.spec import SweepSpec, digest_of, parse, validate

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "demo"
DATA = BUILD / "data"


def main() -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(description="Train the demo sweep on this machine; pictures go to build/demo.")
    parser.add_argument("--began", type=float, default=time.time(), help="when the call began, in Unix seconds")
    began = parser.parse_args().began
    spec = validate(parse((HERE / "demo.yaml").read_text(encoding="utf-8")), SweepSpec)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # be as orderly as after Ctrl-C
    try:
        with private_service(DATA) as (url, token), Client(url, token) as client:
            if leftovers := cancel_leftovers(client):
                print(f"Cancelled {leftovers} runs that an earlier demo had left")
            extracted = not any((DATA / "cache" / "activations").glob("*/manifest.json"))
            digest = digest_of([point.digest for point in client.sweeps.preview(spec).points])
            succeeded, results = run_demo(client, spec)
            run_seconds = [client.runs.attempt_seconds(row.run_id) for row in results]
    except KeyboardInterrupt:
        print("demo: interrupted; everything was stopped", file=sys.stderr)
        return 130
    except ProluError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    seconds = time.time() - began
    call = {"seconds": round(seconds), "extracted": extracted, "median_run_seconds": round(median(run_seconds), 1)}
    note({"sweep": digest, **call, "runs": [summary_of(row) for row in results]})
    print(f"The demo took {seconds:.0f} s{', extraction included' if extracted else ''}.")
    return 0 if succeeded else 1


def run_demo(client: Client, spec: SweepSpec) -> tuple[bool, Results]:
    """Submit the sweep, follow it, write table and pictures; return whether every run succeeded, and the results."""
    sweep = client.sweeps.submit(spec)
    print(f"Submitted sweep {sweep.id} with {sweep.count} runs to {client.url}")
    succeeded = follow_sweep(client, sweep.id)
    results = client.sweeps.results(sweep.id)
    results.to_parquet(BUILD / "results.parquet")
    save(frontier_figure(results), BUILD / "frontier.png")
    series = biases_of_sweep(client, sweep.id)
    if any(one.snapshots for one in series):
        save(bias_figure(series), BUILD / "biases.png")
    for name in ("results.parquet", "biases.png", "frontier.png"):
        print(f"wrote {os.path.relpath(BUILD / name)}")
    return succeeded, results


def summary_of(row: ResultRow) -> dict[str, Any]:
    """The numbers of one run that the README quotes."""
    return {
        "variant": row.variant,
        "coefficient": row.set["sparsity.coefficient"],
        **{name: row.metrics.get(name) for name in ("l0", "fvu", "dead_fraction")},
        "fraction_negative": row.bias.get("fraction_negative"),
    }


def note(call: dict[str, Any]) -> None:
    """Add a call to build/demo/summary.json, oldest first."""
    path = BUILD / "summary.json"
    calls = json.loads(path.read_text(encoding="utf-8"))["calls"] if path.exists() else []
    path.write_text(json.dumps({"calls": [*calls, call]}, indent=2) + "\n", encoding="utf-8")


def cancel_leftovers(client: Client) -> int:
    """Cancel what an interrupted demo left in the queue, so that it does not train beside this one; return how many."""
    cancelled = 0
    for run in client.runs.list():
        if run.state in TERMINAL:
            continue
        try:
            client.runs.cancel(run.id)
        except Conflict:  # it ended since it was listed
            continue
        cancelled += 1
    return cancelled


if __name__ == "__main__":
    sys.exit(main())
