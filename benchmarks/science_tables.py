"""The answers of `make bench-science` as rows and numbers. Knows neither service nor pictures.

A run that has no place on a frontier (no L0 above 0, a metric that is missing or not finite) is left out and named. What cannot
be compared, for want of runs, is null, with the reason beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from prolu.analysis.frontier import (
    FrontierDifference,
    Points,
    UncoveredRange,
    area_over_seeds,
    common_range,
    difference,
)
from prolu.client.results import Results
from prolu.client.wire import SweepBiasRead
from prolu.spec.pareto import Goal

Rows = list[dict[str, Any]]
BySeed = dict[int | None, Points]

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
_PER_SETTING = ("l0", "ce_loss_score", "fvu", "shrinkage", "dead_fraction")
_MEASURES: tuple[tuple[str, Goal], ...] = (("ce_loss_score", "higher"), ("fvu", "lower"))
# Logarithms of what an autoencoder loses: the share of the variance, and that of the cross-entropy which ablation would cost.
_LOSSES: dict[str, Callable[[dict[str, Any]], float | None]] = {
    "fvu": lambda row: _log(row["fvu"]),
    "ce_lost": lambda row: None if row["ce_loss_score"] is None else _log(1 - row["ce_loss_score"]),
}
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
    ("prolu-ste-sqrt_l1", "prolu-ste", "the penalty: ProLU with the square-root penalty against L1"),
    ("prolu-ste-sqrt_l1", "relu-sqrt_l1", "ProLU against ReLU, both with the square-root penalty"),
)
# The conditions of penalty.yaml: families are compared within each, and each family with itself as it is elsewhere.
CONDITIONS = {"4 x longer": "the length of the runs", "lr 1e-3": "the learning rate", "lr 9e-3": "the learning rate"}


def frontier_rows(results: Results) -> Rows:
    """Return one row per run that succeeded: family, setting (coefficient or k), seed, and the held-out metrics."""
    return [
        {"family": row.variant, "setting": row.level.value if row.level else None, "seed": row.set.get("training.seed")}
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
            "seed": row.set.get("training.seed"),
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
    """Return the answers as numbers: areas under the frontiers, what a family loses against another, shares of negative biases.

    The areas are means of the score over log L0 on the range that every seed of every family covers, and intervals over seeds.
    """
    found: dict[str, Any] = {"runs": len(frontier), "seeds": _different(row["seed"] for row in frontier)}
    found["left_out"] = [
        f"{row['family']} at {row['setting']}, seed {row['seed']}: {name} is {row[name]}, L0 {row['l0']}"
        for row in frontier
        for name, _ in _MEASURES
        if not _has_a_place(row["l0"], row[name])
    ]
    families = {name: [row for row in frontier if row["family"] == name] for name in _names(frontier)}
    found |= _areas(families)
    found["comparisons"] = [
        {"of": one, "against": other, "question": question} | told
        for one, other, question in _pairs()
        if one in families and other in families
        for told in compared(families[one], families[other])
    ]
    found["settings"] = {name: _settings(rows) for name, rows in families.items()}
    found["fraction_negative"] = {name: _negative(biases, name) for name in _names(biases)}
    return found


def _pairs() -> list[tuple[str, str, str]]:
    """The pairs of COMPARISONS, the same under each condition, and each family of theirs under it against itself without."""
    families = dict.fromkeys(family for one, other, _ in COMPARISONS for family in (one, other))
    return [
        *COMPARISONS,
        *(
            (f"{one}, {named}", f"{other}, {named}", question)
            for named in CONDITIONS
            for one, other, question in COMPARISONS
        ),
        *((f"{family}, {named}", family, varied) for named, varied in CONDITIONS.items() for family in families),
    ]


def compared(mine: Rows, theirs: Rows) -> Rows:
    """How much less one family loses than another at equal L0, by metric; every row of `frontier_rows` is one run."""
    return [
        {"metric": metric} | _compared(_by_seed(mine, loss), _by_seed(theirs, loss)) for metric, loss in _LOSSES.items()
    ]


def write_parquet(rows: Rows, path: Path) -> None:
    """Write rows as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)


