"""Which autoencoder: its nonlinearity, its gradient estimator, its width and its start."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prolu.spec.base import Integer, Number, Spec


class ReluLike(Spec):
    """ProLU_ReLU of the post: gradient g * gate for m and for b."""

    kind: Literal["relu_like"] = "relu_like"
    """Tag of the union."""


class Ste(Spec):
    """ProLU_STE of the post: gradient g * gate * (1 + m) for m, g * gate * m for b."""

    kind: Literal["ste"] = "ste"
    """Tag of the union."""


Estimator = Annotated[ReluLike | Ste, Field(discriminator="kind")]


class _Sae(Spec):
    d_sae: Annotated[Integer, Field(ge=1, le=4_194_304)]
    """Number of latents."""
    decoder_norm: Literal["unit", "free"] = "unit"
    """`unit`, the post's and the default: rows renormalised after each step, the parallel part of their gradient removed."""
    decoder_init_norm: Annotated[Number, Field(gt=0)] = 1.0
    """Norm of a decoder row at the start; with `unit` it must be 1, the default. W_enc starts as its transpose (the post)."""


class ReluSae(_Sae):
    """acts = relu(m + b), the ordinary sparse autoencoder."""

    kind: Literal["relu"] = "relu"
    """Tag of the union."""


class ProluSae(_Sae):
    """acts = m * 1[m > 0] * 1[m + b > 0]: the bias gates and never shifts (the ProLU post)."""

    kind: Literal["prolu"] = "prolu"
    """Tag of the union."""
    estimator: Estimator = Ste()
    """Synthetic gradient of the gate. Default `ste`, the better one in the post."""


SaeSpec = Annotated[ReluSae | ProluSae, Field(discriminator="kind")]
