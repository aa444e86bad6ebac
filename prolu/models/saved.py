"""What a saved autoencoder looks like on disk, and how it is read back with its checksums verified.

A checkpoint is a folder:

    config.json              the run's spec, d_in, and the step and tokens it was written at
    sae.safetensors          W_enc, W_dec, b_dec and what else its kind has (`prolu.models.sae`), float32
    training.safetensors     what training needs to go on (`prolu.training.checkpoint` knows it)
    manifest.json            size and sha256 of each file above; written last, so a folder without it is no checkpoint

No file can run code: JSON and safetensors only. None takes more memory than its kind needs: lengths are looked at before content,
and shapes before tensors are made.

CheckpointError   the files are not a whole, unaltered checkpoint of this software
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import safetensors.torch
import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from prolu.models.artifacts import ArtifactFolder, TooLong
from prolu.models.sae import Sae, sae_of
from prolu.spec.report import CheckpointFile, Record
from prolu.spec.run import RunSpec
from prolu.spec.sae import SaeSpec

CONFIG = "config.json"
WEIGHTS = "sae.safetensors"
TRAINING = "training.safetensors"
MANIFEST = "manifest.json"

# The longest config and manifest, and header of a safetensors file, which has some hundred bytes for each tensor.
_LONGEST_DOCUMENT_BYTES = 4_000_000
LONGEST_HEADER_BYTES = 1_000_000

Document = TypeVar("Document", bound=Record)


class CheckpointError(Exception):
    """A checkpoint is missing, truncated, altered or foreign; the sentence says which file and what to do."""


class CheckpointConfig(Record):
    """config.json: what was trained, and how far."""

    version: Literal[1] = 1
    """Version of the checkpoint's layout."""
    spec: RunSpec
    """The run, defaults filled in."""
    d_in: Annotated[int, Field(ge=1, le=1_048_576)]
    """Width of one activation."""
    step: int
    """Optimizer steps done."""
    tokens: int
    """Activations read."""
    input_rms: float | None = None
    """sqrt(mean ||x||^2 / d_in) of the raw activations, which `dataset_rms` divides by; null for other normalisations."""
    data_identity: str | None = None
    """What the activations were, by content (`prolu.data.source`): a run goes on with the same ones only. Null if nobody said."""


class CheckpointManifest(Record):
    """manifest.json: proof that the other files are all there and unaltered."""

    version: Literal[1] = 1
    """Version of the checkpoint's layout."""
    step: int
    """Optimizer steps done."""
    tokens: int
    """Activations read."""
    files: list[CheckpointFile]
    """Every file but the manifest."""


def load_sae(path: str | Path) -> Sae:
    """Return the autoencoder saved in a checkpoint's folder, or in a folder with just sae.safetensors and config.json.

    `path` is the folder, or the sae.safetensors in it; a local path or any fsspec URL. Files are verified against the
    manifest if there is one. Raises CheckpointError for files that are missing or wrong, StorageError if the store fails.

    Example: `acts = load_sae("checkpoints/step-1000").encode(x)`, x in the space the run trained in (see `Sae`).
    """
    folder = ArtifactFolder(str(path).removesuffix("/").removesuffix(f"/{WEIGHTS}"))
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError:
        manifest = None
    config = read_config(folder, manifest)
    layout = layout_of(config.spec.sae, config.d_in)
    weights = read_tensors(folder, WEIGHTS, manifest, at_most=bytes_of(layout) + LONGEST_HEADER_BYTES)
    require_same_layout(weights, layout, where=f"{folder.url}/{WEIGHTS}")
    sae = sae_of(config.spec.sae, config.d_in)
    if (bad := first_not_finite(weights)) is not None:
        raise CheckpointError(f"{folder.url}/{WEIGHTS} holds {bad} with NaN or infinite numbers; take another copy.")
    sae.load_state_dict(weights)
    return sae


def read_manifest(folder: ArtifactFolder) -> CheckpointManifest:
    """Return the manifest of a checkpoint. Raises FileNotFoundError if there is none, CheckpointError if it is not valid."""
    where = f"{folder.url}/{MANIFEST}"
    try:
        content = folder.read(MANIFEST, at_most=_LONGEST_DOCUMENT_BYTES)
    except TooLong as error:
        raise _too_long(where, error.size, _LONGEST_DOCUMENT_BYTES) from error
    return _parse(content, CheckpointManifest, where=where)


