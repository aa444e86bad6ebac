"""The optimizers, with their state laid out in advance so that it can be saved and restored by name. Knows no loss.

| kind  | W_enc, W_dec                                         | vectors                    |
| ----- | ---------------------------------------------------- | -------------------------- |
| adam  | torch's fused Adam, no weight decay                  | the same                   |
| adamw | torch's fused AdamW, with weight decay               | the same, no weight decay  |
| radam | torch's RAdam, no weight decay                       | the same                   |
| muon  | torch's Muon, Nesterov momentum, no weight decay     | fused Adam, torch's betas  |

Weight decay is for the two matrices: biases and thresholds say when a latent fires, and 0 is no neutral value of them.
W_dec with rows of norm 1 loses none, since renormalising gives back what decay took.
Muon's learning rate is scaled by 0.2 sqrt(max(rows, columns)), so that its updates are as large as Adam's are
(Liu 2025, arXiv 2502.16982, section 2.2); torch runs its Newton-Schulz iteration in bfloat16.
"""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Muon, RAdam

from prolu.models.sae import Sae
from prolu.spec.training import AdamSpec, AdamWSpec, MuonSpec, OptimizerSpec, RAdamSpec
from prolu.training.latents import entries_of


class Optimizer:
    """The optimizer of one autoencoder: one or two of torch's, as the table above says, moments zero."""

    def __init__(self, sae: Sae, spec: OptimizerSpec) -> None:
        self._parameters = dict(sae.named_parameters())
        self._optimizers = _built(list(self._parameters.values()), spec)
        self._state: dict[nn.Parameter, dict[str, Tensor]] = {}
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    # What the optimizer would lay out itself at its first step.
                    state = optimizer.state[parameter] = _blank(parameter, optimizer)
                    self._state[parameter] = state

    def step(self, rate: float) -> None:
        """Take one step at this learning rate along the gradients, and drop them."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()

    @torch.no_grad()
    def forget(self, latents: Int64[Tensor, " latents"]) -> None:
        """Set the moments of all that belongs to these latents to 0, and no others; the count of steps stays.

        With Adam nothing corrects the bias of the new moments then: for a constant gradient the k-th step is
        (1 - beta1^k) / sqrt(1 - beta2^k) times the usual one, 6.6 times at k = 12 with the default betas. That is what
        `resampling.lr_warmup_steps` is for.
        """
        for name, parameter in self._parameters.items():
            index = entries_of(name, latents)
            if index is not None:
                for moment in self._state[parameter].values():
                    if moment.shape == parameter.shape:
                        moment[index] = 0

    def tensors(self) -> dict[str, Tensor]:
        """Return the state, not copies, as `optimizer.exp_avg.W_enc` and the like."""
        return {
            f"optimizer.{key}.{name}": tensor
            for name, parameter in self._parameters.items()
            for key, tensor in self._state[parameter].items()
        }


def _built(parameters: list[nn.Parameter], spec: OptimizerSpec) -> list[torch.optim.Optimizer]:
    matrices = [parameter for parameter in parameters if parameter.ndim == 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    rate = spec.learning_rate
    match spec:
        case AdamSpec():
            return [Adam(parameters, rate, (spec.beta1, spec.beta2), spec.epsilon, fused=True)]
        case AdamWSpec():
            decayed = {"params": matrices, "weight_decay": spec.weight_decay}
            spared = {"params": vectors, "weight_decay": 0.0}
            return [AdamW([decayed, spared], rate, (spec.beta1, spec.beta2), spec.epsilon, fused=True)]
        case RAdamSpec():
            return [RAdam(parameters, rate, (spec.beta1, spec.beta2), spec.epsilon)]
        case MuonSpec():
            muon = Muon(matrices, rate, weight_decay=0.0, momentum=spec.momentum, adjust_lr_fn="match_rms_adamw")
            return [muon, Adam(vectors, rate, fused=True)]


def _blank(parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    if isinstance(optimizer, Muon):
        return {"momentum_buffer": torch.zeros_like(parameter)}
    # RAdam reads the count of steps in Python, so torch keeps it on the CPU; fused kernels read it on the device.
    device = "cpu" if isinstance(optimizer, RAdam) else parameter.device
    return {
        "step": torch.zeros((), device=device),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }
