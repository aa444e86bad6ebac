"""`prolu watch` and `wait`: until a run or a sweep has ended; bars on a terminal, sparse lines or nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated
from uuid import UUID

import typer

from prolu.client.cli import completing
from prolu.client.cli.connecting import connect
from prolu.client.cli.output import note, number, out, print_json, print_json_line, short, table, user_text
from prolu.client.cli.references import find
from prolu.client.client import Client
from prolu.client.progress import doing, how_far, label
from prolu.client.runs import TERMINAL
from prolu.client.wire import MetricRead, RunRead, RunState, RunSummary

_LINE_EVERY_PERCENT = 20
# Of so many runs that did not succeed it is said why; of the others, how many there are.
_MOST_REASONS = 10

AsJson = Annotated[bool, typer.Option("--json", help="Print a line of JSON for every change.")]
Reference = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        autocompletion=completing.run_or_sweep,
        help="Run or sweep: an id, a unique part of one, or `last`.",
    ),
]


def watch(
    reference: Reference = "last",
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Print the metrics as they come, a line for every point.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Follow a run or a sweep until it has ended; exit status 1 if a run did not succeed."""
    with connect() as client:
        kind, found = find(client, reference)
        if metrics and kind == "sweep":
            watch_metrics_of_sweep(client, found, as_json=as_json)
        elif metrics:
            watch_metrics(client, found, as_json=as_json)
        elif kind == "run":
            watch_run(client, found, as_json=as_json)
        else:
            watch_sweep(client, found, as_json=as_json)


def wait(
    reference: Reference = "last",
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", min=0, help="Give up after so long; it goes on.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run or the sweep in the end, as JSON.")] = False,
) -> None:
    """Wait until a run or a sweep has ended, with bars on a terminal; exit status 1, and why, if a run did not succeed."""
    with connect() as client:
        kind, found = find(client, reference)
        wait_for_run(client, found, timeout, as_json=as_json) if kind == "run" else wait_for_sweep(
            client, found, timeout, as_json=as_json
        )


def wait_for_run(client: Client, run: UUID, timeout: float | None = None, *, as_json: bool = False) -> None:
    """Wait for one run. Raises typer.Exit(1) if it did not succeed, WaitedTooLong."""
    resting = _Resting(f"run {short(run)}")
    ended = client.runs.wait(
        run, timeout_seconds=timeout, progress=True, on_update=lambda seen: resting.tell({seen.state: 1})
    )
    if as_json:
        print_json(ended)
    if ended.state != "succeeded":
        note(_why(ended))
        raise typer.Exit(1)


def wait_for_sweep(client: Client, sweep: UUID, timeout: float | None = None, *, as_json: bool = False) -> None:
    """Wait for the runs of a sweep. Raises typer.Exit(1) unless all succeeded or were stopped early, WaitedTooLong."""
    resting = _Resting(f"sweep {short(sweep)}")
    ended = client.sweeps.wait(
        sweep, timeout_seconds=timeout, progress=True, on_look=lambda seen: resting.tell(seen.states)
    )
    if as_json:
        print_json(ended)
    if failed := [run for run in client.sweeps.runs(sweep) if not _went_well(run)]:
        for one in failed[:_MOST_REASONS]:
            note(_why(one))
        if len(failed) > _MOST_REASONS:
            note(f"and {len(failed) - _MOST_REASONS} more did not succeed")
        raise typer.Exit(1)


def watch_run(client: Client, run: UUID, *, as_json: bool = False) -> None:
    """Follow one run. Raises typer.Exit(1) if it did not succeed."""
    tell = _teller(as_json=as_json)
    ended = client.runs.wait(run, on_update=lambda seen: tell([seen]), progress=not as_json)
    if not as_json:
        _show_end(ended)
    if ended.state != "succeeded":
        raise typer.Exit(1)


def watch_metrics(client: Client, run: UUID, *, as_json: bool = False) -> None:
    """Print every point of a run's metrics as it comes. Raises typer.Exit(1) if the run did not succeed."""
    for point in client.runs.follow_metrics(run):
        if as_json:
            print_json_line(point)
        else:
            print(_line(point), flush=True)
    ended = client.runs.get(run)
    if not as_json:
        _show_end(ended)
    if ended.state != "succeeded":
        raise typer.Exit(1)


