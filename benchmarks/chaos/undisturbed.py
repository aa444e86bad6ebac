"""What every run comes to when nobody disturbs it: the same training, in processes of our own, without the service.

A run's digest names what it trains, so weights are looked up by it.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from prolu.spec import RunSpec
from prolu.spec.report import CheckpointWritten, MetricPoint, Report, Succeeded

WEIGHTS = "sae.safetensors"
_SECONDS = 1_800
_AS_NICE_AS_RAY = 15


@dataclass(frozen=True)
class Undisturbed:
    """What a run leaves behind."""

    weights: str
    """sha256 of the final file of weights."""
    metrics: Mapping[tuple[str, int], Mapping[str, float]]
    """Every point of the series, by split and step."""


def undisturbed(specs: Iterable[RunSpec], *, processes: int) -> dict[str, Undisturbed]:
    """Train every spec to its end; what came of it by digest."""
    different = {spec.digest(): spec.model_dump_json() for spec in specs}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, initializer=os.nice, initargs=(_AS_NICE_AS_RAY,)) as pool:
        results = pool.map(_train, different.values(), timeout=_SECONDS)
        return dict(zip(different, results, strict=True))


def _train(written: str) -> Undisturbed:
    # Imported here: torch takes seconds, and only these processes need it.
    import torch

    from prolu.data.opening import open_source
    from prolu.data.places import Places
    from prolu.training import CheckpointStore, train

    spec = RunSpec.model_validate_json(written)
    torch.set_num_threads(spec.resources.cpus)
    reports: list[Report] = []
    with tempfile.TemporaryDirectory(prefix="prolu-undisturbed-") as folder:
        places = Places.of(Path(folder), [], hub_online=False)
        source = open_source(spec.data, places=places, notify=reports.append, should_stop=lambda: False)
        outcome = train(
            spec,
            source,
            checkpoints=CheckpointStore(folder, "run"),
            sink=reports.append,
            should_stop=lambda: None,
        )
    if not isinstance(outcome, Succeeded):
        raise RuntimeError(f"The undisturbed run {spec.name!r} did not succeed: {outcome}")
    (final,) = [report for report in reports if isinstance(report, CheckpointWritten) and report.final]
    (weights,) = [file.sha256 for file in final.files if file.name == WEIGHTS]
    points: dict[tuple[str, int], Mapping[str, float]] = {
        (one.split, one.step): one.values for one in reports if isinstance(one, MetricPoint)
    }
    return Undisturbed(weights, points)
