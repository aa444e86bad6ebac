"""Bars of what is waited for, in a terminal or a notebook: what runs, how far it is, and how sparse it has become.

    prolu          3 succeeded, 2 running, 5 queued, 1 failed   ━━━━━━━━━╺━━━━━   61 %   0:12:40
    prolu-l1-0.01  running    40,000 of 60,000 steps            ━━━━━━━━━━━╺━━━   67 %   0:03:10   L0 41.2  FVU 0.183

A bar for the whole, and one for each run that is worked on, at most `MOST_BARS`. Knows nothing of the service.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from prolu.client.harmless import harmless
from prolu.client.wire import RunState, RunSummary

MOST_BARS = 8
_LIVE: tuple[RunState, ...] = ("starting", "running", "stopping")
_COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow"} | dict.fromkeys(_LIVE, "cyan")
# In which order states are counted; others follow.
_ORDER: tuple[RunState, ...] = ("succeeded", "running", "queued", "failed")
# Runs of a sweep end together, so that less than this would make the estimate jump.
_SPEED_OVER_SECONDS = 300.0

Measured = Mapping[UUID, Mapping[str, float]]


class Bars:
    """The bars of one run, or of several and the whole of them."""

    def __init__(self, *, get_time: Callable[[], float] | None = None) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            TextColumn("{task.fields[state]}"),
            TextColumn("[dim]{task.fields[doing]}[/]"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[measured]}"),
            expand=True,
            auto_refresh=False,
            get_time=get_time,
            speed_estimate_period=_SPEED_OVER_SECONDS,
        )
        self._whole: TaskID | None = None
        self._tasks: dict[UUID, tuple[TaskID, str]] = {}

    @staticmethod
    def chosen(runs: Sequence[RunSummary]) -> list[RunSummary]:
        """The runs that get a bar of their own: the only one; or those that are worked on, the first few."""
        if len(runs) == 1:
            return [*runs]
        return [run for run in runs if run.state in _LIVE][:MOST_BARS]

    def show(self, runs: Sequence[RunSummary], measured: Measured) -> None:
        """Bring every bar up to date; `measured` are the latest metrics of the runs with a bar, as far as they are known."""
        if len(runs) != 1:
            self._show_whole(runs)
        chosen = self.chosen(runs)
        for gone in self._tasks.keys() - {run.id for run in chosen}:
            self.progress.remove_task(self._tasks.pop(gone)[0])
        for run in chosen:
            self._show_run(run, run.metrics or measured.get(run.id) or {})

    def _show_whole(self, runs: Sequence[RunSummary]) -> None:
        done = sum(run.total_steps if run.finished_at is not None else run.step for run in runs)
        total = sum(run.total_steps for run in runs)
        counts = Counter[str](run.state for run in runs)
        names = dict.fromkeys([*_ORDER, *sorted(counts)])
        state = ", ".join(f"[{_colour(name)}]{counts[name]} {name}[/]" for name in names if counts[name])
        hidden = sum(run.state in _LIVE for run in runs) - MOST_BARS
        doing = f"{hidden} that run have no bar" if hidden > 0 else ""
        if self._whole is None:
            self._whole = self.progress.add_task(
                f"[bold]{len(runs)} runs[/]", completed=done, total=total, state="", doing="", measured=""
            )
        self.progress.update(
            self._whole, description=f"[bold]{len(runs)} runs[/]", completed=done, total=total, state=state, doing=doing
        )

    def _show_run(self, run: RunSummary, measured: Mapping[str, float]) -> None:
        done, total = how_far(run)
        phase = run.progress.phase if run.progress is not None else ""
        words: dict[str, Any] = {
            "description": _safe(label(run)),
            "state": f"[{_colour(run.state)}]{run.state}[/]",
            "doing": _safe(doing(run)),
            "measured": "  ".join(
                f"{shown} {measured[name]:.4g}" for name, shown in (("l0", "L0"), ("fvu", "FVU")) if name in measured
            ),
        }
        if run.id in self._tasks and self._tasks[run.id][1] != phase:  # another thing is counted, at another speed
            self.progress.remove_task(self._tasks.pop(run.id)[0])
        if run.id not in self._tasks:
            self._tasks[run.id] = self.progress.add_task(completed=done, total=total, **words), phase
        self.progress.update(self._tasks[run.id][0], completed=done, total=total, **words)


def label(run: RunSummary) -> str:
    """What a run is called: its name, its variant, or the end of its id."""
    return run.name or run.variant or str(run.id)[-8:]


def how_far(run: RunSummary) -> tuple[int, int | None]:
    """Done and total of what the run is doing now; no total where it is unknown."""
    if run.progress is None or run.state not in _LIVE:
        return run.step, run.total_steps
    if run.progress.phase == "training":
        return max(run.step, run.progress.done), run.total_steps  # metrics may have told more than progress has
    return run.progress.done, run.progress.total or None


def doing(run: RunSummary) -> str:
    """What a run is doing, in a few words; nothing of one that has ended or waits in the queue."""
    if run.state in ("failed", "cancelled", "succeeded", "queued"):
        return ""
    if run.state == "retry_wait":
        return run.message or "waits before the next attempt"
    if run.progress is None:
        return ""
    unit = "steps" if run.progress.phase == "training" else "tokens" if run.progress.phase == "extracting" else ""
    done, total = how_far(run)
    amount = f"{done:,} of {total:,} {unit}" if total and unit else ""
    return f"{run.progress.phase.replace('_', ' ')} {amount}".strip()


def _colour(state: str) -> str:
    return _COLOURS.get(state, "default")


def _safe(text: str) -> str:
    return escape(harmless(text))
