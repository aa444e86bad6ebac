"""Frontiers of families, hand-worked, and what may be drawn against what."""

from __future__ import annotations

from uuid import UUID

import pytest

from service.domain.axes import GOALS, Unusable, axis, division
from service.domain.filters.columns import METRICS
from service.domain.frontiers import Front, Measured, Placed, Point, averaged, fronts, is_measured, singly


def run(number: int, family: str | None, x: float, y: float, repeats: str = "", seed: int | None = None) -> Measured:
    return Measured(UUID(int=number), family, x, y, repeats, seed)


def number_of(placed: Placed) -> int:
    run_id = placed.point.runs[0].run_id
    assert isinstance(run_id, UUID)
    return run_id.int


def numbers(front: Front, *, dominated: bool) -> list[int]:
    return [number_of(one) for one in front.points if one.dominated == dominated]


RUNS = [
    run(1, "relu", 10, 0.5),
    run(2, "relu", 20, 0.4),
    run(3, "relu", 30, 0.45),
    run(4, "topk", 20, 0.3),
    run(5, "topk", 15, 0.6),
]


def test_each_family_has_its_own_frontier_from_the_best_x_on_and_the_beaten_come_after() -> None:
    relu, topk = fronts(singly(RUNS), x="lower", y="lower")
    assert (relu.family, numbers(relu, dominated=False), numbers(relu, dominated=True)) == ("relu", [1, 2], [3])
    assert (topk.family, numbers(topk, dominated=False), numbers(topk, dominated=True)) == ("topk", [5, 4], [])


def test_a_point_says_whether_any_family_betters_it() -> None:
    placed = [one for front in fronts(singly(RUNS), x="lower", y="lower") for one in front.points]
    assert [number_of(one) for one in placed if one.overall] == [1, 4]


def test_where_higher_is_better_of_both_the_other_end_is_the_frontier() -> None:
    relu, topk = fronts(singly(RUNS), x="higher", y="higher")
    assert numbers(relu, dominated=False) == [3, 1]
    assert numbers(topk, dominated=False) == [4, 5]


def test_points_that_are_equal_in_both_stand_together() -> None:
    (front,) = fronts(singly([run(1, None, 1, 1), run(2, None, 1, 1), run(3, None, 2, 1)]), x="lower", y="lower")
    assert (numbers(front, dominated=False), numbers(front, dominated=True)) == ([1, 2], [3])


def test_repetitions_are_one_point_at_their_means() -> None:
    points = averaged([run(1, "a", 10, 0.25, "r", 0), run(2, "a", 14, 0.5, "r", 1), run(3, "a", 10, 0.5, "other", 0)])
    assert [(point.x, point.y, len(point.runs)) for point in points] == [(12.0, 0.375, 2), (10.0, 0.5, 1)]


def test_the_same_work_done_twice_is_no_repetition_and_the_later_counts() -> None:
    (point,) = averaged([run(1, "a", 10, 0.25, "r", 0), run(2, "a", 20, 0.5, "r", 0)])
    assert point == Point((run(2, "a", 20, 0.5, "r", 0),), 20.0, 0.5)


@pytest.mark.parametrize(("x", "y"), [(None, 1.0), (1.0, None), (float("nan"), 1.0), (1.0, float("inf"))])
def test_a_run_without_a_finite_number_is_not_measured(x: float | None, y: float | None) -> None:
    assert not is_measured(x, y)
    assert is_measured(0.0, -1.0)


def test_what_is_better_is_known_of_metrics_that_have_a_better_side() -> None:
    assert (axis("x", "metrics.l0", None).goal, axis("y", "metrics.ce_loss_score", None).goal) == ("lower", "higher")
    assert axis("y", "metrics.l0", "higher").goal == "higher"
    undecided = {name for name in METRICS if f"metrics.{name}" not in GOALS}
    assert undecided == {"shrinkage", "ce_clean", "ce_zero_ablation"}


@pytest.mark.parametrize(
    ("path", "field", "said"),
    [
        ("metrics.shrinkage", "x_goal", "lower or higher"),
        ("metrics.lo", "x", "did you mean metrics"),
        ("spec.sae.kind", "x", "is no number but a text"),
    ],
)
def test_what_is_no_axis_is_refused_with_what_is(path: str, field: str, said: str) -> None:
    with pytest.raises(Unusable, match=said) as refused:
        axis("x", path, None)
    assert refused.value.field == field


def test_a_family_is_called_by_its_kind_and_its_gradient() -> None:
    family = division("by", "family")
    assert family.name_of(("prolu", "ste", None)) == "prolu ste"
    assert family.name_of(("relu", None, "exact")) == "relu"
    assert family.name_of(("relu", None, "ste")) == "relu ste"
    assert division("by", "spec.training.seed").name_of((0,)) == "0"
    assert division("by", "none").name_of(()) is None
    with pytest.raises(Unusable, match="no single value"):
        division("by", "spec.sae")
