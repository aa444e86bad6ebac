"""Which way is down: gradients of what sparse coding is after, for ProLU, whose gates have no useful gradient of their own.

Knows no estimator. Notation as in `prolu.models.gradients`; a latent fires iff z = m + c(b) > 0, where c(b) = min(b, 0) for
prolu, since T(m) T(m + b) = T(m + min(b, 0)), and c(b) = b for prolu_hybrid. s is the logistic sigmoid, eps the bandwidth.

l0              mean over the batch of sum_i s(z_i / eps): the mean L0 to be expected if logistic noise of scale eps is added to
                each m. Its limit for eps -> 0 is L0, wherever no z is 0. Differentiated as it stands, for W_enc, b_enc and
                b_dec; W_dec has no part in it. A positive bias of prolu has none either; one that is 0 counts as negative.
reconstruction  the reconstruction loss L, differentiated with the gates as they are: its exact gradient almost everywhere.
                For a bias that only gates, that is zero, though L jumps where a gate opens. So for those biases

                    mean over the batch of sum_i s(z_i / eps) * (L with gate i open - L with gate i shut)

                is differentiated in b, each bracket held fixed, with all other gates as they are: that is how the L to be
                expected changes if the noise above reaches one gate at a time. For eps -> 0 and many tokens it is the exact
                gradient of the expected L, density at the threshold times jump (Rajamanoharan 2024, arXiv 2407.14435, sec. 4).
l1              mean over the batch of sum_i acts_i, differentiated with the gates as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from prolu.models.nonlinearity import prolu
from prolu.models.penalties import l1
from prolu.models.reconstruction import Reduction, reconstruction_loss
from prolu.models.sae import Sae

GROUPS = ("W_enc", "b_enc", "W_dec", "b_dec")


@dataclass(frozen=True)
class Descent:
    """The gradient of one objective, by group of parameters; what is left out is zero. Descent is its opposite."""

    objective: Literal["l0", "reconstruction", "l1"]
    bandwidth: float | None
    gradients: Mapping[str, Tensor]


def descents(
    sae: Sae, x: Float[Tensor, "batch d_in"], *, bandwidths: Sequence[float], over: Reduction
) -> list[Descent]:
    """Return the gradients of l0 and of reconstruction at each bandwidth, of exact reconstruction and of exact l1, on a batch.

    Exact reconstruction has no bandwidth and leaves out b_enc; with a bandwidth it has all groups. `sae` is a prolu or a
    prolu_hybrid; its own estimator has no influence, and its `.grad` stays as it is.
    """
    parameters = {name: parameter.detach().requires_grad_() for name, parameter in sae.named_parameters()}
    hybrid = sae.spec.kind == "prolu_hybrid"
    with torch.enable_grad():
        b, W_dec, b_dec = parameters["b_enc"], parameters["W_dec"], parameters["b_dec"]
        m = (x - b_dec) @ parameters["W_enc"]
        z = m + (b if hybrid else b.clamp(max=0))
        acts = _exact_acts(m, b, hybrid=hybrid)
        x_hat = acts @ W_dec + b_dec
        reconstruction = _gradients(reconstruction_loss(x_hat, x, over=over), parameters)
        encoder = {name: parameters[name] for name in ("W_enc", "b_enc", "b_dec")}  # acts do not depend on W_dec
        sums = _gradients(l1(acts), encoder)
        smooth_l0 = {eps: _gradients(smoothed_l0(z, eps), encoder) for eps in bandwidths}
        jumps = _jumps(m, acts, x_hat - x, W_dec, over=over).detach()
        smooth_b = {eps: _gradients(smoothed_jumps(z, jumps, eps), {"b_enc": b})["b_enc"] for eps in bandwidths}

    if hybrid:  # a bias that shifts has an exact gradient, and its gate no jump
        smooth_b = {eps: torch.where(b < 0, smooth, reconstruction["b_enc"]) for eps, smooth in smooth_b.items()}
    exact = {name: gradient for name, gradient in reconstruction.items() if name != "b_enc"}
    return [
        *(Descent("l0", eps, gradients) for eps, gradients in smooth_l0.items()),
        Descent("reconstruction", None, exact),
        *(Descent("reconstruction", eps, {**exact, "b_enc": smooth}) for eps, smooth in smooth_b.items()),
        Descent("l1", None, sums),
    ]


def smoothed_l0(z: Float[Tensor, "batch d_sae"], bandwidth: float) -> Float[Tensor, ""]:
    """Return the mean over the batch of sum_i s(z_i / bandwidth), which tends to the mean number of z_i > 0."""
    return torch.sigmoid(z / bandwidth).sum(dim=1).mean()


def smoothed_jumps(
    z: Float[Tensor, "batch d_sae"], jumps: Float[Tensor, "batch d_sae"], bandwidth: float
) -> Float[Tensor, ""]:
    """Return the mean over the batch of sum_i s(z_i / bandwidth) * jumps_i."""
    return (torch.sigmoid(z / bandwidth) * jumps).sum(dim=1).mean()


def _exact_acts(
    m: Float[Tensor, "batch d_sae"], b: Float[Tensor, " d_sae"], *, hybrid: bool
) -> Float[Tensor, "batch d_sae"]:
    """Return the acts as products with gates that are held fixed, so that autograd differentiates them almost everywhere."""
    gates: Bool[Tensor, "batch d_sae"] = prolu(m.detach(), b.detach()) > 0
    gated = m * gates
    return torch.where(b < 0, gated, torch.relu(m + b)) if hybrid else gated


def _jumps(
    m: Float[Tensor, "batch d_sae"],
    acts: Float[Tensor, "batch d_sae"],
    error: Float[Tensor, "batch d_in"],
    W_dec: Float[Tensor, "d_sae d_in"],
    *,
    over: Reduction,
) -> Float[Tensor, "batch d_sae"]:
    """Return, for each token and latent, ||error with gate i open||^2 - ||error with gate i shut||^2, over d_in as `over` says.

    With a = relu(m_i), w = W_dec_i and the error e = x_hat - x as it is: 2 a w.e + a^2 ||w||^2 if the gate is shut, and
    2 a w.e - a^2 ||w||^2 if it is open.
    """
    openable = torch.relu(m)
    quadratic = (openable * torch.linalg.vector_norm(W_dec, dim=1)).square()
    jumps = 2 * openable * (error @ W_dec.T) + torch.where(acts > 0, -quadratic, quadratic)
    return jumps / error.shape[1] if over == "mean" else jumps


def _gradients(value: Float[Tensor, ""], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradient of `value` for each parameter, zeros where it has none."""
    found = torch.autograd.grad(
        value, list(parameters.values()), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return dict(zip(parameters, found, strict=True))
