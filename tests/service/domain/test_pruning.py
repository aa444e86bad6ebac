"""A policy keeps what its rules name, and nothing that is protected is ever lost to it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from prolu.client.wire import KeepBest
from service.domain.pruning import Held, reasons_to_keep

ONE, OTHER = UUID(int=1), UUID(int=2)


def held(number: int, step: int, *, run: UUID = ONE, epoch: int = 1, **changes: Any) -> Held:
    return Held(UUID(int=number), run, step, epoch, 10, **{"final": False, "value": None, **changes})


def kept(
    *checkpoints: Held, keep_last: int = 0, keep_final: bool = False, keep_best: KeepBest | None = None
) -> list[int]:
    reasons = reasons_to_keep(checkpoints, keep_last=keep_last, keep_final=keep_final, keep_best=keep_best)
    return [one.id.int for one in checkpoints if reasons[one.id]]


def test_the_latest_of_each_run_are_kept() -> None:
    checkpoints = [held(1, 10), held(2, 20), held(3, 30), held(4, 5, run=OTHER), held(5, 6, run=OTHER)]
    assert kept(*checkpoints, keep_last=1) == [3, 5]
    assert kept(*checkpoints, keep_last=2) == [2, 3, 4, 5]
    assert kept(*checkpoints) == []


def test_of_a_step_that_was_repeated_the_latest_attempt_counts() -> None:
    checkpoints = [held(1, 10, epoch=1), held(2, 20, epoch=1), held(3, 20, epoch=2)]
    assert kept(*checkpoints, keep_last=2) == [1, 3]


def test_the_best_are_those_of_all_runs_together() -> None:
    checkpoints = [held(1, 10, value=0.3), held(2, 20, value=0.1), held(3, 10, run=OTHER, value=0.2), held(4, 30)]
    assert kept(*checkpoints, keep_best=KeepBest(metric="fvu", count=2)) == [2, 3]
    assert kept(*checkpoints, keep_best=KeepBest(metric="l0", goal="max")) == [1]


def test_of_equals_the_later_one_is_the_best() -> None:
    assert kept(held(1, 10, value=0.5), held(2, 20, value=0.5), keep_best=KeepBest(metric="fvu")) == [2]


def test_every_reason_is_told() -> None:
    final = held(1, 10, final=True, value=1.0, protected=("pinned",))
    reasons = reasons_to_keep([final], keep_last=1, keep_final=True, keep_best=KeepBest(metric="fvu"))
    assert reasons == {final.id: ("pinned", "final", "last", "best")}


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 5), st.integers(1, 3), st.booleans(), st.booleans()), max_size=15
    ),
    st.integers(0, 3),
    st.booleans(),
)
def test_what_is_protected_stays_and_every_run_keeps_as_many_as_it_may(
    drawn: list[tuple[int, int, int, bool, bool]], keep_last: int, keep_final: bool
) -> None:
    checkpoints = [
        held(number, step, run=UUID(int=run), epoch=epoch, final=final, protected=("needed",) if needed else ())
        for number, (run, step, epoch, final, needed) in enumerate(drawn)
    ]
    stays = {*kept(*checkpoints, keep_last=keep_last, keep_final=keep_final)}
    for one in checkpoints:
        if one.protected or (one.final and keep_final):
            assert one.id.int in stays
    for run in {one.run_id for one in checkpoints}:
        steps = {one.step for one in checkpoints if one.run_id == run}
        left = {one.step for one in checkpoints if one.run_id == run and one.id.int in stays}
        assert sorted(steps)[::-1][:keep_last] == sorted(left & {*sorted(steps)[::-1][:keep_last]})[::-1]
