"""`make questions`: run the sweep of each of the ten questions at its small size, ask its query, and keep the answers.

    .venv/bin/python benchmarks/questions.py [04-hybrid 05-which-half ...] [--to build/questions]

Writes summary.json (the numbers behind each answer) and the picture of each question that has one. The service's data is kept
below the same folder: a call that was interrupted goes on where it stopped. Exit status 0 only if every run succeeded.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from running import digest_of_points, finish, median_run_seconds, read_sweep, submit_or_find, write_json
from science_tables import compared, frontier_rows

from prolu.client import Client, ProluError
from prolu.client.plots import alignment_figure, bias_figure, biases_of_sweep, frontier_figure, level_figure, save
from prolu.client.trained import counts
from prolu.client.up.private import private_service

QUESTIONS = Path(__file__).resolve().parents[1] / "examples" / "questions"
BUILD = Path(__file__).resolve().parents[1] / "build" / "questions"

_METRICS = ("l0", "fvu", "ce_loss_score", "dead_fraction")
_BIASES = ("fraction_negative", "fraction_zero", "fraction_positive", "median", "min", "max")


def main() -> int:
    """Run the sweeps; return the exit status."""
    known = sorted(path.stem for path in QUESTIONS.glob("*.yaml"))
    parser = argparse.ArgumentParser(description="Run the sweeps of the ten questions; answers go to build/questions.")
    parser.add_argument("names", nargs="*", metavar="QUESTION", help=f"which of {', '.join(known)}; by default all")
    parser.add_argument("--to", type=Path, default=BUILD, help="where everything goes")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(known):
        parser.error(f"there is no question {min(unknown)!r}; known are {', '.join(known)}")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # be as orderly as after Ctrl-C
    answers: dict[str, Any] = {}
    succeeded = True
    try:
        with private_service(arguments.to / "data") as (url, token), Client(url, token) as client:
            for name in arguments.names or known:
                answers[name], fine = answer(client, name, arguments.to)
                succeeded &= fine
                if not arguments.names:
                    write_json(arguments.to / "summary.json", answers)
    except KeyboardInterrupt:
        print("questions: interrupted; call it again to go on", file=sys.stderr)
        return 130
    except ProluError as error:
        print(f"questions: {error}", file=sys.stderr)
        return 1
    return 0 if succeeded else 1


def answer(client: Client, name: str, folder: Path) -> tuple[dict[str, Any], bool]:
    """Run one sweep and ask its query; return the numbers, and whether every run succeeded."""
    spec = read_sweep(QUESTIONS / f"{name}.yaml")
    sweep = submit_or_find(client, spec, folder / f"{name}.json")
    succeeded = finish(client, sweep)
    found: dict[str, Any] = {
        "sweep": digest_of_points(client, spec),
        "runs": sweep.count,
        "median_run_seconds": round(median_run_seconds(client, sweep), 1),
        "points": points(client, sweep.id, _AGAINST.get(name)),
    }
    if name in _AT_EQUAL_L0:
        found["at_equal_l0"] = at_equal_l0(client, sweep.id, _AT_EQUAL_L0[name])
    if name in _PICTURES and any(run.state == "succeeded" for run in client.sweeps.runs(sweep.id)):
        picture = folder / f"{name}.png"
        save(_PICTURES[name](client, sweep.id), picture)
        print(f"wrote {picture}")
    alignment = [
        {"run": run.name, **one.model_dump(mode="json")}
        for run in client.sweeps.runs(sweep.id)
        for measured in client.runs.diagnostics(run.id)
        for one in measured.gradient_alignment
        if (one.part, one.objective) == ("penalty", "l0")  # which is the question; the service serves all of it
    ]
    return found | ({"gradient_alignment": alignment} if alignment else {}), succeeded


def points(client: Client, sweep: UUID, against: str | None) -> list[dict[str, Any]]:
    """One entry per point of a sweep, over its seeds: the metrics, biases and differences that the README quotes."""
    return [
        {
            "variant": group.variant,
            "level": group.level.value if group.level else None,
            "set": group.set,
            "seeds": group.seeds,
            "metrics": {name: group.metrics[name].model_dump() for name in _METRICS if name in group.metrics},
            "bias": {name: group.bias[name].model_dump() for name in _BIASES if name in group.bias},
            "differences": {
                name: group.differences[name].model_dump() for name in _METRICS if name in group.differences
            },
        }
        for group in client.sweeps.results_over_seeds(sweep, against=against)
    ]


def at_equal_l0(client: Client, sweep: UUID, against: str) -> list[dict[str, Any]]:
    """What each variant loses less than `against`, where both have one L0: a controller brings runs there only nearly."""
    rows = frontier_rows(client.sweeps.results(sweep))
    theirs = [row for row in rows if row["family"] == against]
    return [
        {"of": family, "against": against} | told
        for family in dict.fromkeys(row["family"] for row in rows if row["family"] != against)
        for told in compared([row for row in rows if row["family"] == family], theirs)
    ]


# The variant from which a question asks the others' differences.
_AGAINST = {"04-hybrid": "prolu-ste", "05-which-half": "prolu-ste", "07-relu-ste": "relu-l1"}
# The same where a variant has runs at several L0.
_AT_EQUAL_L0 = {"04-hybrid": "prolu-ste", "07-relu-ste": "relu-l1", "09-frontier": "prolu-ste"}


def _draw_alignment(client: Client, sweep: UUID) -> Any:
    """The updates of the penalty of the sweep's last run that succeeded, which is where the question is."""
    last = [run for run in client.sweeps.runs(sweep) if run.state == "succeeded"][-1]
    *_, measured = client.runs.diagnostics(last.id)
    return alignment_figure(measured.gradient_alignment, part="penalty", title=last.name)


def _draw_levels(client: Client, sweep: UUID) -> Any:
    return level_figure([row for row in client.sweeps.bias_statistics(sweep) if counts(row.state, row.step)])


_PICTURES: dict[str, Callable[[Client, UUID], Any]] = {
    "01-biases": lambda client, sweep: bias_figure(biases_of_sweep(client, sweep)),
    "02-coefficient": _draw_levels,
    "03-slack": _draw_levels,
    "04-hybrid": lambda client, sweep: frontier_figure(client.sweeps.results_over_seeds(sweep)),
    "07-relu-ste": lambda client, sweep: frontier_figure(client.sweeps.results_over_seeds(sweep)),
    "08-alignment": _draw_alignment,
    "09-frontier": lambda client, sweep: frontier_figure(client.sweeps.results(sweep)),
}

if __name__ == "__main__":
    sys.exit(main())
