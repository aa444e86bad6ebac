"""`make bench-science`: train the families of the ProLU exchange on real activations, and measure what came out.

    .venv/bin/python benchmarks/science.py [--sweep benchmarks/science.yaml] [--to build/science] [--data build/science/data]

Writes frontier.{parquet,png} (L0 against cross-entropy score and FVU, by family), biases.{parquet,png} (the distribution of
biases by coefficient) and summary.json. The service's data is kept, below the same folder by default: a call that was
interrupted goes on where it stopped, and sweeps of the same data extract it once. Exit status 0 only if every run succeeded.
`make bench-penalty` is the same for penalty.yaml.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from running import (
    digest_of_points,
    finish,
    is_finished,
    median_run_seconds,
    read_sweep,
    submit_or_find,
    timed,
    write_json,
)
from science_tables import bias_rows, frontier_rows, summary, write_parquet

from prolu.client import Client, ProluError
from prolu.client.plots import frontier_figure, level_figure, save
from prolu.client.trained import counts
from prolu.client.up.private import private_service

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(
        description="Train the families of the ProLU exchange; answers go to build/science."
    )
    parser.add_argument("--sweep", type=Path, default=HERE / "science.yaml", help="the sweep to train")
    parser.add_argument("--to", type=Path, default=HERE.parent / "build" / "science", help="where everything goes")
    parser.add_argument("--data", type=Path, help="where the service keeps its data; by default below --to")
    arguments = parser.parse_args()
    spec, folder = read_sweep(arguments.sweep), arguments.to
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # be as orderly as after Ctrl-C
    try:
        with (
            timed(folder / "calls.json") as times,
            private_service(arguments.data or folder / "data") as (url, token),
            Client(url, token) as client,
        ):
            sweep = submit_or_find(client, spec, folder / "sweep.json")
            times.counts = not is_finished(sweep)
            succeeded = finish(client, sweep)
            results, over_seeds = client.sweeps.results(sweep.id), client.sweeps.results_over_seeds(sweep.id)
            last_biases = client.sweeps.bias_statistics(sweep.id)
            digest = digest_of_points(client, spec)
            run_seconds = median_run_seconds(client, sweep)
    except KeyboardInterrupt:
        print("benchmark: interrupted; call it again to go on", file=sys.stderr)
        return 130
    except ProluError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    frontier, biases = frontier_rows(results), bias_rows(last_biases)
    write_parquet(frontier, folder / "frontier.parquet")
    write_parquet(biases, folder / "biases.parquet")
    save(frontier_figure(over_seeds), folder / "frontier.png")
    save(level_figure([row for row in last_biases if counts(row.state, row.step)]), folder / "biases.png")
    write_json(
        folder / "summary.json",
        {"sweep": digest}
        | summary(frontier, biases)
        | {"seconds": {"calls": round(sum(times.calls)), "median_run": round(run_seconds, 1)}},
    )
    for name in ("frontier.parquet", "frontier.png", "biases.parquet", "biases.png", "summary.json"):
        print(f"wrote {folder / name}")
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
