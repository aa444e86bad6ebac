"""The answers of bench-science: worked by hand, and whole even where runs are missing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import running
from running import read_sweep
from science_tables import summary

Row = dict[str, Any]


def run(family: str, l0: float, fvu: float | None, seed: int | None = 0, score: float | None = None) -> Row:
    """A run whose cross-entropy score, unless given, loses a tenth of what it loses of the variance."""
    lost = None if fvu is None else fvu / 10
    given = score if score is not None else None if lost is None else 1 - lost
    return {
        "family": family,
        "setting": 1 / l0 if l0 else None,
        "seed": seed,
        "l0": l0,
        "fvu": fvu,
        "ce_loss_score": given,
        "shrinkage": 0.9,
        "dead_fraction": 0.0,
    }


def two_families(factor: float = 0.5, seeds: tuple[int, ...] = (0, 1)) -> list[Row]:
    """Two families on one curve fvu = 1 / sqrt(l0), of which one loses `factor` of the other, at other l0."""
    return [
        *(run("prolu-ste", l0, factor / math.sqrt(l0), seed) for seed in seeds for l0 in (8, 20, 60, 200)),
        *(run("relu-l1", l0, 1 / math.sqrt(l0), seed) for seed in seeds for l0 in (10, 30, 40, 150)),
    ]


def compared(rows: list[Row], metric: str = "fvu") -> dict[str, Any]:
    (found,) = [one for one in summary(rows, [])["comparisons"] if one["metric"] == metric]
    assert (found["of"], found["against"]) == ("prolu-ste", "relu-l1")
    return found


@pytest.mark.parametrize("metric", ["fvu", "ce_lost"])
def test_a_family_that_loses_half_is_told_so_wherever_its_runs_lie(metric: str) -> None:
    found = compared(two_families(), metric)
    assert found["l0_range"] == [10, 150]
    assert found["lower_by"] == pytest.approx(0.5)
    for seed, one in zip((0, 1), found["by_seed"], strict=True):
        assert one == pytest.approx(
            {"seed": seed, "lower_by": 0.5, "lower_by_at_least": 0.5, "lower_by_at_most": 0.5, "share_of_range": 1}
        )
    assert found["lower_at_every_l0_in_every_seed"]
    assert not found["higher_at_every_l0_in_every_seed"]


def test_a_family_that_loses_more_is_lower_by_less_than_nothing() -> None:
    found = compared(two_families(factor=1.25))
    assert found["lower_by"] == pytest.approx(-0.25)
    assert found["higher_at_every_l0_in_every_seed"]


def test_seeds_are_paired_by_their_number_and_not_by_their_place() -> None:
    rows = [row for row in two_families() if (row["family"], row["seed"]) != ("relu-l1", 0)]
    assert [one["seed"] for one in compared(rows)["by_seed"]] == [1]
    apart = [row for row in rows if (row["family"], row["seed"]) != ("prolu-ste", 1)]
    assert compared(apart) == compared(apart) | {"lower_by": None, "why_not": "no seed has runs of both"}


def test_families_without_a_common_range_are_not_compared_and_say_why() -> None:
    rows = [run("prolu-ste", l0, 0.1) for l0 in (8, 20)] + [run("relu-l1", l0, 0.1) for l0 in (30, 90)]
    found = summary(rows, [])
    assert (found["area"], found["l0_range"]) == (None, None)
    assert "No range of l0 is common" in found["why_no_area"]
    assert all(one["lower_by"] is None and "No range" in one["why_not"] for one in found["comparisons"])


@pytest.mark.parametrize(
    "broken",
    [
        run("relu-l1", 0.0, 0.9, seed=1),
        run("relu-l1", 50.0, None, seed=1),
        run("relu-l1", 50.0, math.nan, seed=1, score=0.5),
    ],
)
def test_a_run_without_a_place_is_left_out_and_named(broken: Row) -> None:
    found, whole = summary([*two_families(), broken], []), summary(two_families(), [])
    assert found["area"] == whole["area"]
    assert found["comparisons"] == whole["comparisons"]
    assert any("relu-l1" in line and "seed 1" in line for line in found["left_out"])
    assert whole["left_out"] == []


def test_a_better_score_than_the_model_itself_has_no_logarithm_and_breaks_nothing() -> None:
    rows = [*two_families(), run("relu-l1", 50.0, 0.1, seed=1, score=1.001)]
    assert summary(rows, [])["left_out"] == []
    assert compared(rows, "ce_lost") == compared(two_families(), "ce_lost")


def test_areas_are_means_over_the_range_that_all_cover_and_settings_are_told() -> None:
    rows = [run("a", l0, 0.25, seed) for seed in (0, 1) for l0 in (10, 100)] + [run("b", l0, 0.5) for l0 in (20, 200)]
    found = summary(rows, [])
    assert found["l0_range"] == [20, 100]
    assert found["area"]["fvu"]["a"] == {
        "mean": 0.25,
        "standard_error": 0.0,
        "interval": (0.25, 0.25),
        "areas": (0.25, 0.25),
    }
    assert (found["area"]["fvu"]["b"]["mean"], found["area"]["fvu"]["b"]["interval"]) == (0.5, None)
    assert [one["l0"]["mean"] for one in found["settings"]["a"]] == [100, 10]


def test_shares_of_negative_biases_are_told_by_setting_and_population() -> None:
    biases = [
        {"family": "a", "setting": 0.1, "seed": seed, "population": population, "fraction_negative": share}
        for seed, population, share in ((0, "all", 0.5), (1, "all", 1.0), (0, "alive", 0.25), (1, "alive", None))
    ]
    (found,) = summary([], biases)["fraction_negative"]["a"]
    assert found["all"] == {"mean": 0.75, "min": 0.5, "max": 1.0}
    assert found["alive"] == {"mean": 0.25, "min": 0.25, "max": 0.25}


def test_the_answers_of_no_runs_can_be_written() -> None:
    assert json.loads(json.dumps(summary([], []), allow_nan=False))["area"] is None


def test_families_are_compared_under_one_condition_and_with_themselves_without_it() -> None:
    rows = two_families()
    longer = [row | {"family": f"{row['family']}, 4 x longer", "fvu": row["fvu"] * 0.9} for row in rows]
    found = [one for one in summary([*rows, *longer], [])["comparisons"] if one["metric"] == "fvu"]
    assert [(one["of"], one["against"], round(one["lower_by"], 6)) for one in found] == [
        ("prolu-ste", "relu-l1", 0.5),
        ("prolu-ste, 4 x longer", "relu-l1, 4 x longer", 0.5),
        ("prolu-ste, 4 x longer", "prolu-ste", 0.1),
        ("relu-l1, 4 x longer", "relu-l1", 0.1),
    ]


def test_every_variant_of_the_penalty_sweep_is_compared() -> None:
    names = [variant.name for variant in read_sweep(Path(running.__file__).with_name("penalty.yaml")).variants]
    rows = [run(name, l0, 1 / math.sqrt(l0)) for name in names for l0 in (20, 80)]
    found = summary(rows, [])["comparisons"]
    assert {name for one in found for name in (one["of"], one["against"])} == set(names)
