"""`prolu watch`: live progress of a run or a sweep; bars on a terminal, sparse lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput
from prolu.client.cli.output import note, number, out, print_json_line, short, state, table, user_text
from prolu.client.cli.references import find
from prolu.client.client import Client
from prolu.client.wire import RunRead, RunSummary

_LINE_EVERY_PERCENT = 20

AsJson = Annotated[bool, typer.Option("--json", help="Print a line of JSON for every change.")]
Reference = Annotated[str, typer.Argument(metavar="ID", help="Run or sweep: an id, a unique part of one, or `last`.")]


def watch(
    reference: Reference = "last",
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Of a run: print its metrics as they come, a line for every point.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Follow a run or a sweep until it has ended; exit status 1 if a run did not succeed."""
    with connect() as client:
        kind, found = find(client, reference)
        if metrics and kind == "sweep":
            raise BadInput(
                f"--metrics follows one run; {reference} is a sweep: `prolu runs --sweep` lists those of it."
            )
        if metrics:
            watch_metrics(client, found, as_json=as_json)
        elif kind == "run":
            watch_run(client, found, as_json=as_json)
        else:
            watch_sweep(client, found, as_json=as_json)


def watch_run(client: Client, run: UUID, *, as_json: bool = False) -> None:
    """Follow one run. Raises typer.Exit(1) if it did not succeed."""
    with _view(as_json=as_json) as view:
        ended = client.runs.wait(run, on_update=lambda seen: view.show([seen]))
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
            told = "  ".join(f"{user_text(name)} {number(value)}" for name, value in sorted(point.values.items()))
            print(f"{point.step:>9,}  {point.split:<8}  {told}", flush=True)
    ended = client.runs.get(run)
    if not as_json:
        _show_end(ended)
    if ended.state != "succeeded":
        raise typer.Exit(1)


def watch_sweep(client: Client, sweep: UUID, *, as_json: bool = False) -> None:
    """Follow the runs of a sweep, then print its results. Raises typer.Exit(1) unless all succeeded."""
    if not follow_sweep(client, sweep, as_json=as_json):
        raise typer.Exit(1)


def follow_sweep(client: Client, sweep: UUID, *, as_json: bool = False) -> bool:
    """Show the runs of a sweep until they have ended, then its results; return whether all succeeded, or were stopped early."""
    with _view(as_json=as_json) as view:
        ended = client.sweeps.wait(sweep, on_update=view.show)
    if not as_json:
        out().print(client.sweeps.results(sweep).table(title=user_text(ended.name) or f"sweep {short(sweep)}"))
    runs = client.sweeps.runs(sweep)
    for run in runs if not as_json else ():
        if run.state == "failed":
            note(f"{short(run.id)} {_label(run)} failed ({run.failure_class}): {run.message}")
        if run.stopped_early is not None:
            note(f"{short(run.id)} {_label(run)}: {run.stopped_early}")
    return all(run.state == "succeeded" or run.stopped_early is not None for run in runs)


class _View:
    """Shows runs as they change; a context manager."""

    def __init__(self, show: Callable[[Sequence[RunSummary]], None], live: Live | None = None) -> None:
        self.show = show
        self._live = live

    def __enter__(self) -> _View:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()


def _view(*, as_json: bool) -> _View:
    if as_json:
        return _View(_on_change(print_json_line))
    if not sys.stderr.isatty():
        return _View(_Lines().show)
    bars = Bars()
    return _View(bars.show, Live(bars.progress, console=Console(stderr=True), refresh_per_second=4))


class Bars:
    """One progress bar per run."""

    def __init__(self) -> None:
        self.progress = Progress(
            TextColumn("[dim]{task.fields[id]}[/]"),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[state]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("[dim]{task.fields[doing]}[/]"),
            expand=True,
        )
        self._tasks: dict[UUID, TaskID] = {}

    def show(self, runs: Sequence[RunSummary]) -> None:
        """Bring every bar up to date."""
        for run in runs:
            if run.id not in self._tasks:
                self._tasks[run.id] = self.progress.add_task("", id=short(run.id), state="", doing="")
            done, total = _how_far(run)
            self.progress.update(
                self._tasks[run.id],
                completed=done,
                total=total,
                description=user_text(_label(run)),
                state=state(run.state),
                doing=user_text(_doing(run)),
            )


class _Lines:
    """A line when a run changes its state or its phase, and at every fifth of its way."""

    def __init__(self) -> None:
        self._said: dict[UUID, tuple[object, ...]] = {}

    def show(self, runs: Sequence[RunSummary]) -> None:
        for run in runs:
            done, total = _how_far(run)
            percent = int(100 * done / total) if total else 0
            told = (run.state, run.progress.phase if run.progress else None, percent // _LINE_EVERY_PERCENT)
            if self._said.get(run.id) != told:
                self._said[run.id] = told
                note(f"{short(run.id)} {_label(run)}: {run.state} {percent} % {_doing(run)}".rstrip())


def _on_change(say: Callable[[RunSummary], None]) -> Callable[[Sequence[RunSummary]], None]:
    seen: dict[UUID, RunSummary] = {}

    def show(runs: Sequence[RunSummary]) -> None:
        for run in runs:
            if seen.get(run.id) != run:
                seen[run.id] = run
                say(run)

    return show


def _label(run: RunSummary) -> str:
    return run.name or run.variant or short(run.id)


def _how_far(run: RunSummary) -> tuple[int, int | None]:
    """Done and total of what the run is doing now; no total where it is unknown."""
    if run.progress is None or run.state not in ("starting", "running", "stopping"):
        return run.step, run.total_steps
    if run.progress.phase == "training":
        return max(run.step, run.progress.done), run.total_steps  # metrics may have told more than progress has
    return run.progress.done, run.progress.total or None


def _doing(run: RunSummary) -> str:
    if run.state in ("failed", "cancelled", "succeeded", "queued"):
        return ""
    if run.state == "retry_wait":
        return run.message or "waits before the next attempt"
    if run.progress is None:
        return ""
    unit = "steps" if run.progress.phase == "training" else "tokens" if run.progress.phase == "extracting" else ""
    done, total = _how_far(run)
    amount = f"{done:,} of {total:,} {unit}" if total and unit else ""
    return f"{run.progress.phase.replace('_', ' ')} {amount}".strip()


def _show_end(run: RunRead) -> None:
    if run.metrics:
        rows = [(user_text(name), number(value)) for name, value in sorted(run.metrics.items())]
        out().print(table({"metric": "left", "held out": "right"}, rows))
    why = f" ({run.failure_class}): {run.message}" if run.failure_class else ""
    note(f"run {run.id} {run.state} after {run.step} of {run.total_steps} steps{why}")
