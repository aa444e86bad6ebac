"""`make bench-queue`: how fast the queue is, and procrastinate beside it on the same PostgreSQL.

    .venv/bin/python -m benchmarks.queue [--to build/bench/queue.json] [--only claim_finish ...] [--small]

Writes one JSON: the figures that goals are set for at the top, with the goals; below them everything that was measured. Each
part writes the file anew, so that a call that was interrupted has shown what it had.
"""

from __future__ import annotations

import argparse
import json
import signal
from pathlib import Path
from typing import Any

from benchmarks.queue.databases import databases
from benchmarks.queue.environment import environment
from benchmarks.queue.parts import FULL, PARTS, SMALL

GOALS = {
    "claim_finish_vs_procrastinate": "at least 1",
    "submissions_per_s": "at least 300",
    "sweep_10000_s": "below 5",
    "plan_10000_ms": "below 200",
    "list_p95_ms": "below 50",
    "cancel_1000_s": "below 2",
    "submit_to_start_p95_ms": "below 250",
    "dispatcher_memory_mib": "flat from 1,000 to 10,000 runs",
}


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description="Measure the queue; the figures go to build/bench/queue.json.")
    parser.add_argument("--to", type=Path, default=Path("build/bench/queue.json"), help="where the figures go")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="the parts to measure")
    parser.add_argument("--small", action="store_true", help="small numbers, to try the benchmark itself")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # end the servers as after Ctrl-C
    found: dict[str, Any] = {}
    measured: dict[str, Any] = {}
    with databases() as both:
        about = environment(both)
        for name in arguments.only:
            headlines, measured[name] = PARTS[name](both, SMALL if arguments.small else FULL)
            found |= headlines
            write(arguments.to, {**found, "goals": GOALS, "measured": measured, "environment": about})
            print(f"{name}: {json.dumps(headlines)}", flush=True)
    print(f"Written: {arguments.to}")


def write(file: Path, document: dict[str, Any]) -> None:
    """Write the figures."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
