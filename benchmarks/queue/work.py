"""The runs that the benchmarks submit: an ordinary spec, each with a name of its own."""

from __future__ import annotations

from typing import Any

from prolu.spec import RunSpec, SweepSpec
from service.domain.expansion import Point, expand

_SPEC: dict[str, Any] = {
    "data": {"kind": "synthetic", "d_in": 64, "n_features": 256, "active_features": 8.0},
    "sae": {"kind": "prolu", "d_sae": 512, "estimator": {"kind": "ste"}},
    "sparsity": {"kind": "l1", "coefficient": 0.001},
    "training": {"steps": 1000, "batch_size": 1024},
}


def run_document(number: int) -> dict[str, Any]:
    """The body of a submission."""
    training = {**_SPEC["training"], "seed": number}
    return {"spec": {"name": f"run {number}", **_SPEC, "training": training}, "priority": 50}


def run_spec(number: int) -> RunSpec:
    """The same as a spec."""
    return RunSpec.model_validate(run_document(number)["spec"])


def sweep_document(count: int) -> dict[str, Any]:
    """The body of a sweep of `count` runs, below 100 or a multiple of it: coefficients times seeds, as people write them."""
    seeds = list(range(min(100, count)))
    coefficients = [round(1e-5 * (index + 1), 10) for index in range(count // len(seeds))]
    grid = {"sparsity.coefficient": coefficients}
    return {"spec": {"name": f"{count} runs", "base": _SPEC, "grid": grid, "seeds": seeds}}


def sweep_spec(count: int) -> SweepSpec:
    """The same as a spec."""
    return SweepSpec.model_validate(sweep_document(count)["spec"])


def sweep_points(count: int) -> list[Point]:
    """The runs of that sweep."""
    return expand(sweep_spec(count))
