"""What every run comes to when nobody disturbs it: the same training, in processes of our own, without the service.

The ranks of a gang are threads of one process here, which exchange by gloo as ever.

A run's digest names what it trains, so weights are looked up by it.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prolu.spec import RunSpec
from prolu.spec.report import CheckpointWritten, MetricPoint, Report, Succeeded

if TYPE_CHECKING:  # torch takes seconds, and only the processes that train need it
    from prolu.models.ranks import Ranks

WEIGHTS = "sae.safetensors"
_SECONDS = 1_800
_AS_NICE_AS_RAY = 15
_HOST = "127.0.0.1"
_PATIENCE_SECONDS = 120.0


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
    import torch

    from prolu.models.ranks import ALONE
    from prolu.training.gang import Gang, find_store, open_store

    spec = RunSpec.model_validate_json(written)
    torch.set_num_threads(spec.resources.cpus)
    count = spec.resources.ranks
    with tempfile.TemporaryDirectory(prefix="prolu-undisturbed-") as folder:
        if count == 1:
            return _train_as(ALONE, spec, Path(folder))
        store = open_store(_HOST)

        def one(rank: int) -> tuple[Undisturbed, Gang]:
            own = store if rank == 0 else find_store(_HOST, store.port, patience_seconds=_PATIENCE_SECONDS)
            gang = Gang(own, rank, count, host=_HOST, patience_seconds=_PATIENCE_SECONDS)
            return _train_as(gang, spec, Path(folder)), gang  # which none may leave before all are done

        with ThreadPoolExecutor(count) as pool:
            (leaders, _), *_ = pool.map(one, range(count))
    return leaders


def _train_as(ranks: Ranks, spec: RunSpec, folder: Path) -> Undisturbed:
    from prolu.data.opening import open_source
    from prolu.data.places import Places
    from prolu.training import CheckpointStore, train

    reports: list[Report] = []
    places = Places.of(folder, [], hub_online=False)
    source = open_source(spec.data, places=places, notify=reports.append, should_stop=lambda: False)
    outcome = train(
        spec,
        source,
        checkpoints=CheckpointStore(str(folder), "run"),
        sink=reports.append,
        should_stop=lambda: None,
        ranks=ranks,
    )
    if not isinstance(outcome, Succeeded):
        raise RuntimeError(f"The undisturbed run {spec.name!r} did not succeed: {outcome}")
    finals = [report for report in reports if isinstance(report, CheckpointWritten) and report.final]
    weights = [file.sha256 for final in finals for file in final.files if file.name == WEIGHTS]
    points: dict[tuple[str, int], Mapping[str, float]] = {
        (one.split, one.step): one.values for one in reports if isinstance(one, MetricPoint)
    }
    return Undisturbed("".join(weights), points)  # of ranks but the first, nothing
