"""Run the small run of these tests and pick from what it reports."""

from collections.abc import Callable
from typing import Any

from prolu.data.synthetic import SyntheticSource
from prolu.spec.report import (
    Failed,
    Progress,
    Report,
    Stopped,
    Succeeded,
)
from prolu.spec.run import RunSpec
from prolu.training import CheckpointStore, train


def never() -> None:
    return None


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(
    spec: RunSpec, source: SyntheticSource, store: CheckpointStore, **options: Any
) -> tuple[Succeeded | Failed | Stopped, list[Report]]:
    reports: list[Report] = []
    given = {"should_stop": never, "sink": reports.append, "clock": Clock()} | options
    return train(spec, source, checkpoints=store, **given), reports


def stop_at(count: int) -> Callable[[], Any]:
    """Says stop when it is asked for the `count`th time, from 0, and is never asked again.

    It is asked before every step, so that many steps are done then if nothing was evaluated before.
    """
    asked = iter(range(count + 1))
    return lambda: "pause" if next(asked) == count else None


def steps_of(reports: list[Report], kind: type[Report], **like: Any) -> list[int]:
    return [
        report.step
        for report in reports
        if isinstance(report, kind) and all(getattr(report, name) == value for name, value in like.items())
    ]


def without_progress(reports: list[Report]) -> list[Report]:
    return [report for report in reports if not isinstance(report, Progress)]
