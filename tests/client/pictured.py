"""What pictures are drawn of in tests: statistics, results and diagnostics, small and made by hand."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prolu.client.plots import BiasSeries
from prolu.client.wire import (
    BiasSnapshotRead,
    ResultRow,
    SeedEstimate,
    SeedGroupRead,
    SparsityLevel,
    SweepBiasRead,
)
from prolu.spec.report import (
    Alignment,
    BiasChange,
    BiasPopulation,
    BiasStatistics,
    Distribution,
    Estimate,
    Histogram,
    JointHistogram,
)

NOBODY = UUID(int=0)


def level(value: float, kind: str = "coefficient") -> SparsityLevel:
    return SparsityLevel.model_validate({"kind": kind, "value": value})


def statistics(low: float, high: float, **more: Any) -> BiasStatistics:
    """Biases spread evenly from low to high, 90 % of them said to be negative."""
    middle = (low + high) / 2
    values = Distribution(
        mean=middle,
        std=1.0,
        min=low,
        max=high,
        quantiles={"0.01": low, "0.05": low, "0.5": middle, "0.95": high, "0.99": high},
        histogram=Histogram(
            edges=[low, middle, high] if high > low else [low - 0.5, low + 0.5],
            counts=[10, 10] if high > low else [20],
        ),
    )
    population = BiasPopulation(
        count=20, fraction_negative=0.9, fraction_zero=0.0, fraction_positive=0.1, bias=values, threshold=values
    )
    return BiasStatistics(all=population, alive=population, dead=population, **more)


def snapshot(step: int, low: float, high: float, **more: Any) -> BiasSnapshotRead:
    return BiasSnapshotRead(run_id=NOBODY, step=step, tokens=step, statistics=statistics(low, high, **more))


def joint(columns: int) -> JointHistogram:
    """Latents in so many columns."""
    counts = [[10 if index < columns else 0 for index in range(4)] for _ in range(2)]
    return JointHistogram(x_edges=[-1.0, 0.0, 1.0], y_edges=[-8.0, -6.0, -4.0, -2.0, 0.0], counts=counts)


def series(variant: str, of: SparsityLevel | None, steps: int = 5) -> BiasSeries:
    return BiasSeries(variant, of, [snapshot(10 * step, -0.1 * step, 0.02 * step) for step in range(steps)])


def full_series() -> BiasSeries:
    """A run with everything that is ever told of biases."""
    change = BiasChange(since_step=0, sign_flips=2, drift_mean=-0.1, drift_rms=0.2)
    told: dict[str, Any] = {"change": change, "bias_by_frequency": joint(4), "bias_by_decoder_norm": joint(3)}
    return BiasSeries("prolu", level(1e-3), [snapshot(0, -0.1, 0.1), snapshot(10, -0.5, 0.1, **told)])


def result(variant: str | None, metrics: dict[str, float], of: SparsityLevel | None = None, **more: Any) -> ResultRow:
    fields: dict[str, Any] = {
        "run_id": NOBODY,
        "point": 0,
        "name": "",
        "variant": variant,
        "state": "succeeded",
        "set": {},
        "step": 1,
        "metrics": metrics,
        "bias": {},
        "level": of,
        **more,
    }
    return ResultRow.model_validate(fields)


def estimate(mean: float, error: float | None = None) -> SeedEstimate:
    """An estimate of two repetitions, or of one."""
    interval = None if error is None else (mean - error, mean + error)
    return SeedEstimate(mean=mean, standard_error=error, interval=interval, n=1 if error is None else 2)


def group(
    variant: str | None, metrics: dict[str, SeedEstimate], of: SparsityLevel | None = None, **more: Any
) -> SeedGroupRead:
    fields: dict[str, Any] = {
        "point": 0,
        "variant": variant,
        "set": {},
        "level": of,
        "seeds": [0, 1],
        "run_ids": [NOBODY, UUID(int=1)],
        "states": {"succeeded": 2},
        "metrics": metrics,
        "bias": {},
        **more,
    }
    return SeedGroupRead.model_validate(fields)


def last_biases(variant: str | None, of: SparsityLevel | None, low: float, point: int = 0) -> SweepBiasRead:
    return SweepBiasRead(
        run_id=UUID(int=point),
        point=point,
        name="",
        variant=variant,
        state="succeeded",
        set={},
        level=of,
        step=100,
        tokens=100,
        statistics=statistics(low, low + 1),
    )


def alignments() -> list[Alignment]:
    """Two estimators, two parts of the loss, two groups; the reconstruction is smoothed for b_enc alone."""
    names = ['{"kind":"relu_like"}', '{"kind":"ste"}']
    smooth = [("l0", 0.01), ("l0", 0.1)]
    asked = {"W_enc": [*smooth, ("reconstruction", None)], "b_enc": [*smooth, ("reconstruction", 0.1)]}
    return [
        Alignment.model_validate(
            {
                "estimator": name,
                "part": part,
                "objective": objective,
                "bandwidth": bandwidth,
                "group": group_name,
                "cosine": Estimate(mean=0.25 + 0.1 * index, standard_error=0.01, n=16),
            }
        )
        for index, name in enumerate(names)
        for part in ("loss", "penalty")
        for group_name, objectives in asked.items()
        for objective, bandwidth in objectives
    ]
