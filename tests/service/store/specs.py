"""Small specs and reports for tests of the store."""

from __future__ import annotations

from typing import Any

from prolu.spec import RunSpec, SweepSpec
from prolu.spec.report import (
    BiasPopulation,
    BiasSnapshot,
    BiasStatistics,
    CheckpointFile,
    CheckpointWritten,
    Distribution,
    Histogram,
    MetricPoint,
)

DOCUMENT: dict[str, Any] = {
    "data": {"kind": "synthetic", "d_in": 8, "n_features": 16, "active_features": 2.0},
    "sae": {"kind": "prolu", "d_sae": 32},
    "sparsity": {"kind": "l1", "coefficient": 0.001},
    "training": {"steps": 100},
}


def run_spec(**changes: Any) -> RunSpec:
    return RunSpec.model_validate({**DOCUMENT, **changes})


def sweep_spec(values: int = 3, **changes: Any) -> SweepSpec:
    grid = {"sparsity.coefficient": [0.001 * (index + 1) for index in range(values)]}
    return SweepSpec.model_validate({"name": "demo", "base": DOCUMENT, "grid": grid, **changes})


def metric(step: int, value: float = 1.0) -> MetricPoint:
    return MetricPoint(split="train", step=step, tokens=step * 10, values={"l0": value})


def checkpoint(step: int, *, epoch: int = 1, final: bool = False) -> CheckpointWritten:
    return CheckpointWritten(
        step=step,
        tokens=step * 10,
        path=f"runs/r/e{epoch}/step-{step}",
        files=[CheckpointFile(name="sae.safetensors", bytes=5, sha256="0" * 64)],
        final=final,
    )


def snapshot(step: int, mean: float = -0.5) -> BiasSnapshot:
    distribution = Distribution(
        mean=mean,
        std=0.1,
        min=-1.0,
        max=0.25,
        quantiles={"0.5": -0.5},
        histogram=Histogram(edges=[-1.0, 0.0, 0.25], counts=[30, 2]),
    )
    population = BiasPopulation(
        count=32,
        fraction_negative=0.9375,
        fraction_zero=0.0,
        fraction_positive=0.0625,
        bias=distribution,
        threshold=distribution,
    )
    statistics = BiasStatistics(all=population, alive=population, dead=population)
    return BiasSnapshot(step=step, tokens=step * 10, statistics=statistics)
