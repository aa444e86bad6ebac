"""Groups of two variants are paired by their settings, and their runs by seed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest

from prolu.client.wire import SparsityLevel
from service.domain.counterparts import counterparts, paired_differences
from service.domain.repeats import by_seed


@dataclass(frozen=True)
class Run:
    point: int
    variant: str | None = None
    set: dict[str, Any] = field(default_factory=dict)
    level: SparsityLevel | None = None

    @property
    def id(self) -> UUID:
        return UUID(int=self.point)


def runs(*rows: tuple[str, dict[str, Any]]) -> list[Run]:
    return [
        Run(point, variant, {name.replace("__", "."): value for name, value in settings.items()})
        for point, (variant, settings) in enumerate(rows)
    ]


def at_levels(rows: list[Run], *levels: tuple[str, float]) -> list[Run]:
    """The same runs, each with the kind and the value of what decides its sparsity."""
    return [
        replace(run, level=SparsityLevel.model_validate({"kind": kind, "value": value}))
        for run, (kind, value) in zip(rows, levels, strict=True)
    ]


def pairs(rows: list[Run], against: str) -> dict[int, int]:
    found = counterparts(by_seed(rows), against, level_of=lambda group: group.runs[0].level)
    return {point: group.point for point, group in found.items()}


def test_points_of_the_same_grid_are_counterparts_whatever_their_variants_set() -> None:
    rows = runs(
        *(("plain", {"sae__kind": "prolu", "coefficient": value}) for value in (1, 2)),
        *(("hybrid", {"sae__kind": "prolu_hybrid", "sae__estimator": "ste", "coefficient": value}) for value in (2, 1)),
    )
    assert pairs(rows, "plain") == {2: 1, 3: 0}
    assert pairs(rows, "hybrid") == {0: 3, 1: 2}


def test_variants_without_a_grid_have_one_point_each() -> None:
    assert pairs(runs(("both", {"e": "ste"}), ("bias", {"e": "b"}), ("input", {"e": "i"})), "both") == {1: 0, 2: 0}


def test_points_whose_settings_the_other_variant_has_not_tried_have_no_counterpart() -> None:
    rows = runs(
        *(("l1", {"coefficient": value}) for value in (1, 2)),
        *(("gated", {"coefficient": value}) for value in (2, 3)),
        *(("topk", {"k": value}) for value in (1, 2)),
    )
    assert pairs(rows, "l1") == {2: 1}


def test_a_shared_setting_that_neither_varies_tells_nothing() -> None:
    rows = runs(("a", {"shared": 1, "x": 5}), ("b", {"shared": 2, "x": 5}))
    assert pairs(rows, "a") == {1: 0}


def test_variants_that_were_each_tried_at_one_level_of_their_own_have_no_counterparts() -> None:
    rows = runs(("ste", {"sparsity__coefficient": 1.2e-3}), ("relu_like", {"sparsity__coefficient": 2e-3}))
    assert pairs(at_levels(rows, ("coefficient", 1.2e-3), ("coefficient", 2e-3)), "ste") == {}
    assert pairs(at_levels(rows, ("coefficient", 20), ("k", 20)), "ste") == {}


def test_a_level_counts_whether_a_variant_sets_it_or_leaves_it_to_the_base() -> None:
    rows = runs(*(("set", {"sparsity__coefficient": value}) for value in (1e-3, 2e-3)), ("left", {"sae__kind": "relu"}))
    levels = [("coefficient", 1e-3), ("coefficient", 2e-3), ("coefficient", 2e-3)]
    assert pairs(at_levels(rows, *levels), "set") == {2: 1}
    assert pairs(at_levels(rows, *levels), "left") == {1: 2}


def test_under_a_controller_the_target_is_the_level_and_a_varied_start_still_tells() -> None:
    rows = runs(("a", {"sparsity__coefficient": 1}), ("b", {"sparsity__coefficient": 2}))
    assert pairs(at_levels(rows, *[("target_l0", 20)] * 2), "a") == {1: 0}
    rows = runs(*((name, {"sparsity__coefficient": start}) for name in "ab" for start in (1, 2)))
    assert pairs(at_levels(rows, *[("target_l0", 20)] * 4), "a") == {2: 0, 3: 1}


def test_numbers_are_equal_as_numbers_and_to_nothing_else() -> None:
    rows = runs(
        *(("a", {"x": value, "y": {"z": [2.0]}}) for value in (1, 2**53)),
        *(("b", {"x": value, "y": {"z": [2]}}) for value in (1.0, True, "1", 2**53 + 1)),
    )
    assert pairs(rows, "a") == {2: 0}


def test_differences_are_taken_seed_by_seed_over_the_seeds_of_both() -> None:
    rows = runs(
        *(("a", {"training__seed": seed}) for seed in (0, 1, 2)),
        *(("b", {"training__seed": seed}) for seed in (2, 1, 0)),
    )
    one, two = by_seed(rows)
    numbers: dict[int, dict[str, float]] = {
        0: {"fvu": 0.1, "kl": 9.0},
        1: {"fvu": 0.2},
        3: {"fvu": 7.0},
        4: {"fvu": 0.7},
        5: {"fvu": 0.2},
    }
    found = paired_differences(two, one, {UUID(int=point): values for point, values in numbers.items()})
    assert set(found) == {"fvu"}
    assert found["fvu"].n == 2
    assert found["fvu"].mean == pytest.approx((0.1 + 0.5) / 2)
    assert found["fvu"].standard_error == pytest.approx(0.2)


def test_runs_without_seeds_are_one_pair() -> None:
    one, two = by_seed(runs(("a", {}), ("b", {})))
    numbers = {UUID(int=0): {"l0": 3.0}, UUID(int=1): {"l0": 5.0}}
    found = paired_differences(two, one, numbers)["l0"]
    assert (found.mean, found.standard_error, found.n) == (2.0, None, 1)


def test_where_one_side_has_no_numbers_there_is_no_difference() -> None:
    one, two = by_seed(runs(("a", {}), ("b", {})))
    assert paired_differences(two, one, {UUID(int=0): {"l0": 3.0}}) == {}
