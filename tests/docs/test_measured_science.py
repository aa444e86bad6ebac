"""The tables of docs/measured-here.md are those of docs/measured/science.json, which is what `make bench-science` wrote."""

import json
from pathlib import Path
from typing import Any

import pytest

from prolu.spec import SweepSpec, digest_of, parse, validate
from service.domain.expansion import expand

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/measured-here.md").read_text(encoding="utf-8")
SCIENCE: dict[str, Any] = json.loads((ROOT / "docs/measured/science.json").read_text(encoding="utf-8"))


def with_range(area: dict[str, Any]) -> str:
    low, high = area["interval"]
    return f"{area['mean']:.4f} [{low:.4f}, {high:.4f}]"


def area_rows() -> list[str]:
    """The families by their area for FVU, the best first."""
    scores, unexplained = SCIENCE["area"]["ce_loss_score"], SCIENCE["area"]["fvu"]
    names = sorted(unexplained, key=lambda name: unexplained[name]["mean"])
    return [f"| {name} | {with_range(scores[name])} | {with_range(unexplained[name])} |" for name in names]


def comparison_rows() -> list[str]:
    """Each pair that the exchange asked about: what it loses less or more, and by seed the share of the L0 range where less."""
    found = {(one["of"], one["against"], one["metric"]): one for one in SCIENCE["comparisons"]}
    pairs = dict.fromkeys((of, against) for of, against, _ in found)
    return [
        f"| {of} | {against} | {told(found[of, against, 'ce_lost'])} | {told(found[of, against, 'fvu'])} |"
        for of, against in pairs
    ]


def told(comparison: dict[str, Any]) -> str:
    shares = " and ".join(f"{100 * seed['share_of_range']:.0f} %" for seed in comparison["by_seed"])
    return f"{-100 * comparison['lower_by']:+.1f} %, lower on {shares}"


def negative_rows() -> list[str]:
    """The share of negative biases by family, from the smallest coefficient (or k) to the largest."""
    return [
        f"| {family} | " + " | ".join(f"{100 * one['all']['mean']:.1f} %" for one in settings) + " |"
        for family, settings in SCIENCE["fraction_negative"].items()
    ]


@pytest.mark.parametrize("row", [*area_rows(), *comparison_rows(), *negative_rows()])
def test_the_tables_of_the_benchmark_are_what_it_wrote(row: str) -> None:
    assert row in PAGE


def test_the_benchmark_is_described_as_it_ran() -> None:
    low, high = SCIENCE["l0_range"]
    assert f"from an L0 of {low:.1f} to {high:.1f}" in PAGE
    assert f"{SCIENCE['runs']} runs" in PAGE
    assert f"{SCIENCE['seconds']['calls'] / 60:.0f} minutes" in PAGE
    assert SCIENCE["left_out"] == []


def digest_of_sweep(path: Path) -> str:
    return digest_of([point.digest for point in expand(validate(parse(path.read_text(encoding="utf-8")), SweepSpec))])


def test_the_sweep_that_was_measured_is_the_one_that_is_shipped() -> None:
    assert SCIENCE["sweep"] == digest_of_sweep(ROOT / "benchmarks/science.yaml")
