"""Read an autoencoder that SAELens saved (version 6), for evaluation beside our own.

    standard   relu
    jumprelu   jumprelu, which is also what SAELens makes of a trained batchtopk
    gated      gated
    topk       topk; with `rescale_acts_by_decoder_norm`, norms are folded into the encoder, which is the same function

SaeLensError   the folder holds no such checkpoint, or one that does what ours do not
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import safetensors
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from prolu.export.sae_lens import CFG, WEIGHTS
from prolu.models.sae import Sae, sae_of
from prolu.models.saved import LONGEST_HEADER_BYTES, bytes_of, first_not_finite, layout_of
from prolu.spec.data import Normalisation
from prolu.spec.sae import GatedSae, JumpReluSae, ReluSae, SaeSpec, TopKSae

_LONGEST_CFG_BYTES = 4_000_000
_NORMALISATIONS: dict[str, Normalisation] = {"none": "none", "constant_norm_rescale": "per_token"}


class SaeLensError(Exception):
    """The checkpoint cannot be read as one of our autoencoders; the sentence says why and what to do."""


@dataclass(frozen=True)
class ImportedSae:
    """An autoencoder, and what to do to the activations that it reads."""

    sae: Sae
    """Weights in float32, on the CPU."""
    normalisation: Normalisation
    """`per_token` for `constant_norm_rescale`, else `none`."""
    metadata: dict[str, Any]
    """What SAELens knows of model, hook and text."""


class _Cfg(BaseModel):
    """The part of cfg.json that says what the weights mean."""

    model_config = ConfigDict(extra="ignore", strict=True)

    architecture: str
    d_in: Annotated[int, Field(ge=1, le=1_048_576)]
    d_sae: Annotated[int, Field(ge=1, le=4_194_304)]
    apply_b_dec_to_input: bool = True
    normalize_activations: str = "none"
    reshape_activations: str = "none"
    k: int = 100
    rescale_acts_by_decoder_norm: bool = False
    metadata: dict[str, Any] = {}


def load_sae_lens(path: str | Path) -> ImportedSae:
    """Return the autoencoder in a folder with cfg.json and sae_weights.safetensors. Raises SaeLensError."""
    folder = Path(path)
    cfg = _read_cfg(folder / CFG)
    if cfg.normalize_activations not in _NORMALISATIONS:
        raise SaeLensError(
            f"{folder / CFG} asks for normalize_activations {cfg.normalize_activations!r}, understood are "
            f"{' and '.join(_NORMALISATIONS)}; fold the scale into the weights with SAELens and save it again."
        )
    if cfg.reshape_activations != "none":
        raise SaeLensError(
            f"{folder / CFG} asks for reshape_activations {cfg.reshape_activations!r}; only flat activations are understood."
        )
    try:
        spec = _spec(cfg, folder)
    except ValidationError as error:
        why = error.errors(include_url=False)[0]["msg"]
        raise SaeLensError(f"{folder / CFG} describes no autoencoder that can be: {why}.") from error
    weights = _read_weights(folder / WEIGHTS, spec, cfg.d_in)
    sae = sae_of(spec, cfg.d_in)
    if cfg.rescale_acts_by_decoder_norm and isinstance(spec, TopKSae):
        weights = _with_norms_in_the_encoder(weights)
    if not cfg.apply_b_dec_to_input:
        weights = _with_b_dec_subtracted(weights)
    sae.load_state_dict(weights)
    return ImportedSae(sae, _NORMALISATIONS[cfg.normalize_activations], cfg.metadata)


def _read_cfg(path: Path) -> _Cfg:
    try:
        _require_regular(path, at_most=_LONGEST_CFG_BYTES)
        cfg = _Cfg.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise SaeLensError(f"{path} does not exist; name a folder that SAELens saved.") from error
    except (OSError, ValueError, RecursionError) as error:
        why = _first_of(error) if isinstance(error, ValidationError) else error
        raise SaeLensError(f"{path} cannot be read as SAELens' config: {why}. Take another copy.") from error
    version = str(cfg.metadata.get("sae_lens_version", "none"))
    major = version.split(".")[0]
    if not major.isdigit() or int(major) < 6:
        raise SaeLensError(
            f"{path} is of SAELens version {version}, read are layouts of version 6 and later; "
            "load it with SAELens 6 and save it again."
        )
    return cfg


def _spec(cfg: _Cfg, folder: Path) -> SaeSpec:
    match cfg.architecture:
        case "standard":
            return ReluSae(d_sae=cfg.d_sae, decoder_norm="free")
        case "jumprelu":
            return JumpReluSae(d_sae=cfg.d_sae, decoder_norm="free")
        case "gated":
            return GatedSae(d_sae=cfg.d_sae, decoder_norm="free")
        case "topk":
            return TopKSae(d_sae=cfg.d_sae, decoder_norm="free", k=cfg.k)
        case other:
            raise SaeLensError(
                f"{folder / CFG} is of architecture {other!r}; read are standard, jumprelu, gated and topk. "
                "SAELens saves the inference of a batchtopk as jumprelu."
            )


def _first_of(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}, and it is {first['input']!r}"


def _read_weights(path: Path, spec: SaeSpec, d_in: int) -> dict[str, Tensor]:
    """Return the weights in float32. Their shapes are compared before they take memory: a damaged cfg.json may say any."""
    try:
        expected = _expected(path, spec, d_in)
        with safetensors.safe_open(path, framework="pt") as file:
            names = list(file.keys())
            _require_shapes({name: tuple(file.get_slice(name).get_shape()) for name in names}, expected, path)
            _require_memory(spec, d_in, path)
            weights = {name: file.get_tensor(name).float() for name in names}
    except FileNotFoundError as error:
        raise SaeLensError(f"{path} does not exist; name a folder that SAELens saved.") from error
    except (OSError, SafetensorError) as error:
        raise SaeLensError(f"{path} is not a whole safetensors file ({error}); take another copy.") from error
    if (bad := first_not_finite(weights)) is not None:
        raise SaeLensError(f"{path} holds {bad} with NaN or infinite numbers; take another copy or train it again.")
    return weights


def _expected(path: Path, spec: SaeSpec, d_in: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes that there should be, once the file is no longer than they can make it."""
    layout = layout_of(spec, d_in)
    _require_regular(path, at_most=2 * bytes_of(layout) + LONGEST_HEADER_BYTES)  # float64 at most
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > LONGEST_HEADER_BYTES:
        raise SaeLensError(
            f"{path} is not a whole safetensors file (its header has {header} bytes); take another copy."
        )
    return {name: tuple(tensor.shape) for name, tensor in layout.items()}


