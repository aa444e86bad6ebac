"""Write the whole state of a run so that it can go on, bit by bit the same, on another machine. See `prolu.models.saved`."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from prolu.export import write_exports
from prolu.models.artifacts import ArtifactFolder, StorageError
from prolu.models.sae import Sae, sae_of
from prolu.models.saved import (
    CONFIG,
    MANIFEST,
    TRAINING,
    WEIGHTS,
    CheckpointConfig,
    CheckpointError,
    CheckpointManifest,
    read_config,
    read_manifest,
    read_tensors,
)
from prolu.spec.report import CheckpointFile, CheckpointWritten


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after a step."""

    config: CheckpointConfig
    """The spec, d_in, step and tokens."""
    weights: Mapping[str, Tensor]
    """The autoencoder's parameters, by name."""
    training: Mapping[str, Tensor]
    """Whatever else training needs to go on, by name: see `prolu.training.learner`."""


class CheckpointStore:
    """Where the checkpoints of one attempt go: `{root}/{prefix}/step-{step}`, with root any fsspec URL or path."""

    def __init__(self, root: str, prefix: str) -> None:
        self.root = root
        self._prefix = prefix

    def write(self, checkpoint: Checkpoint, *, final: bool) -> CheckpointWritten:
        """Write the files, of a `final` checkpoint with the spec's exports, then the manifest; then all are in the store.

        Raises ExportError if the autoencoder cannot be exported, StorageError if the store fails; what was written of this
        checkpoint is then removed as far as possible, and without a manifest it is no checkpoint anyway.
        """
        config = checkpoint.config
        path = str(PurePosixPath(self._prefix) / f"step-{config.step}")
        folder = ArtifactFolder(self.root, path)
        with folder.staging() as staging:
            files = _write_files(checkpoint, staging, final=final)
            folder.remove(MANIFEST)  # of an earlier write: it must not vouch for files that are being replaced
            try:
                for name in [*(file.name for file in files), MANIFEST]:
                    folder.publish(staging, name)
            except StorageError:
                with contextlib.suppress(StorageError):  # the first failure is the one to report
                    folder.discard()
                raise
        return CheckpointWritten(step=config.step, tokens=config.tokens, path=path, files=files, final=final)


def load_checkpoint(root: str, path: str) -> Checkpoint:
    """Read the checkpoint in the folder `path` below `root`, every file verified against the manifest.

    Raises CheckpointError if it is missing, truncated, altered or foreign, StorageError if the store fails.
    """
    below = PurePosixPath(path)
    if below.is_absolute() or ".." in below.parts:
        raise CheckpointError(f"The checkpoint path {path!r} leads outside the artifact root; give one below it.")
    folder = ArtifactFolder(root, path)
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder.url} has no {MANIFEST}; it is not a whole checkpoint. Check the path or take an earlier one."
        ) from error
    return Checkpoint(
        config=read_config(folder, manifest),
        weights=read_tensors(folder, WEIGHTS, manifest),
        training=read_tensors(folder, TRAINING, manifest),
    )


def _write_files(checkpoint: Checkpoint, folder: Path, *, final: bool) -> list[CheckpointFile]:
    """Write every file of a checkpoint, the manifest last, and describe all but the manifest."""
    config = checkpoint.config
    try:
        (folder / CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        safetensors.torch.save_file(_on_cpu(checkpoint.weights), folder / WEIGHTS)
        safetensors.torch.save_file(_on_cpu(checkpoint.training), folder / TRAINING)
        names = [CONFIG, WEIGHTS, TRAINING]
        if final and config.spec.exports:
            names += write_exports(_sae_of(checkpoint), config, folder, config.spec.exports)
        files = [described(folder / name, name) for name in names]
        manifest = CheckpointManifest(step=config.step, tokens=config.tokens, files=files)
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        _make_readable(folder, [MANIFEST, *(file.name for file in files)])
    except (SafetensorError, OSError) as error:  # safetensors reports a full disk as an error of its own
        raise StorageError(f"Writing the checkpoint at step {config.step} in {folder} failed: {error}") from error
    return files


def _sae_of(checkpoint: Checkpoint) -> Sae:
    sae = sae_of(checkpoint.config.spec.sae, checkpoint.config.d_in)
    sae.load_state_dict(_on_cpu(checkpoint.weights))
    return sae


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _make_readable(folder: Path, names: Sequence[str]) -> None:
    """Give every file the mode 0644 less the umask, which the config shows; safetensors writes files for their owner alone."""
    mode = (folder / CONFIG).stat().st_mode & 0o644
    for name in names:
        (folder / name).chmod(mode)


def described(path: Path, name: str) -> CheckpointFile:
    """Give the size and checksum of a file, under the name that it has in a checkpoint."""
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return CheckpointFile(name=name, bytes=path.stat().st_size, sha256=checksum)
