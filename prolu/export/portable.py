"""An autoencoder as what every library agrees on: one of five encoders, a linear decoder, and how a scale is folded in.

Here m = (x - b_dec) @ W_enc, z = m + b_enc, x_hat = acts @ W_dec + b_dec, and

    relu        acts = relu(z)
    jumprelu    acts = relu(z) * 1[z > threshold], one threshold per latent
    gated       acts = 1[m + b_gate > 0] * relu(exp(r_mag) m + b_mag)
    topk        acts = the k largest of relu(z) in each row
    batch_topk  acts = relu(z) * 1[z > threshold], one threshold for all latents

ProLU and the hybrid are jumprelu, exactly: m * 1[m > 0] * 1[m + b > 0] = relu(m) * 1[m > max(0, -b)], and the hybrid is that
where b < 0 and relu(m + b) elsewhere, so b_enc = max(0, b) with the same threshold. In floating point, too, m + b > 0 is
m > -b: a sum that is not zero is never rounded to zero.

Float32 always, since a threshold in half precision moves gates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from prolu.models.sae import Sae
from prolu.spec.sae import (
    BatchTopKSae,
    GatedSae,
    JumpReluSae,
    MatryoshkaBatchTopKSae,
    ProluHybridSae,
    ProluSae,
    ReluSae,
    TopKSae,
)

Encoder = Literal["relu", "jumprelu", "gated", "topk", "batch_topk"]

# Biases and thresholds; r_mag is a pure number.
_IN_UNITS_OF_X = ("b_dec", "b_enc", "b_gate", "b_mag", "threshold")
_SHARED = ("W_enc", "W_dec", "b_dec")


@dataclass(frozen=True)
class Portable:
    """The inference of one autoencoder."""

    encoder: Encoder
    """Which of the five."""
    tensors: dict[str, Tensor]
    """W_enc, W_dec, b_dec and those that the encoder names; float32, on the CPU."""
    k: int | None = None
    """Latents per row, for topk; on average, for batch_topk."""
    groups: tuple[int, ...] = ()
    """Sizes of the nested groups of latents, for a matryoshka; they sum to d_sae."""

    @property
    def d_in(self) -> int:
        """Width of one activation."""
        return self.tensors["W_enc"].shape[0]

    @property
    def d_sae(self) -> int:
        """Number of latents."""
        return self.tensors["W_enc"].shape[1]


def portable(sae: Sae) -> Portable:
    """Return the inference of `sae`; later changes of it do not show."""
    state = sae.state_dict()

    def taken(*names: str) -> dict[str, Tensor]:
        return {name: state[name].to("cpu", torch.float32, copy=True).contiguous() for name in (*_SHARED, *names)}

    match sae.spec:
        case ReluSae():
            return Portable("relu", taken("b_enc"))
        case ProluSae():
            return Portable("jumprelu", _as_jumprelu(taken("b_enc"), hybrid=False))
        case ProluHybridSae():
            return Portable("jumprelu", _as_jumprelu(taken("b_enc"), hybrid=True))
        case JumpReluSae():
            return Portable("jumprelu", taken("b_enc", "threshold"))
        case GatedSae():
            return Portable("gated", taken("b_gate", "b_mag", "r_mag"))
        case TopKSae(k=k):
            return Portable("topk", taken("b_enc"), k)
        case BatchTopKSae(k=k):
            return Portable("batch_topk", taken("b_enc", "threshold"), k)
        case MatryoshkaBatchTopKSae(k=k, prefixes=prefixes):
            groups = tuple(high - low for low, high in pairwise([0, *prefixes]))
            return Portable("batch_topk", taken("b_enc", "threshold"), k, groups)


def with_rms_in_the_weights(given: Portable, rms: float) -> Portable:
    """Return the function of raw x that `given` is of x / rms, with the same acts: W_enc / rms, W_dec * rms, b_dec * rms.

    (x / rms - b_dec) @ W_enc = (x - rms b_dec) @ (W_enc / rms), and rms (acts @ W_dec + b_dec) is the raw output. Biases and
    thresholds stay. This is how SAELens folds a scale.
    """
    tensors = given.tensors
    folded = {name: tensors[name] * rms for name in ("W_dec", "b_dec")} | {"W_enc": tensors["W_enc"] / rms}
    return replace(given, tensors=tensors | folded)


def with_rms_in_the_acts(given: Portable, rms: float) -> Portable:
    """Return the function of raw x that `given` is of x / rms, with acts * rms: b_dec, biases and thresholds * rms.

    All five encoders are homogeneous: with z, biases and thresholds scaled by n > 0, acts are scaled by n. The weights stay,
    and with them the decoder's norms. This is how dictionary_learning folds a scale (`scale_biases`).
    """
    scaled = {name: tensor * rms for name, tensor in given.tensors.items() if name in _IN_UNITS_OF_X}
    return replace(given, tensors=given.tensors | scaled)


def _as_jumprelu(tensors: dict[str, Tensor], *, hybrid: bool) -> dict[str, Tensor]:
    """Return the tensors of ProLU or of the hybrid as those of jumprelu; threshold 0 - min(b, 0) is never -0."""
    b = tensors["b_enc"]
    b_enc = b.clamp(min=0) if hybrid else torch.zeros_like(b)
    return tensors | {"b_enc": b_enc, "threshold": 0 - b.clamp(max=0)}