def _require_memory(spec: SaeSpec, d_in: int, path: Path) -> None:
    """Raise SaeLensError where the weights fit in no memory of this machine: a file of holes may be as long as it says."""
    needed = bytes_of(layout_of(spec, d_in))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise SaeLensError(
            f"{path.parent / CFG} describes an autoencoder of {needed} bytes, and this machine has {memory}; "
            "load it on a larger one, or take another copy."
        )


def _require_regular(path: Path, *, at_most: int) -> None:
    """Raise OSError or SaeLensError where a file would never end, or is longer than any of its kind."""
    size = path.stat().st_size
    if not path.is_file() or size > at_most:
        what = f"has {size} bytes, and {at_most} is the most" if path.is_file() else "is no regular file"
        raise SaeLensError(f"{path} {what}; it was not read. Take another copy.")


def _require_shapes(found: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]], path: Path) -> None:
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise SaeLensError(
                f"{path} holds {name} {_shape(found.get(name))} where {CFG} asks for {_shape(expected.get(name))}; "
                "they are not of one autoencoder. Take another copy of both."
            )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else f"({', '.join(map(str, shape))})"


def _with_norms_in_the_encoder(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """z_i ||W_dec_i|| with rows W_dec_i / ||W_dec_i|| is what rescaling does at run time."""
    norms = weights["W_dec"].norm(dim=1)
    return weights | {
        "W_enc": weights["W_enc"] * norms,
        "b_enc": weights["b_enc"] * norms,
        "W_dec": weights["W_dec"] / norms.where(norms > 0, 1.0)[:, None],
    }


def _with_b_dec_subtracted(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """x @ W_enc + b = (x - b_dec) @ W_enc + (b + b_dec @ W_enc); the magnitudes of gated read exp(r_mag) m."""
    shift = (weights["b_dec"].double() @ weights["W_enc"].double()).float()
    shifts = {"b_enc": shift, "b_gate": shift}
    if "r_mag" in weights:
        shifts["b_mag"] = shift * weights["r_mag"].exp()
    return weights | {name: weights[name] + by for name, by in shifts.items() if name in weights}
