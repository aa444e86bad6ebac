"""Draws: the same for ever, within their bounds, and untouched by those that come later."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prolu.spec import Choice, Distribution, IntegerBetween, LogUniform, SpecError, SweepSpec, Uniform, validate
from service.domain.expansion import expand
from service.domain.expansion.drawing import draw

BASE: dict[str, Any] = {
    "data": {"kind": "synthetic"},
    "sae": {"kind": "prolu", "d_sae": 64},
    "sparsity": {"kind": "l1", "coefficient": 0.001},
    "training": {"steps": 10},
}
RATE = {"kind": "log_uniform", "low": 1e-4, "high": 1e-2}


def settings(count: int = 5, seed: int = 0, **changes: Any) -> list[dict[str, Any]]:
    space = changes.pop("space", {"sparsity.coefficient": RATE})
    document = {"base": BASE, "random": {"space": space, "count": count, "seed": seed}, **changes}
    return [dict(point.set) for point in expand(validate(document, SweepSpec))]


@pytest.mark.parametrize(
    ("distribution", "values"),
    [
        (Uniform(low=0, high=1), [0.052377, 0.987314, 0.735084]),
        (LogUniform(low=1e-4, high=1e-2), [0.000127278, 0.00943252, 0.00295236]),
        (IntegerBetween(low=10, high=30, step=5), [10, 30, 25]),
        (Choice(values=["a", "b", "c"]), ["a", "c", "c"]),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_a_draw_is_what_it_was_when_this_was_written(distribution: Distribution, values: list[Any]) -> None:
    assert [draw(distribution, seed=7, number=number, path="sae.k") for number in range(3)] == values


@given(seed=st.integers(0, 2**63 - 1), number=st.integers(0, 10**6), path=st.sampled_from(["a", "sae.k"]))
def test_a_draw_lies_within_its_bounds(seed: int, number: int, path: str) -> None:
    def drawn(distribution: Distribution) -> Any:
        return draw(distribution, seed=seed, number=number, path=path)

    assert 0.1 <= drawn(Uniform(low=0.1, high=0.1000001)) <= 0.1000001
    assert 3e-7 <= drawn(LogUniform(low=3e-7, high=5)) <= 5
    assert drawn(IntegerBetween(low=-4, high=8, step=3)) in (-4, -1, 2, 5, 8)
    assert drawn(Choice(values=[None, {"kind": "relu"}])) in (None, {"kind": "relu"})


def test_draws_spread_over_the_whole_of_what_is_possible() -> None:
    draws = [draw(Uniform(low=0, high=1), seed=0, number=number, path="a") for number in range(2_000)]
    assert sum(draws) / 2_000 == pytest.approx(0.5, abs=0.02)
    tenths = [sum(tenth <= 10 * value < tenth + 1 for value in draws) for tenth in range(10)]
    assert min(tenths) > 150


def test_more_draws_and_more_paths_leave_earlier_ones_as_they_were() -> None:
    five, nine = settings(5), settings(9)
    assert nine[:5] == five
    more = settings(5, space={"sparsity.coefficient": RATE, "training.seed": {"kind": "integer", "low": 0, "high": 99}})
    assert [point["sparsity.coefficient"] for point in more] == [point["sparsity.coefficient"] for point in five]


def test_another_seed_makes_other_draws() -> None:
    assert settings(seed=1) != settings(seed=2)


def test_a_draw_that_repeats_an_earlier_one_is_passed_over_for_the_next() -> None:
    sizes = {"training.batch_size": {"kind": "choice", "values": [256, 512, 1024]}}
    assert sorted(point["training.batch_size"] for point in settings(3, space=sizes)) == [256, 512, 1024]
    assert settings(2, space=sizes) == settings(3, space=sizes)[:2]
    with pytest.raises(SpecError, match=r"random\.count is 4, and after 3 different draws .*; lower it to 3"):
        settings(4, space=sizes)


def test_every_alternative_gets_the_same_draws_so_that_they_compare() -> None:
    variants = [{"name": "prolu"}, {"name": "relu", "set": {"sae.kind": "relu"}}]
    drawn = [point["sparsity.coefficient"] for point in settings(3, variants=variants)]
    assert drawn[:3] == drawn[3:]


def test_a_condition_on_another_draw_decides_which_paths_a_point_has() -> None:
    space = {
        "sae.k": {"kind": "choice", "values": [4, 8, 16], "when": {"sae.kind": "topk"}},
        "sae.kind": {"kind": "choice", "values": ["prolu", "topk"]},
        "sparsity": {"kind": "choice", "values": [{"kind": "none"}], "when": {"sae.kind": "topk"}},
        "sparsity.coefficient": {**RATE, "when": {"sae.kind": "prolu"}},
    }
    points = settings(12, space=space)
    topk = [point for point in points if point["sae.kind"] == "topk"]
    assert 0 < len(topk) <= 3
    assert all(set(point) == {"sae.kind", "sae.k", "sparsity"} for point in topk)
    assert all(set(point) == {"sae.kind", "sparsity.coefficient"} for point in points if point not in topk)
