"""Small specs and reports for tests of the store."""

from __future__ import annotations

from typing import Any

from prolu.spec import RunSpec, SweepSpec
from prolu.spec.report import (
    Alignment,
    BiasChange,
    BiasPopulation,
    BiasSnapshot,
    BiasStatistics,
    CheckpointFile,
    CheckpointWritten,
    DiagnosticsMeasured,
    Distribution,
    Estimate,
    Histogram,
    JointHistogram,
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


def full_snapshot(step: int) -> BiasSnapshot:
    """A snapshot with everything that may be told of the biases."""
    plain = snapshot(step)
    joint = JointHistogram(x_edges=[-1.0, 0.0, 0.25], y_edges=[-8.0, -4.0, 0.0], counts=[[10, 20], [2, 0]])
    change = BiasChange(since_step=step - 10, sign_flips=3, drift_mean=-0.01, drift_rms=0.02)
    more = {
        "change": change,
        "density": Histogram(edges=[-8.0, -4.0, 0.0], counts=[12, 20]),
        "bias_by_frequency": joint,
        "bias_by_decoder_norm": joint,
    }
    return plain.model_copy(update={"statistics": plain.statistics.model_copy(update=more)})


def diagnostics(step: int, cosine: float = 0.25) -> DiagnosticsMeasured:
    found = [
        Alignment(
            estimator='{"kind":"ste"}',
            objective=objective,
            bandwidth=bandwidth,
            group="b_enc",
            cosine=Estimate(mean=cosine, standard_error=0.01, n=16),
        )
        for objective, bandwidth in (("l0", 0.1), ("reconstruction", None))
    ]
    return DiagnosticsMeasured(step=step, gradient_alignment=found)
