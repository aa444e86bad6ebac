"""Open the autoencoder in a folder, ours or SAELens', with what must be done to activations before it reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from prolu.export import load_sae_lens
from prolu.models.artifacts import ArtifactFolder
from prolu.models.normalisation import Normaliser
from prolu.models.sae import Sae
from prolu.models.saved import (
    CONFIG,
    TRAINING,
    CheckpointConfig,
    CheckpointError,
    load_sae,
    read_config,
    read_tensors,
    require_same_layout,
)
from prolu.training.controller import Coefficient

_SAE_LENS_CONFIG = "cfg.json"


@dataclass(frozen=True)
class Opened:
    """An autoencoder that lay in a folder."""

    path: str
    """The folder."""
    sae: Sae
    """Weights in float32, on the CPU."""
    normaliser: Normaliser
    """What raw activations go through before it reads them."""
    config: CheckpointConfig | None
    """What was trained, and how far; None for a checkpoint of SAELens, which does not say."""


def open_checkpoint(path: str) -> Opened:
    """Read the checkpoint in the folder `path`: ours (a path or an fsspec URL), or one that SAELens saved (a path).

    A folder with cfg.json and without config.json is SAELens'. Raises CheckpointError or SaeLensError for files that are
    missing or wrong, StorageError if the store fails.
    """
    folder = Path(path)
    if (folder / _SAE_LENS_CONFIG).is_file() and not (folder / CONFIG).is_file():
        imported = load_sae_lens(folder)
        return Opened(path, imported.sae, Normaliser(imported.normalisation), config=None)
    sae, config = load_sae(path), read_config(ArtifactFolder(path.removesuffix("/")), None)
    kind = config.spec.data.normalisation
    if kind == "dataset_rms" and config.input_rms is None:
        raise CheckpointError(
            f"{path} was trained on activations divided by their rms, and its {CONFIG} does not say which; "
            "take a checkpoint of a newer version."
        )
    return Opened(path, sae, Normaliser(kind, config.input_rms if kind == "dataset_rms" else None), config)


def coefficient_of(opened: Opened) -> float:
    """Return lambda as it was at the last step before the checkpoint, warm-up and controller included.

    Raises CheckpointError if the run has a controller and its state is not in the folder.
    """
    if opened.config is None:
        raise CheckpointError(f"{opened.path} does not say how it was trained; take a checkpoint of this software.")
    config = opened.config
    coefficient = Coefficient(config.spec, torch.device("cpu"))
    wanted = coefficient.tensors()
    if wanted:
        folder = ArtifactFolder(opened.path.removesuffix("/"))
        training = read_tensors(folder, TRAINING, None)
        found = {name: training[name] for name in wanted.keys() & training.keys()}
        require_same_layout(found, wanted, where=f"{folder.url}/{TRAINING}")
        for name, tensor in wanted.items():
            tensor.copy_(found[name])
    return coefficient.at(max(config.step - 1, 0)).item()