def watch_metrics_of_sweep(client: Client, sweep: UUID, *, as_json: bool = False) -> None:
    """Print every point of the metrics of a sweep's runs as it comes. Raises typer.Exit(1) unless all succeeded."""
    for point in client.sweeps.follow_metrics(sweep):
        if as_json:
            print_json_line(point)
        else:
            print(f"{short(point.run_id)}  {_line(point)}", flush=True)
    if not all(map(_went_well, client.sweeps.runs(sweep))):
        raise typer.Exit(1)


def watch_sweep(client: Client, sweep: UUID, *, as_json: bool = False) -> None:
    """Follow the runs of a sweep, then print its results. Raises typer.Exit(1) unless all succeeded."""
    if not follow_sweep(client, sweep, as_json=as_json):
        raise typer.Exit(1)


def follow_sweep(client: Client, sweep: UUID, *, as_json: bool = False) -> bool:
    """Show the runs of a sweep until they have ended, then its results; return whether all succeeded, or were stopped early."""
    ended = client.sweeps.wait(sweep, on_update=_teller(as_json=as_json), progress=not as_json)
    if not as_json:
        out().print(client.sweeps.results(sweep).table(title=user_text(ended.name) or f"sweep {short(sweep)}"))
    runs = client.sweeps.runs(sweep)
    for run in runs if not as_json else ():
        if run.state == "failed":
            note(f"{short(run.id)} {label(run)} failed ({run.failure_class}): {run.message}")
        if run.stopped_early is not None:
            note(f"{short(run.id)} {label(run)}: {run.stopped_early}")
    return all(map(_went_well, runs))


def _line(point: MetricRead) -> str:
    told = "  ".join(f"{user_text(name)} {number(value)}" for name, value in sorted(point.values.items()))
    return f"{point.step:>9,}  {point.split:<8}  {told}"


def _went_well(run: RunSummary) -> bool:
    return run.state == "succeeded" or run.stopped_early is not None


def _teller(*, as_json: bool) -> Callable[[Sequence[RunSummary]], None]:
    """What is told of runs beside the bars that a terminal has."""
    if as_json:
        return _on_change(print_json_line)
    return (lambda _runs: None) if sys.stderr.isatty() else _Lines().show


def _why(run: RunRead | RunSummary) -> str:
    """Why a run did not succeed."""
    told = f" ({run.failure_class})" if run.failure_class else ""
    return f"run {short(run.id)} {label(run)} {run.state}{told}" + (f": {run.message}" if run.message else "")


class _Resting:
    """Says, once each time, that all that has not ended is paused: waiting for it takes until somebody resumes it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._said = False

    def tell(self, states: Mapping[RunState, int]) -> None:
        going = {state for state, count in states.items() if count and state not in TERMINAL}
        rests = going == {"paused"}
        if rests and not self._said:
            note(f"{self._what} is paused; resume it with: prolu resume {self._what.split()[-1]}")
        self._said = rests


class _Lines:
    """A line when a run changes its state or its phase, and at every fifth of its way."""

    def __init__(self) -> None:
        self._said: dict[UUID, tuple[object, ...]] = {}

    def show(self, runs: Sequence[RunSummary]) -> None:
        for run in runs:
            done, total = how_far(run)
            percent = int(100 * done / total) if total else 0
            told = (run.state, run.progress.phase if run.progress else None, percent // _LINE_EVERY_PERCENT)
            if self._said.get(run.id) != told:
                self._said[run.id] = told
                note(f"{short(run.id)} {label(run)}: {run.state} {percent} % {doing(run)}".rstrip())


def _on_change(say: Callable[[RunSummary], None]) -> Callable[[Sequence[RunSummary]], None]:
    seen: dict[UUID, RunSummary] = {}

    def show(runs: Sequence[RunSummary]) -> None:
        for run in runs:
            if seen.get(run.id) != run:
                seen[run.id] = run
                say(run)

    return show


def _show_end(run: RunRead) -> None:
    if run.metrics:
        rows = [(user_text(name), number(value)) for name, value in sorted(run.metrics.items())]
        out().print(table({"metric": "left", "held out": "right"}, rows))
    why = f" ({run.failure_class}): {run.message}" if run.failure_class else ""
    note(f"run {run.id} {run.state} after {run.step} of {run.total_steps} steps{why}")
