"""`evaluate`: measure a checkpoint, ours or SAELens', on held-out data."""

from __future__ import annotations

import json
import math
from typing import Annotated

import typer

from prolu.analysis.density import density_histogram, firing_frequencies
from prolu.analysis.evaluation import evaluate as measure
from prolu.offline.checkpoints import open_checkpoint
from prolu.offline.reading import BatchSize, DataDir, DataFile, DataRoots, Hub, open_data


def evaluate(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="Folder of a checkpoint, or one that SAELens saved.")
    ],
    data: DataFile = None,
    batch_size: BatchSize = 4_096,
    data_dir: DataDir = None,
    data_root: DataRoots = None,
    hub: Hub = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, the density of firing included.")] = False,
) -> None:
    """Measure a checkpoint on held-out data, by the formulas that its run was measured with."""
    opened = open_checkpoint(checkpoint)
    source = open_data(opened, data, data_dir=data_dir, roots=data_root, hub=hub)
    metrics = measure(opened.sae, source, batch_size=batch_size)
    frequencies = firing_frequencies(opened.sae, source, batch_size=batch_size)
    endless = [name for name, value in metrics.items() if not math.isfinite(value)]
    if endless:
        why = "weights or activations are too large for float32, or the activations are all alike."
        typer.echo(f"prolu: not finite: {', '.join(endless)}; {why}", err=True)
    if as_json:
        step = None if opened.config is None else opened.config.step
        density = density_histogram(frequencies).model_dump()
        told = {name: None if name in endless else value for name, value in metrics.items()}  # JSON has no NaN
        answer = {"kind": opened.sae.spec.kind, "step": step, "metrics": told, "density": density}
        typer.echo(json.dumps(answer, allow_nan=False))
        return
    for name, value in metrics.items():
        typer.echo(f"{name:<20}{value:.6g}")
    silent = (frequencies == 0).double().mean().item()
    typer.echo(f"{silent:.1%} of {opened.sae.d_sae:,} latents fired on no held-out activation", err=True)
