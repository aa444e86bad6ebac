"""One run's training state, and one step of it. Knows no stream, no reports, and of disks only the `Checkpoint` it hands over.

Whoever drives it decides which activations it sees and when it is measured, so several learners can share a stream.
A step consumes no random numbers: the state below and the step number are all that a resume needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from prolu.analysis.metrics import dead_latents
from prolu.models.penalties import penalty_of
from prolu.models.reconstruction import reconstruction_loss
from prolu.models.sae import build_sae
from prolu.models.saved import TRAINING, WEIGHTS, CheckpointConfig, CheckpointError, require_same_layout
from prolu.spec.run import RunSpec
from prolu.training.checkpoint import Checkpoint
from prolu.training.decoder_norm import remove_parallel_part, renormalise
from prolu.training.optimizer import build_optimizer, optimizer_tensors, set_learning_rate
from prolu.training.schedules import learning_rate, penalty_coefficient


class NonFiniteError(Exception):
    """The loss or the weights became NaN or infinite."""


@dataclass(frozen=True)
class StepResult:
    """What one step computed, before its update; tensors stay on the device and carry no gradient."""

    x: Float[Tensor, "batch d_in"]
    acts: Float[Tensor, "batch d_sae"]
    x_hat: Float[Tensor, "batch d_in"]
    loss: Float[Tensor, ""]
    reconstruction: Float[Tensor, ""]
    penalty: Float[Tensor, ""]
    coefficient: float
    learning_rate: float


class Learner:
    """The autoencoder of one run with its optimizer, schedules and counters.

    loss = reconstruction + coefficient * penalty, by `reconstruction_loss` and the penalty that the spec names.
    """

    def __init__(self, spec: RunSpec, d_in: int, *, device: str = "cpu") -> None:
        self.spec = spec
        self.sae = build_sae(spec.sae, d_in, spec.training.seed).to(device)
        self.steps_done = 0
        self._device = torch.device(device)
        self._optimizer = build_optimizer(self.sae, spec.training.optimizer)
        self._penalty = penalty_of(spec.sparsity)
        self._tokens_since_fired = torch.zeros(spec.sae.d_sae, dtype=torch.int64, device=device)
        self._nonfinite_step = torch.zeros((), dtype=torch.int64, device=device)  # 0: none so far

    @property
    def tokens(self) -> int:
        """Activations read."""
        return self.steps_done * self.spec.training.batch_size

    @property
    def tokens_since_fired(self) -> Int64[Tensor, " d_sae"]:
        """Activations read since each latent last fired, in whole batches: 0 if it fired in the last batch."""
        return self._tokens_since_fired

    @property
    def dead(self) -> Bool[Tensor, " d_sae"]:
        """Latents that did not fire on the last `dead_window_tokens` activations."""
        return dead_latents(self._tokens_since_fired, window=self.spec.training.dead_window_tokens)

    def step(self, x: Float[Tensor, "batch d_in"]) -> StepResult:
        """Train on one batch. Nothing here waits for the device: no value is read back."""
        sae, unit_norm = self.sae, self.spec.sae.decoder_norm == "unit"
        rate = learning_rate(self.steps_done, self.spec.training)
        coefficient = penalty_coefficient(self.steps_done, self.spec.sparsity)
        x = self._on_device(x)

        acts = sae.encode(x)
        x_hat = sae.decode(acts)
        reconstruction = reconstruction_loss(x_hat, x, over=self.spec.training.reconstruction)
        penalty = self._penalty(acts)
        loss = reconstruction + coefficient * penalty
        loss.backward()

        if unit_norm and sae.W_dec.grad is not None:
            remove_parallel_part(sae.W_dec.grad, sae.W_dec)
        set_learning_rate(self._optimizer, rate)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if unit_norm:
            renormalise(sae.W_dec)

        self.steps_done += 1
        self._count(acts.detach(), loss.detach())
        return StepResult(
            x=x,
            acts=acts.detach(),
            x_hat=x_hat.detach(),
            loss=loss.detach(),
            reconstruction=reconstruction.detach(),
            penalty=penalty.detach(),
            coefficient=coefficient,
            learning_rate=rate,
        )

    @torch.no_grad()
    def require_finite(self) -> None:
        """Raise NonFiniteError if a loss so far, a weight or a moment is NaN or infinite. Waits for the device."""
        state = [tensor for tensor in self._tensors().values() if tensor.is_floating_point()]
        finite = torch.stack([torch.isfinite(tensor).all() for tensor in state]).all()
        step, state_is_finite = torch.stack([self._nonfinite_step, finite.long()]).tolist()
        if step:
            raise NonFiniteError(f"The loss became NaN or infinite at step {step}")
        if not state_is_finite:
            raise NonFiniteError(f"The weights became NaN or infinite at or before step {self.steps_done}")

    def checkpoint(self) -> Checkpoint:
        """Return the whole state for saving. Its tensors are the live ones, not copies: save them before the next step."""
        return Checkpoint(
            config=CheckpointConfig(spec=self.spec, d_in=self.sae.d_in, step=self.steps_done, tokens=self.tokens),
            weights=self._weights(),
            training=self._training_tensors(),
        )

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint of the same spec; training then goes on as if it had never stopped.

        Raises CheckpointError if it is of another spec or another width.
        """
        config = checkpoint.config
        if config.spec.digest() != self.spec.digest():
            raise CheckpointError(
                f"The checkpoint at step {config.step} is of a run with digest {config.spec.digest()[:12]}, "
                f"this run has {self.spec.digest()[:12]}; resume a run from its own checkpoints only."
            )
        require_same_layout(checkpoint.weights, self._weights(), where=WEIGHTS)
        require_same_layout(checkpoint.training, self._training_tensors(), where=TRAINING)
        saved = {**checkpoint.weights, **checkpoint.training}
        for name, tensor in self._tensors().items():
            tensor.copy_(saved[name])
        self.steps_done = config.step
        self._nonfinite_step.zero_()

    @torch.no_grad()
    def _count(self, acts: Tensor, loss: Tensor) -> None:
        fired = acts.amax(dim=0) > 0
        self._tokens_since_fired.add_(len(acts)).masked_fill_(fired, 0)
        fine = torch.isfinite(loss) | (self._nonfinite_step > 0)
        self._nonfinite_step.add_(~fine, alpha=self.steps_done)

    def _on_device(self, x: Tensor) -> Tensor:
        if self._device.type != "cuda":
            return x.to(self._device)
        # Copied from pinned memory, a batch travels while the device still works on the last step.
        return x.pin_memory().to(self._device, non_blocking=True)

    def _weights(self) -> dict[str, Tensor]:
        return dict(self.sae.state_dict())

    def _training_tensors(self) -> dict[str, Tensor]:
        return {"tokens_since_fired": self._tokens_since_fired} | optimizer_tensors(self._optimizer, self.sae)

    def _tensors(self) -> dict[str, Tensor]:
        return self._weights() | self._training_tensors()
