"""Which autoencoder: its nonlinearity, its gradient estimator, its width and its start."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from prolu.spec.base import LARGEST, Integer, Number, Size, Spec, UnsignedZero, refusal
from prolu.spec.estimators import Estimator, Ste

Width = Annotated[Integer, Field(ge=1, le=4_194_304)]


class _Sae(Spec):
    d_sae: Width
    """Number of latents."""
    decoder_norm: Literal["unit", "free"] = "unit"
    """`unit`, the post's and the default: rows renormalised after each step, the parallel part of their gradient removed."""
    decoder_init_norm: Size = 1.0
    """Norm of a decoder row at the start; with `unit` it must be 1, the default. W_enc starts as its transpose (the post)."""
    b_dec_init: Literal["zero", "mean", "geometric_median"] = "zero"
    """Where b_dec starts: `zero`, the post's and the default, or mean or geometric median (Gao 2024) of the first 8,192 rows."""


class ReluSae(_Sae):
    """acts = relu(m + b), the ordinary sparse autoencoder."""

    kind: Literal["relu"] = "relu"
    """Tag of the union."""
    gradient: Literal["exact", "ste"] = "exact"
    """`exact`, the default, is calculus; `ste` gives g T(m + b) (1 + m + b) to both m and b, as the post does for ProLU."""


class ProluSae(_Sae):
    """acts = m * 1[m > 0] * 1[m + b > 0]: the bias gates and never shifts (the ProLU post)."""

    kind: Literal["prolu"] = "prolu"
    """Tag of the union."""
    estimator: Estimator = Ste()
    """Synthetic gradient of the gate. Default `ste`, the better one in the post."""


class ProluHybridSae(_Sae):
    """ProLU where b < 0, relu(m + b) with its exact gradient where b >= 0 (a question under the ProLU post)."""

    kind: Literal["prolu_hybrid"] = "prolu_hybrid"
    """Tag of the union."""
    estimator: Estimator = Ste()
    """Synthetic gradient of the gate where b < 0. Default `ste`, the better one in the post."""


class JumpReluSae(_Sae):
    """acts = relu(z) * 1[z > theta], z = m + b, with theta trained (Rajamanoharan 2024, arXiv 2407.14435)."""

    kind: Literal["jumprelu"] = "jumprelu"
    """Tag of the union."""
    bandwidth: Size = 0.05
    """Width of the kernel in z, for normalised input. Default 0.05; the paper's 0.001 at norm 1 is 0.06 at rms 1 (width 3584)."""
    initial_threshold: Annotated[Number, Field(ge=0, le=1e6), UnsignedZero] = 0.5
    """theta at the start, in units of z. Default 0.5: it moves by about lr per step, and the paper trains far longer."""


class GatedSae(_Sae):
    """acts = 1[m + b_gate > 0] * relu(exp(r_mag) m + b_mag): DeepMind's gated SAE (Rajamanoharan 2024, arXiv 2404.16014)."""

    kind: Literal["gated"] = "gated"
    """Tag of the union."""
    auxiliary_coefficient: Annotated[Number, Field(ge=0, le=LARGEST), UnsignedZero] = 1.0
    """Weight of reconstructing x from relu(m + b_gate) through a detached decoder. Default 1, the paper's."""


class _TopK(_Sae):
    k: Width
    """Latents that fire per token; of a batch kind, on average."""
    aux_k: Annotated[Integer, Field(ge=0, le=4_194_304)] | None = None
    """Dead latents that model the error in AuxK; by default the power of two nearest to d_in / 2, at most d_sae; 0 none."""
    aux_coefficient: Annotated[Number, Field(ge=0, le=LARGEST), UnsignedZero] = 1 / 32
    """alpha, the weight of AuxK. Default 1/32 (Gao 2024, section 2.4)."""

    @model_validator(mode="after")
    def _latents_are_there(self) -> Self:
        if self.k > self.d_sae:
            raise refusal(f"is {self.k}, more than the {self.d_sae} latents of d_sae; lower it", "k")
        if self.aux_k is not None and self.aux_k > self.d_sae:
            raise refusal(f"is {self.aux_k}, more than the {self.d_sae} latents of d_sae; lower it", "aux_k")
        return self


class TopKSae(_TopK):
    """acts = the k largest of relu(m + b) in each token (Gao 2024, arXiv 2406.04093)."""

    kind: Literal["topk"] = "topk"
    """Tag of the union."""


class _BatchTopK(_TopK):
    threshold_decay: Annotated[Number, Field(ge=0, lt=1), UnsignedZero] = 0.999
    """Decay of the average of the smallest act, inference's threshold; batch t weighs max(10/(t+9), 1 - decay). Default 0.999."""


class BatchTopKSae(_BatchTopK):
    """acts = the k * batch largest of relu(m + b) in a batch; at inference those above a threshold (arXiv 2412.06410)."""

    kind: Literal["batch_topk"] = "batch_topk"
    """Tag of the union."""


class MatryoshkaBatchTopKSae(_BatchTopK):
    """Batch TopK whose loss is the mean over nested prefixes of the latents (Bussmann 2025, arXiv 2503.17547)."""

    kind: Literal["matryoshka_batch_topk"] = "matryoshka_batch_topk"
    """Tag of the union."""
    prefixes: Annotated[list[Width], Field(min_length=1, max_length=64)]
    """Numbers of latents that reconstruct x by themselves: rising, the last one d_sae."""

    @model_validator(mode="after")
    def _prefixes_rise_to_d_sae(self) -> Self:
        rising = all(low < high for low, high in zip(self.prefixes, self.prefixes[1:], strict=False))
        if not rising or self.prefixes[-1] != self.d_sae:
            raise refusal(f"must rise and end with d_sae, {self.d_sae}; got {self.prefixes}", "prefixes")
        return self


SaeSpec = Annotated[
    ReluSae | ProluSae | ProluHybridSae | JumpReluSae | GatedSae | TopKSae | BatchTopKSae | MatryoshkaBatchTopKSae,
    Field(discriminator="kind"),
]