def _areas(families: dict[str, Rows]) -> dict[str, Any]:
    points = {
        metric: {name: [*_by_seed(rows, _named(metric)).values()] for name, rows in families.items()}
        for metric, _ in _MEASURES
    }
    try:
        ranges = [common_range(found) for found in points.values()]
        low, high = max(low for low, _ in ranges), min(high for _, high in ranges)
        areas = {
            metric: {
                name: asdict(area_over_seeds(seeds, low=low, high=high, better=better))
                for name, seeds in points[metric].items()
            }
            for metric, better in _MEASURES
        }
    except ValueError as error:  # among them UncoveredRange
        return {"l0_range": None, "area": None, "why_no_area": str(error)}
    return {"l0_range": [low, high], "area": areas}


def _compared(mine: BySeed, theirs: BySeed) -> dict[str, Any]:
    """How much less one family loses than another at equal L0, on the range that both cover, seed by seed.

    Losses are compared as ratios: log loss is nearly straight in log L0, so little depends on where the runs happen to lie.
    `lower_by` is 1 - exp(mean over log L0 of log(mine / theirs)): 0.1 for a loss that is 10 % lower.
    """
    seeds = [seed for seed in mine if seed in theirs]
    try:
        low, high = common_range({"one": [mine[seed] for seed in seeds], "other": [theirs[seed] for seed in seeds]})
        by_seed = [difference(mine[seed], theirs[seed], low=low, high=high, better="lower") for seed in seeds]
    except UncoveredRange as error:
        return {"lower_by": None, "why_not": str(error)}
    except ValueError:
        return {"lower_by": None, "why_not": "no seed has runs of both"}
    return {
        "l0_range": [low, high],
        "lower_by": _share(mean(one.mean for one in by_seed)),
        "by_seed": [{"seed": seed} | _shares(one) for seed, one in zip(seeds, by_seed, strict=True)],
        "lower_at_every_l0_in_every_seed": min(one.least for one in by_seed) > 0,
        "higher_at_every_l0_in_every_seed": max(one.most for one in by_seed) < 0,
    }


def _shares(found: FrontierDifference) -> dict[str, float]:
    return {
        "lower_by": _share(found.mean),
        "lower_by_at_least": _share(found.least),
        "lower_by_at_most": _share(found.most),
        "share_of_range": found.share_better,
    }


def _share(log_ratio: float) -> float:
    return -math.expm1(-log_ratio)


def _by_seed(rows: Rows, value_of: Callable[[dict[str, Any]], float | None]) -> BySeed:
    """The points of each seed that have a place: L0 and what `value_of` says."""
    found: dict[int | None, list[tuple[float, float]]] = {}
    for row in rows:
        value = value_of(row)
        if value is not None and _has_a_place(row["l0"], value):
            found.setdefault(row["seed"], []).append((row["l0"], value))
    return dict(found)


def _log(loss: float | None) -> float | None:
    return math.log(loss) if loss is not None and loss > 0 else None


def _named(metric: str) -> Callable[[dict[str, Any]], float | None]:
    return lambda row: row[metric]


def _has_a_place(l0: float | None, value: float | None) -> bool:
    return l0 is not None and value is not None and l0 > 0 and math.isfinite(l0) and math.isfinite(value)


def _settings(rows: Rows) -> list[dict[str, Any]]:
    """The metrics of a family by setting, over its seeds."""
    return [
        {"setting": setting}
        | {name: _over_seeds(row[name] for row in rows if row["setting"] == setting) for name in _PER_SETTING}
        for setting in _different(row["setting"] for row in rows)
    ]


def _negative(biases: Rows, family: str) -> list[dict[str, Any]]:
    """Share of negative biases of a family by setting, of all latents and of the alive."""
    rows = [row for row in biases if row["family"] == family]
    return [
        {"setting": setting}
        | {
            population: _over_seeds(
                row["fraction_negative"]
                for row in rows
                if row["setting"] == setting and row["population"] == population
            )
            for population in ("all", "alive")
        }
        for setting in _different(row["setting"] for row in rows)
    ]


def _over_seeds(values: Iterable[float | None]) -> dict[str, float] | None:
    """Mean and range; None of nothing."""
    known = [value for value in values if value is not None]
    return {"mean": mean(known), "min": min(known), "max": max(known)} if known else None


def _names(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["family"] for row in rows))


def _different(values: Iterable[Any]) -> list[Any]:
    return sorted(set(values), key=lambda value: (value is not None, value))
