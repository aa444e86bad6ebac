"""The answers of `make bench-science` as rows and numbers. Knows neither service nor pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from prolu.analysis.frontier import Better, Points, area_over_seeds, common_range, difference
from prolu.client.results import Results
from prolu.client.wire import SweepBiasRead

Rows = list[dict[str, Any]]

METRICS = (
    "l0",
    "ce_loss_score",
    "fvu",
    "ce_sae",
    "ce_clean",
    "ce_zero_ablation",
    "kl",
    "cosine",
    "shrinkage",
    "dead_fraction",
)
_MEASURES: tuple[tuple[str, Better], ...] = (("ce_loss_score", "higher"), ("fvu", "lower"))
# Pairs of families whose difference the exchange asked about, and which of its questions that is.
COMPARISONS = (
    ("prolu-ste", "relu-l1", "ProLU with the STE gradient against the first baseline"),
    ("prolu-ste", "relu-sqrt_l1", "ProLU with the STE gradient against the second baseline"),
    ("prolu-relu_like", "relu-l1", "ProLU with the ReLU-like gradient against the first baseline"),
    ("prolu-relu_like", "relu-sqrt_l1", "ProLU with the ReLU-like gradient against the second baseline"),
    ("prolu-ste", "prolu-relu_like", "the STE gradient against the ReLU-like one"),
    ("prolu_hybrid", "prolu-ste", "question 4: the hybrid against plain ProLU"),
    ("prolu-ste_bias_only", "prolu-ste", "question 5: STE on the bias only against both"),
    ("prolu-ste_input_only", "prolu-ste", "question 5: STE on the input only against both"),
    ("gated", "prolu-ste", "question 9: Gated against ProLU"),
    ("topk", "prolu-ste", "question 9: TopK against ProLU"),
    ("jumprelu", "prolu-ste", "JumpReLU against ProLU"),
)


def frontier_rows(results: Results) -> Rows:
    """Return one row per run that succeeded: family, setting (coefficient or k), seed, and the held-out metrics."""
    return [
        {"family": row.variant, "setting": row.level.value if row.level else None, "seed": row.set["training.seed"]}
        | {name: row.metrics.get(name) for name in METRICS}
        | {"fraction_negative": row.bias.get("fraction_negative"), "run_id": str(row.run_id)}
        for row in results
        if row.state == "succeeded"
    ]


def bias_rows(last_biases: Sequence[SweepBiasRead]) -> Rows:
    """Return two rows per run that succeeded: the distribution of its biases at the end, of all latents and of the alive."""
    return [
        {
            "family": row.variant,
            "setting": row.level.value if row.level else None,
            "seed": row.set["training.seed"],
            "population": population,
            "step": row.step,
            "latents": found.count,
            "fraction_negative": found.fraction_negative,
            "fraction_zero": found.fraction_zero,
            "fraction_positive": found.fraction_positive,
            **{name: getattr(found.bias, name) for name in ("mean", "std", "min", "max")},
            "quantiles": [{"probability": float(p), "value": value} for p, value in found.bias.quantiles.items()],
            "edges": found.bias.histogram.edges,
            "counts": found.bias.histogram.counts,
        }
        for row in last_biases
        if row.state == "succeeded"
        for population, found in (("all", row.statistics.all), ("alive", row.statistics.alive))
    ]


def summary(frontier: Rows, biases: Rows) -> dict[str, Any]:
    """Return the answers as numbers: areas under the frontier with their intervals over seeds, and shares of negative biases."""
    families = {name: [row for row in frontier if row["family"] == name] for name in _names(frontier)}
    low, high = common_range({name: _by_seed(rows, "fvu") for name, rows in families.items()})
    areas = {
        metric: {
            name: area_over_seeds(_by_seed(rows, metric), low=low, high=high, better=better)
            for name, rows in families.items()
        }
        for metric, better in _MEASURES
    }
    return {
        "l0_range": [low, high],
        "area": {metric: {name: asdict(area) for name, area in found.items()} for metric, found in areas.items()},
        "comparisons": [
            {"of": one, "against": other, "question": question, "metric": metric}
            | _difference(_by_seed(families[one], metric), _by_seed(families[other], metric), low, high, better)
            for one, other, question in COMPARISONS
            for metric, better in _MEASURES
            if one in families and other in families
        ],
        "fraction_negative": _negative(biases),
        "runs": len(frontier),
        "seeds": sorted({row["seed"] for row in frontier}),
    }


def write_parquet(rows: Rows, path: Path) -> None:
    """Write rows as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)


def _names(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["family"] for row in rows))


def _by_seed(rows: Rows, metric: str) -> list[Points]:
    seeds = sorted({row["seed"] for row in rows})
    return [[(row["l0"], row[metric]) for row in rows if row["seed"] == seed] for seed in seeds]


def _negative(biases: Rows) -> dict[str, list[dict[str, float]]]:
    """Share of negative biases by family and setting, the mean over seeds with its range, of all latents and of the alive."""
    found: dict[str, list[dict[str, float]]] = {}
    for family in _names(biases):
        mine = [row for row in biases if row["family"] == family]
        found[family] = [
            {"setting": setting} | {population: _shares(mine, setting, population) for population in ("all", "alive")}
            for setting in sorted({row["setting"] for row in mine})
        ]
    return found


def _shares(rows: Rows, setting: float, population: str) -> dict[str, float] | None:
    shares = [
        row["fraction_negative"]
        for row in rows
        if row["setting"] == setting and row["population"] == population and row["fraction_negative"] is not None
    ]
    return {"mean": mean(shares), "min": min(shares), "max": max(shares)} if shares else None


def _difference(
    mine: Sequence[Points], theirs: Sequence[Points], low: float, high: float, better: Better
) -> dict[str, Any]:
    """How much better one family is at equal L0, seed by seed: a seed is the same start for both."""
    found = [difference(one, other, low=low, high=high, better=better) for one, other in zip(mine, theirs, strict=True)]
    return {
        "better_by": mean(one.mean for one in found),
        "by_seed": [asdict(one) for one in found],
        "better_at_every_l0_in_every_seed": min(one.least for one in found) > 0,
        "worse_at_every_l0_in_every_seed": max(one.most for one in found) < 0,
    }