def read_config(folder: ArtifactFolder, manifest: CheckpointManifest | None) -> CheckpointConfig:
    """Return config.json, verified against the manifest unless that is None. Raises CheckpointError."""
    content = _read_verified(folder, CONFIG, manifest, at_most=_LONGEST_DOCUMENT_BYTES)
    return _parse(content, CheckpointConfig, where=f"{folder.url}/{CONFIG}")


def read_tensors(
    folder: ArtifactFolder, name: str, manifest: CheckpointManifest | None, *, at_most: int | None = None
) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, verified against the manifest unless that is None.

    Raises CheckpointError, also for one of more than `at_most` bytes or more than the manifest says, which is not read, or with a
    header that no checkpoint needs.
    """
    content = _read_verified(folder, name, manifest, at_most=at_most)
    if (header := int.from_bytes(content[:8], "little")) > LONGEST_HEADER_BYTES:
        raise CheckpointError(
            f"{folder.url}/{name} is not a whole safetensors file (its header has {header} bytes, and "
            f"{LONGEST_HEADER_BYTES} is the most); take another copy or an earlier checkpoint."
        )
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise CheckpointError(
            f"{folder.url}/{name} is not a whole safetensors file ({error}); take another copy or an earlier checkpoint."
        ) from error


def layout_of(spec: SaeSpec, d_in: int) -> dict[str, Tensor]:
    """Return tensors like those of such an autoencoder, without memory behind them."""
    with torch.device("meta"):
        return sae_of(spec, d_in).state_dict()


def bytes_of(layout: Mapping[str, Tensor]) -> int:
    """Return what tensors take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in layout.values())


def require_same_layout(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, where: str) -> None:
    """Raise CheckpointError unless `found` has the names, shapes and dtypes of `expected`."""
    differing = sorted(
        name for name in found.keys() | expected.keys() if not _alike(found.get(name), expected.get(name))
    )
    if differing:
        name = differing[0]
        raise CheckpointError(
            f"{where} holds {name} {_layout(found.get(name))} where its spec asks for {_layout(expected.get(name))}; "
            "it belongs to another run. Load it with its own config.json."
        )


def first_not_finite(weights: Mapping[str, Tensor]) -> str | None:
    """Name the first tensor that holds NaN or infinity, or None."""
    return next((name for name, tensor in weights.items() if not torch.isfinite(tensor).all()), None)


def _read_verified(
    folder: ArtifactFolder, name: str, manifest: CheckpointManifest | None, *, at_most: int | None = None
) -> bytes:
    where = f"{folder.url}/{name}"
    listed = None if manifest is None else next((file for file in manifest.files if file.name == name), None)
    bounds = [] if at_most is None else [at_most]
    if manifest is not None:
        bounds.append(0 if listed is None else listed.bytes)
    try:
        content = folder.read(name, at_most=min(bounds, default=None))
    except TooLong as error:
        if at_most is not None and error.size > at_most:
            raise _too_long(where, error.size, at_most) from error
        raise _unlike_its_manifest(where, error.size, listed) from error
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder.url} has no {name}; it is not a whole checkpoint. Check the path or take an earlier checkpoint."
        ) from error
    if manifest is not None:
        _verify(content, listed, where=where)
    return content


def _too_long(where: str, size: int, at_most: int) -> CheckpointError:
    return CheckpointError(
        f"{where} has {size} bytes, and by its config it can have {at_most} at most; it was not read. Take another copy."
    )


def _verify(content: bytes, listed: CheckpointFile | None, *, where: str) -> None:
    if listed is None or len(content) != listed.bytes:
        raise _unlike_its_manifest(where, len(content), listed)
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != listed.sha256:
        raise CheckpointError(
            f"{where} has sha256 {checksum}, its manifest says {listed.sha256}; "
            "it was altered. Take another copy or an earlier checkpoint."
        )


def _unlike_its_manifest(where: str, size: int, listed: CheckpointFile | None) -> CheckpointError:
    if listed is None:
        return CheckpointError(f"{where} is not listed in the manifest beside it; take another copy of the checkpoint.")
    return CheckpointError(
        f"{where} has {size} bytes, its manifest says {listed.bytes}; take another copy or an earlier checkpoint."
    )


def _parse(content: bytes, document: type[Document], *, where: str) -> Document:
    try:
        return document.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise CheckpointError(
            f"{where} cannot be read: {place}: {first['msg']}; it is damaged or of another version. Take another copy."
        ) from error


def _alike(found: Tensor | None, expected: Tensor | None) -> bool:
    return (
        found is not None and expected is not None and found.shape == expected.shape and found.dtype == expected.dtype
    )


def _layout(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
