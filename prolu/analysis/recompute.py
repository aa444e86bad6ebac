"""Bias statistics from a checkpoint's folder alone, as the run that wrote it reported them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from prolu.analysis.bias_stats import bias_statistics, row_norms
from prolu.analysis.metrics import dead_latents
from prolu.models.artifacts import ArtifactFolder
from prolu.models.saved import (
    TRAINING,
    CheckpointConfig,
    load_sae,
    read_config,
    read_manifest,
    read_tensors,
    require_same_layout,
)
from prolu.spec.report import BiasSnapshot


@torch.no_grad()
def recompute_bias_statistics(path: str | Path) -> BiasSnapshot:
    """Return the statistics of the gate's biases at the step of the checkpoint in the folder `path`, a path or fsspec URL.

    If the run took a snapshot at that step, this is the same one, number by number; `change` is since the newest snapshot before.
    Files are verified against the manifest if there is one. Raises CheckpointError for files that are missing or wrong, or that
    hold no state of training (an export, or weights alone), StorageError if the store fails.
    """
    folder = ArtifactFolder(str(path).removesuffix("/"))
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError:
        manifest = None
    sae, config = load_sae(folder.url), read_config(folder, manifest)
    training = read_tensors(folder, TRAINING, manifest)
    expected = _layout(config)
    found = {name: tensor for name, tensor in training.items() if name in expected}
    require_same_layout(found, expected, where=f"{folder.url}/{TRAINING}")
    statistics = bias_statistics(
        sae.gate_bias,
        alive=~dead_latents(found["tokens_since_fired"], window=config.spec.training.dead_window_tokens),
        firing_frequency=found["firing_frequency"],
        decoder_norms=row_norms(sae.W_dec),
        previous=_snapshot_before(config.step, found["snapshot_step"], found["snapshot_b"]),
    )
    return BiasSnapshot(step=config.step, tokens=config.tokens, statistics=statistics)


def _layout(config: CheckpointConfig) -> dict[str, Tensor]:
    """Return tensors like those of the training state that are needed, without memory behind them."""
    d_sae = config.spec.sae.d_sae
    return {
        "tokens_since_fired": torch.empty(d_sae, dtype=torch.int64, device="meta"),
        "firing_frequency": torch.empty(d_sae, device="meta"),
        "snapshot_step": torch.empty(2, dtype=torch.int64, device="meta"),
        "snapshot_b": torch.empty(2, d_sae, device="meta"),
    }


def _snapshot_before(step: int, snapshot_steps: Tensor, snapshots: Tensor) -> tuple[int, Tensor] | None:
    """Return the newest snapshot before `step`; they come newest first, and step -1 is none."""
    for taken, biases in zip(snapshot_steps.tolist(), snapshots, strict=True):
        if 0 <= taken < step:
            return taken, biases
    return None
