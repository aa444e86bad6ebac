"""Adam over an autoencoder's parameters, with its state laid out in advance so that it can be saved and restored by name."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Adam

from prolu.models.sae import Sae
from prolu.spec.training import AdamSpec


def build_optimizer(sae: Sae, spec: AdamSpec) -> Adam:
    """Return fused Adam without weight decay, moments zero: what Adam itself would lay out at its first step."""
    optimizer = Adam(
        sae.parameters(), lr=spec.learning_rate, betas=(spec.beta1, spec.beta2), eps=spec.epsilon, fused=True
    )
    for parameter in sae.parameters():
        optimizer.state[parameter] = {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimizer


def set_learning_rate(optimizer: Adam, rate: float) -> None:
    """Use `rate` from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def optimizer_tensors(optimizer: Adam, sae: Sae) -> dict[str, Tensor]:
    """Return the optimizer's own tensors, not copies, as `adam.exp_avg.W_enc` and the like."""
    return {
        f"adam.{key}.{name}": tensor
        for name, parameter in sae.named_parameters()
        for key, tensor in optimizer.state[parameter].items()
    }
