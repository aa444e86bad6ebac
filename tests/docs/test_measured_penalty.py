"""The account of the penalty in docs/measured-here.md is that of penalty.json, which is what `make bench-penalty` wrote."""

import json
from pathlib import Path
from typing import Any

import pytest

from prolu.spec import SweepSpec, digest_of, parse, validate
from service.domain.expansion import expand

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/measured-here.md").read_text(encoding="utf-8")
MEASURED: dict[str, Any] = json.loads((ROOT / "docs/measured/penalty.json").read_text(encoding="utf-8"))
LOSSES = {(one["of"], one["against"], one["metric"]): one["lower_by"] for one in MEASURED["comparisons"]}


def comparison_rows() -> list[str]:
    return [
        f"| {of} | {against} | {told(of, against, 'ce_lost')} | {told(of, against, 'fvu')} |"
        for of, against in dict.fromkeys((of, against) for of, against, _ in LOSSES)
    ]


def told(of: str, against: str, metric: str) -> str:
    return f"{-100 * LOSSES[of, against, metric]:+.1f} %"


@pytest.mark.parametrize("row", comparison_rows())
def test_the_table_of_the_penalty_is_what_was_measured(row: str) -> None:
    assert row in PAGE


def test_the_shrinkage_that_is_quoted_was_measured() -> None:
    for family, settings in MEASURED["settings"].items():
        if "," not in family:
            low, high = (one["shrinkage"]["mean"] for one in settings)
            assert f"{family} {low:.3f} and {high:.3f}" in " ".join(PAGE.split())


def test_with_the_square_root_penalty_most_biases_of_prolu_are_positive() -> None:
    assert all(one["all"]["mean"] < 0.5 for one in MEASURED["fraction_negative"]["prolu-ste-sqrt_l1"])
    assert "most of its biases are positive" in " ".join(PAGE.split())


def test_every_run_of_the_sweep_that_is_shipped_was_measured() -> None:
    points = expand(validate(parse((ROOT / "benchmarks/penalty.yaml").read_text(encoding="utf-8")), SweepSpec))
    assert MEASURED["sweep"] == digest_of([point.digest for point in points])
    assert MEASURED["runs"] == len(points)
    assert MEASURED["left_out"] == []
    assert f"{len(points)} runs" in PAGE
