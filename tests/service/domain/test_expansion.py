"""What a sweep means: points, names, kinds, and the sentences for those that are wrong."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from prolu.spec import Mistake, ReluSae, SpecError, SweepSpec
from service.domain.expansion import MOST_POINTS, Point, count, expand

BASE: dict[str, Any] = {
    "data": {"kind": "synthetic"},
    "sae": {"kind": "prolu", "d_sae": 64, "estimator": {"kind": "ste"}},
    "sparsity": {"kind": "l1", "coefficient": 0.001},
    "training": {"steps": 10},
}


def sweep(**changes: Any) -> SweepSpec:
    return SweepSpec.model_validate({"name": "demo", "base": copy.deepcopy(BASE), **changes})


def names(**changes: Any) -> list[str]:
    return [point.name for point in expand(sweep(**changes))]


def only(**changes: Any) -> Point:
    (point,) = expand(sweep(**changes))
    return point


def refused(**changes: Any) -> tuple[Mistake, ...]:
    with pytest.raises(SpecError) as error:
        expand(sweep(**changes))
    return error.value.mistakes


def test_a_sweep_of_nothing_is_its_base() -> None:
    point = only()
    assert (point.index, point.name, point.variant, point.set) == (0, "demo", None, {})
    assert point.spec.model_dump(exclude={"name"}) == point.spec.model_validate(BASE).model_dump(exclude={"name"})


def test_points_are_variants_times_their_grids_times_the_grid_last_path_fastest() -> None:
    variants = [
        {"name": "relu-l1", "set": {"sae.kind": "relu"}, "grid": {"sparsity.coefficient": [1.0, 2.0]}},
        {"name": "prolu-ste", "grid": {"sparsity.coefficient": [3.0]}},
    ]
    assert names(variants=variants, grid={"training.steps": [5, 6]}) == [
        "demo/relu-l1/coefficient=1.0,steps=5",
        "demo/relu-l1/coefficient=1.0,steps=6",
        "demo/relu-l1/coefficient=2.0,steps=5",
        "demo/relu-l1/coefficient=2.0,steps=6",
        "demo/prolu-ste/coefficient=3.0,steps=5",
        "demo/prolu-ste/coefficient=3.0,steps=6",
    ]


def test_the_demo_sweep_is_eight_runs() -> None:
    variants = [
        {"name": "relu-l1", "set": {"sae.kind": "relu"}},
        {"name": "relu-sqrt_l1", "set": {"sae.kind": "relu", "sparsity.kind": "sqrt_l1"}},
        {"name": "prolu-relu_like", "set": {"sae.estimator.kind": "relu_like"}},
        {"name": "prolu-ste"},
    ]
    points = expand(sweep(variants=variants, grid={"sparsity.coefficient": [0.001, 0.002]}))
    assert points[-1].name == "demo/prolu-ste/coefficient=0.002"
    assert [(point.spec.sae.kind, point.spec.sparsity.kind) for point in points[::2]] == [
        ("relu", "l1"),
        ("relu", "sqrt_l1"),
        ("prolu", "l1"),
        ("prolu", "l1"),
    ]
    assert len({point.digest for point in points}) == 8
    assert all(point.digest == point.spec.digest() for point in points)


def test_a_point_remembers_all_that_it_sets() -> None:
    point = only(variants=[{"name": "a", "set": {"sae.d_sae": 32}}], grid={"training.seed": [3]})
    assert point.variant == "a"
    assert point.set == {"sae.d_sae": 32, "training.seed": 3}
    assert (point.spec.sae.d_sae, point.spec.training.seed) == (32, 3)


def test_every_point_is_repeated_over_the_seeds_beside_each_other() -> None:
    points = expand(sweep(grid={"sparsity.coefficient": [0.1, 0.2]}, seeds=[7, 3]))
    assert [point.name for point in points] == [
        "demo/coefficient=0.1,seed=7",
        "demo/coefficient=0.1,seed=3",
        "demo/coefficient=0.2,seed=7",
        "demo/coefficient=0.2,seed=3",
    ]
    assert [point.spec.training.seed for point in points] == [7, 3, 7, 3]
    assert points[1].set == {"sparsity.coefficient": 0.1, "training.seed": 3}
    assert points[1].locate(("training", "seed")) == ("seeds", 1)


def test_seeds_repeat_the_base_alone_and_the_alternatives_too() -> None:
    assert names(seeds=[0, 1]) == ["demo/seed=0", "demo/seed=1"]
    assert names(variants=[{"name": "a"}, {"name": "b", "set": {"sae.d_sae": 8}}], seeds=[5]) == [
        "demo/a/seed=5",
        "demo/b/seed=5",
    ]
    assert names(grid={"data.seed": [1]}, seeds=[2]) == ["demo/data.seed=1,training.seed=2"]


@pytest.mark.parametrize(
    ("changes", "pointer", "where"),
    [
        ({"grid": {"training.seed": [1]}}, "/grid/training.seed", "grid"),
        ({"variants": [{"name": "a", "set": {"training.seed": 1}}]}, "/variants/0/set/training.seed", "variants.0.set"),
        (
            {"variants": [{"name": "a"}, {"name": "b", "grid": {"training.seed": [1]}}]},
            "/variants/1/grid/training.seed",
            "variants.1.grid",
        ),
        ({"grid": {"training": [{"steps": 3}, {"steps": 3, "seed": 1}]}}, "/grid/training", "grid"),
        (
            {"variants": [{"name": "a", "set": {"training": {"steps": 3, "seed": 1}}}]},
            "/variants/0/set/training",
            "variants.0.set",
        ),
    ],
)
def test_seeds_beside_another_list_of_seeds_are_refused(changes: dict[str, Any], pointer: str, where: str) -> None:
    (mistake,) = refused(seeds=[0, 1], **changes)
    assert mistake.pointer == pointer
    assert mistake.sentence == (
        f"{where} sets training.seed, which seeds repeats every point over; keep one of the two."
    )


def test_expanding_leaves_the_base_alone() -> None:
    spec = sweep(variants=[{"name": "a", "set": {"sae.kind": "relu", "sae.d_sae": 3}}])
    expand(spec)
    assert spec.base == BASE


def test_choosing_a_kind_leaves_out_what_only_other_kinds_have() -> None:
    relu = only(variants=[{"name": "a", "set": {"sae.kind": "relu"}}]).spec
    assert relu.sae == ReluSae(d_sae=64)


def test_a_base_that_leaves_the_kind_to_the_variants_may_carry_fields_of_each() -> None:
    base = copy.deepcopy(BASE)
    del base["sae"]["kind"]
    assert only(base=base, variants=[{"name": "a", "set": {"sae.kind": "relu"}}]).spec.sae.kind == "relu"


def test_a_kind_within_a_kind_is_chosen_the_same_way() -> None:
    base = copy.deepcopy(BASE)
    base["data"] = {
        "kind": "language_model",
        "model": "gpt2",
        "block": 6,
        "tokens": 100,
        "corpus": {"kind": "jsonl", "path": "a", "field": "body"},
    }
    point = only(base=base, variants=[{"name": "a", "set": {"data.corpus.kind": "text"}}])
    assert point.spec.model_dump()["data"]["corpus"] == {"kind": "text", "path": "a"}


def test_a_field_that_a_point_sets_itself_is_never_left_out() -> None:
    variants = [{"name": "a", "set": {"sae.kind": "relu", "sae.estimator.kind": "relu_like"}}]
    (mistake,) = refused(variants=variants)
    assert "sae.estimator is not a field when sae.kind is 'relu'" in mistake.sentence


def test_a_misspelt_field_of_the_base_is_not_hidden_by_a_change_of_kind() -> None:
    base = copy.deepcopy(BASE)
    base["sae"]["estimater"] = {"kind": "ste"}
    (mistake,) = refused(base=base, variants=[{"name": "a", "set": {"sae.kind": "relu"}}])
    assert mistake.pointer == "/base/sae/estimater"


def test_a_whole_mapping_can_be_set_and_refined() -> None:
    variants = [{"name": "a", "set": {"sae": {"kind": "relu", "d_sae": 8}}, "grid": {"sae.d_sae": [16, 32]}}]
    points = expand(sweep(variants=variants))
    assert [point.spec.sae.d_sae for point in points] == [16, 32]
    assert all(point.spec.sae.kind == "relu" for point in points)


def test_labels_are_as_short_as_they_can_be_told_apart() -> None:
    grid = {"data.seed": [1], "training.seed": [2], "sae.estimator.kind": ["relu_like"], "sae.d_sae": [8]}
    assert names(grid=grid) == ["demo/data.seed=1,training.seed=2,estimator.kind=relu_like,d_sae=8"]


def test_a_name_that_would_be_too_long_is_cut_and_numbered() -> None:
    first, second = names(name="n" * 195, grid={"training.seed": [1, 2]})
    assert len(first) <= 200
    assert first.endswith("… #0")
    assert second.endswith("… #1")


def test_a_sweep_without_a_name_takes_that_of_its_base() -> None:
    assert names(name="", base={**BASE, "name": "mine"}, grid={"training.seed": [1]}) == ["mine/seed=1"]
    assert names(name="", grid={"training.seed": [1]}) == ["seed=1"]


def test_a_bad_point_names_its_index_its_settings_and_the_entry_of_the_grid() -> None:
    negative, text = refused(grid={"sparsity.coefficient": [0.1, -1.0, "x"]})
    assert negative.pointer == "/grid/sparsity.coefficient/1"
    assert negative.sentence == (
        "Point 1 (sparsity.coefficient=-1.0): sparsity.coefficient must be at least 0; got -1.0."
    )
    assert text.pointer == "/grid/sparsity.coefficient/2"


def test_a_mistake_of_a_variant_points_into_the_variant() -> None:
    (mistake,) = refused(variants=[{"name": "a"}, {"name": "b", "set": {"sae.d_sae": 0}}])
    assert mistake.pointer == "/variants/1/set/sae.d_sae"
    (mistake,) = refused(variants=[{"name": "a", "grid": {"sae": [{"kind": "relu", "d_sae": -1}]}}])
    assert mistake.pointer == "/variants/0/grid/sae/0/d_sae"


def test_a_mistake_of_the_base_is_said_once() -> None:
    (mistake,) = refused(base={**BASE, "training": {}}, grid={"training.seed": list(range(100))})
    assert mistake.pointer == "/base/training/steps"


def test_a_misspelt_path_gets_a_suggestion() -> None:
    (mistake,) = refused(grid={"sparsity.coeficient": [0.1]})
    assert mistake.pointer == "/grid/sparsity.coeficient/0"
    assert "did you mean 'coefficient'?" in mistake.sentence


def test_a_path_through_something_that_is_no_mapping_is_refused() -> None:
    (mistake,) = refused(grid={"training.steps.x": [1]})
    assert mistake.pointer == "/grid/training.steps.x/0"
    assert "training.steps is not a mapping" in mistake.sentence


def test_a_path_that_is_set_twice_is_refused() -> None:
    variants = [{"name": "a", "set": {"training.seed": 1}, "grid": {"training.steps": [1]}}]
    (mistake,) = refused(variants=variants, grid={"training.seed": [2]})
    assert mistake.pointer == "/variants/0/set/training.seed"
    assert mistake.sentence == "variants.0.set sets training.seed, and so does grid; keep one of the two."


def test_two_alternatives_of_one_name_are_refused() -> None:
    (mistake,) = refused(variants=[{"name": "a"}, {"name": "a", "set": {"training.seed": 1}}])
    assert mistake.pointer == "/variants/1/name"


def test_two_points_that_are_one_run_are_refused() -> None:
    (mistake,) = refused(grid={"training.seed": [1, 2, 1]})
    assert (
        mistake.sentence
        == "Point 2 (training.seed=1) and Point 0 (training.seed=1) are the same run; remove one of the two."
    )


def test_names_are_not_for_sweeps_to_vary() -> None:
    (mistake,) = refused(grid={"name": ["a", "b"]})
    assert mistake.sentence == "grid sets name, which no sweep varies; remove it."


def test_too_many_points_are_counted_and_not_made() -> None:
    grid = {"training.seed": list(range(1000)), "data.seed": list(range(1000)), "training.steps": list(range(1, 1001))}
    assert count(sweep(grid=grid)) == 10**9
    (mistake,) = refused(grid=grid)
    assert f"at most {MOST_POINTS}" in mistake.sentence
    assert count(sweep(seeds=list(range(1000)), grid={"sae.d_sae": list(range(1, 12))})) == 11_000
    (mistake,) = refused(seeds=list(range(1000)), grid={"sae.d_sae": list(range(1, 12))})
    assert f"at most {MOST_POINTS}" in mistake.sentence


def test_a_place_of_the_run_is_found_in_the_sweep() -> None:
    point = only(variants=[{"name": "a", "set": {"sae.d_sae": 3}}], grid={"training.optimizer": [{"kind": "adam"}]})
    assert point.locate(("sae", "d_sae")) == ("variants", 0, "set", "sae.d_sae")
    assert point.locate(("training", "optimizer", "beta1")) == ("grid", "training.optimizer", 0, "beta1")
    assert point.locate(("data", "kind")) == ("base", "data", "kind")
