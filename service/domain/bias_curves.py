"""The biases of many runs against a field: numbers with their spread over runs, and histograms on common bins. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from prolu.client.wire import BiasCurve, BiasCurvePoint, Spread
from prolu.spec.binning import common_edges, rebin
from prolu.spec.report import Distribution

Value = bool | int | float | str | None


class Seen(NamedTuple):
    """The last look at the biases of a run."""

    run_id: UUID
    family: str | None
    x: Value
    numbers: Mapping[str, float]
    biases: Distribution | None = None
    """Their distribution, where histograms are wanted."""


def curves(runs: Sequence[Seen], *, bins: int) -> tuple[list[float], list[BiasCurve]]:
    """The common edges, and a curve for each family with a point for each value; without bins neither edges nor shares."""
    edges = common_edges((run.biases for run in runs if run.biases is not None), bins) if bins and runs else []
    groups: dict[str | None, dict[Value, list[Seen]]] = {}
    for run in runs:
        groups.setdefault(run.family, {}).setdefault(run.x, []).append(run)
    return edges, [
        BiasCurve(
            family=family,
            points=[
                _point(x, members, edges) for x, members in sorted(by_value.items(), key=lambda item: _rank(item[0]))
            ],
        )
        for family, by_value in sorted(groups.items(), key=lambda item: item[0] or "")
    ]


def spread(values: Sequence[float]) -> Spread:
    """Mean, sample standard deviation (divisor n - 1) and range."""
    return Spread(
        mean=math.fsum(values) / len(values),
        std=statistics.stdev(values) if len(values) > 1 else None,
        low=min(values),
        high=max(values),
        n=len(values),
    )


def _point(x: Value, runs: Sequence[Seen], edges: Sequence[float]) -> BiasCurvePoint:
    names = dict.fromkeys(name for run in runs for name in run.numbers)
    return BiasCurvePoint(
        x=x,
        run_ids=[run.run_id for run in runs],
        numbers={name: spread([run.numbers[name] for run in runs if name in run.numbers]) for name in names},
        shares=shares([run.biases for run in runs if run.biases is not None], edges) if edges else [],
    )


def shares(distributions: Sequence[Distribution], edges: Sequence[float]) -> list[float]:
    """The share of latents in each bin, as a mean: each run counts alike, however wide; sets without a latent do not count."""
    filled = [(one, sum(one.histogram.counts)) for one in distributions if sum(one.histogram.counts)]
    binned = [[count / total for count in rebin(one, edges)] for one, total in filled]
    return [math.fsum(column) / len(binned) for column in zip(*binned, strict=True)]


def _rank(x: Value) -> tuple[int, float, str]:
    """Nothing first, then flags and numbers by size, then texts."""
    if x is None:
        return 0, 0.0, ""
    return (2, 0.0, x) if isinstance(x, str) else (1, float(x), "")
