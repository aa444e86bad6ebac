"""Dimensions that hold only where another place has a value, and points that are written out."""

from __future__ import annotations

from typing import Any

import pytest

from prolu.spec import Mistake, SpecError, SweepSpec, validate
from service.domain.expansion import count, expand

BASE: dict[str, Any] = {
    "data": {"kind": "synthetic"},
    "sae": {"kind": "prolu", "d_sae": 64},
    "sparsity": {"kind": "l1", "coefficient": 0.001},
    "training": {"steps": 10},
}
ONLY_TOPK = {"sae.kind": "topk"}
KINDS: dict[str, Any] = {
    "sae.kind": ["prolu", "topk"],
    "sparsity.kind": {"kind": "values", "values": ["none"], "when": ONLY_TOPK},
}


def sweep(**changes: Any) -> SweepSpec:
    return validate({"name": "s", "base": BASE, **changes}, SweepSpec)


def names(**changes: Any) -> list[str]:
    return [point.name for point in expand(sweep(**changes))]


def refused(**changes: Any) -> Mistake:
    with pytest.raises(SpecError) as error:
        expand(sweep(**changes))
    (mistake,) = error.value.mistakes
    return mistake


def test_a_dimension_is_combined_only_where_its_condition_holds() -> None:
    grid = {"sae.k": {"kind": "geometric", "start": 4, "factor": 2, "count": 2, "when": ONLY_TOPK}, **KINDS}
    assert names(grid=grid) == [
        "s/sae.kind=prolu",
        "s/sae.kind=topk,k=4,sparsity.kind=none",
        "s/sae.kind=topk,k=8,sparsity.kind=none",
    ]
    assert count(sweep(grid=grid)) == 3


def test_a_condition_may_ask_for_one_of_several_values_and_of_the_base() -> None:
    grid = {
        "training.steps": [5, 6, 7],
        "training.seed": {"kind": "values", "values": [1, 2], "when": {"training.steps": [5, 6], "sae.d_sae": 64}},
    }
    assert names(grid=grid) == [
        "s/steps=5,seed=1",
        "s/steps=5,seed=2",
        "s/steps=6,seed=1",
        "s/steps=6,seed=2",
        "s/steps=7",
    ]


def test_a_condition_sees_what_a_variant_sets_and_into_whole_mappings() -> None:
    grid = {"sae.k": {"kind": "values", "values": [4, 8], "when": ONLY_TOPK}}
    topk = {"name": "topk", "set": {"sae": {"kind": "topk", "d_sae": 64}, "sparsity": {"kind": "none"}}}
    assert names(variants=[{"name": "prolu"}, topk], grid=grid) == ["s/prolu", "s/topk/k=4", "s/topk/k=8"]


def test_true_is_not_one() -> None:
    when = {"training.compile": 1}
    grid = {
        "training.compile": [True, False],
        "training.seed": {"kind": "values", "values": [1], "when": when},
    }
    assert "training.compile never has" in refused(grid=grid).sentence


@pytest.mark.parametrize(
    ("grid", "path", "sentence"),
    [
        (
            {"sae.k": {"kind": "values", "values": [4], "when": {"sae.kin": "topk"}}},
            "grid.sae.k.when.sae.kin",
            "names sae.kin, which neither the base nor the sweep sets",
        ),
        (
            {"sae.k": {"kind": "values", "values": [4], "when": {"sae.kind": "topq"}}},
            "grid.sae.k.when",
            "grid.sae.k holds in no point: sae.kind never has what grid.sae.k.when asks",
        ),
        (
            {
                "training.steps": {"kind": "values", "values": [4], "when": {"sae.d_sae": 4}},
                "sae.d_sae": {"kind": "values", "values": [4], "when": {"training.steps": 4}},
            },
            "grid.training.steps.when",
            "wait for each other",
        ),
    ],
)
def test_a_condition_that_cannot_be_met_is_refused(grid: dict[str, Any], path: str, sentence: str) -> None:
    mistake = refused(grid=grid)
    assert mistake.path == path
    assert sentence in mistake.sentence


def test_points_set_together_what_they_say_and_are_combined_with_the_rest() -> None:
    points = [{"sae.d_sae": 32, "training.steps": 5}, {"sae.d_sae": 128}]
    assert names(points=points, seeds=[0, 1]) == [
        "s/d_sae=32,steps=5,seed=0",
        "s/d_sae=32,steps=5,seed=1",
        "s/d_sae=128,seed=0",
        "s/d_sae=128,seed=1",
    ]


def test_a_wrong_value_of_a_point_or_of_a_series_is_found_where_it_was_written() -> None:
    assert refused(points=[{}, {"sae.d_sae": "x"}]).pointer == "/points/1/sae.d_sae"
    assert refused(grid={"sae.d_sae": {"kind": "values", "values": ["x"]}}).pointer == "/grid/sae.d_sae/values/0"
    series = {"kind": "geometric", "start": 1.5, "factor": 2, "count": 3}
    assert refused(grid={"sae.d_sae": series}).pointer == "/grid/sae.d_sae"
    draws = {"space": {"sae.d_sae": {"kind": "uniform", "low": 1, "high": 9}}, "count": 2}
    assert refused(random=draws).pointer == "/random/space/sae.d_sae"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"grid": {"sae.d_sae": [1]}, "points": [{}, {"sae.d_sae": 2}]}, "/points/1/sae.d_sae"),
        (
            {
                "points": [{"sae.d_sae": 2}],
                "random": {"space": {"sae.d_sae": {"kind": "choice", "values": [1]}}, "count": 1},
            },
            "/random/space/sae.d_sae",
        ),
        ({"points": [{"training": {"seed": 1}}], "seeds": [1]}, "/points/0/training"),
    ],
)
def test_a_path_is_set_in_one_way_only(changes: dict[str, Any], pointer: str) -> None:
    assert refused(**changes).pointer == pointer


def test_a_sweep_with_conditions_is_counted_as_it_is_and_not_at_its_worst() -> None:
    def rare(value: int) -> dict[str, Any]:
        long = {"kind": "range", "start": 1, "stop": 200, "when": {"sae.d_sae": value}}
        return {"sae.d_sae": [64, 4], "training.seed": long, "data.seed": {**long, "when": {"training.seed": 7}}}

    assert count(sweep(grid=rare(4))) == 1 + 199 + 200
    assert len(expand(sweep(grid=rare(4)))) == 400
    endless = rare(4) | {"data.seed": {"kind": "range", "start": 1, "stop": 200}}
    assert "has more than 10000 points" in refused(grid=endless).sentence


def test_early_stopping_by_evaluations_that_nobody_makes_is_refused() -> None:
    rule = {"kind": "asha", "metric": "fvu", "goal": "minimize", "min_steps": 5}
    mistake = refused(early_stopping=rule)
    assert mistake.pointer == "/early_stopping/split"
    assert "set training.evaluate_every_steps in the base, or judge split train" in mistake.sentence
    evaluated = {**BASE, "training": {"steps": 10, "evaluate_every_steps": 5}}
    assert len(expand(sweep(base=evaluated, early_stopping=rule))) == 1
    assert len(expand(sweep(early_stopping={**rule, "split": "train"}))) == 1
