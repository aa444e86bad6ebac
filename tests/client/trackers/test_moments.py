"""When steps were done: worked by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from prolu.client.trackers.moments import when_of

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def run(**progress: Any) -> Any:
    return SimpleNamespace(created_at=BEGAN, progress=SimpleNamespace(**progress) if progress else None)


def attempt(started: float, finished: float | None, last_step: int, resumed: int | None = None) -> Any:
    ended = None if finished is None else at(finished)
    return SimpleNamespace(started_at=at(started), finished_at=ended, last_step=last_step, resumed_from_step=resumed)


def test_steps_lie_evenly_between_what_is_known() -> None:
    when = when_of(run(), [attempt(10, 40, 100)], [SimpleNamespace(created_at=at(20), step=50)])
    assert [when(step) for step in (0, 25, 50, 75, 100, 200)] == [at(10), at(15), at(20), at(30), at(40), at(40)]


def test_steps_that_were_done_twice_have_their_later_time() -> None:
    tries = [attempt(0, 80, 80), attempt(100, 150, 100, resumed=50)]
    when = when_of(run(), tries, [SimpleNamespace(created_at=at(50), step=50)])
    assert [when(step) for step in (25, 50, 75, 100)] == [at(25), at(100), at(125), at(150)]


def test_of_a_live_attempt_the_progress_counts_and_of_none_the_submission() -> None:
    live = run(phase="training", done=10, updated_at=at(30))
    assert when_of(live, [attempt(10, None, 0)], [])(5) == at(20)
    assert when_of(run(phase="preparing", done=10, updated_at=at(30)), [], [])(5) == at(0)
