"""One run's training state, and one step of it. Knows no stream, no reports, and of disks only the `Checkpoint` it hands over.

Whoever drives it decides which activations it sees and when it is measured, so several learners can share a stream.
A step consumes no random numbers, and a resample draws from (seed, step) alone: the state below and the step number are
all that a resume needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from prolu.models.initialisation import initialise_b_dec
from prolu.models.ranks import ALONE, Ranks
from prolu.models.sae import build_sae
from prolu.models.saved import TRAINING, WEIGHTS, CheckpointConfig, CheckpointError, require_same_layout
from prolu.spec.run import RunSpec
from prolu.training.checkpoint import Checkpoint
from prolu.training.controller import Coefficient
from prolu.training.decoder_norm import remove_parallel_part, renormalise
from prolu.training.firing import Firing, tokens_fired_on
from prolu.training.optimizer import Optimizer
from prolu.training.passes import training_pass
from prolu.training.resampling import Resampler
from prolu.training.same_data import require_same_data
from prolu.training.schedules import learning_rate
from prolu.training.snapshots import BiasMemory


class NonFiniteError(Exception):
    """The loss or the weights became NaN or infinite."""


@dataclass(frozen=True)
class StepResult:
    """What one step computed, before its update; tensors stay on the device and carry no gradient.

    `x`, `acts` and `x_hat` are of this rank's share of the batch, everything else is of the whole batch.
    """

    x: Float[Tensor, "share d_in"]
    acts: Float[Tensor, "share d_sae"]
    x_hat: Float[Tensor, "share d_in"]
    loss: Float[Tensor, ""]
    reconstruction: Float[Tensor, ""]
    penalty: Float[Tensor, ""]
    auxiliary: Float[Tensor, ""]
    coefficient: Float[Tensor, ""]
    learning_rate: float


class Learner:
    """The autoencoder of one run with its optimizer, schedules and counters.

    loss = reconstruction + coefficient * penalty + auxiliary, the terms by `prolu.models.objective`. All terms are means
    over the batch, so where `ranks` share it equally, the gradient of the whole is the mean of theirs. All state is then the
    same on every rank.
    """

    def __init__(
        self,
        spec: RunSpec,
        d_in: int,
        *,
        input_rms: float | None = None,
        data_identity: str | None = None,
        device: str = "cpu",
        ranks: Ranks = ALONE,
    ) -> None:
        self.spec = spec
        self.ranks = ranks
        self.sae = build_sae(spec.sae, d_in, spec.training.seed).to(device)
        self.sae.ranks = ranks
        self.steps_done = 0
        self._input_rms = input_rms
        self._data_identity = data_identity
        self._device = torch.device(device)
        self._pass = training_pass(spec, self._device, ranks=ranks)
        self._optimizer = Optimizer(self.sae, spec.training.optimizer)
        self._coefficient = Coefficient(spec, self._device)
        self.firing = Firing(spec.sae.d_sae, dead_window_tokens=spec.training.dead_window_tokens, device=self._device)
        self.resampler = Resampler(spec.training)
        self.biases = BiasMemory(spec.sae.d_sae, self._device)
        self.evaluated_step: Int64[Tensor, ""] = torch.zeros(
            (), dtype=torch.int64
        )  # the last at which it was; 0: never
        self._nonfinite_step = torch.zeros((), dtype=torch.int64, device=device)  # 0: none so far

    @property
    def tokens(self) -> int:
        """Activations read."""
        return self.steps_done * self.spec.training.batch_size

    @property
    def window_is_full(self) -> bool:
        """Whether `dead_window_tokens` activations were read; before, nobody is dead, since nobody can be known to be."""
        return self.tokens >= self.spec.training.dead_window_tokens

    @property
    def coefficient(self) -> float:
        """lambda as it is after the last step. Waits for the device."""
        return self._coefficient.at(max(self.steps_done - 1, 0)).item()

    def initialise(self, samples: Float[Tensor, "samples d_in"]) -> None:
        """Put b_dec where the spec's `b_dec_init` says, before the first step. Waits for the device."""
        initialise_b_dec(self.sae, self._on_device(samples))

    def resample(self, inputs: Float[Tensor, "samples d_in"]) -> None:
        """Revive the latents that have not fired since the last resample; see `prolu.training.resampling`.

        Waits for the device. Raises NonFiniteError if something is NaN or infinite by now.
        """
        self.require_finite()
        inputs = self._on_device(inputs)
        self.resampler.resample(self.sae, self._optimizer, self.firing, inputs, step=self.steps_done)
        self.align()

    def align(self) -> None:
        """Take over the leader's state, where there are other ranks.

        What is computed from sums is alike anyway; what each rank computes for itself, another kind of processor may round
        differently.
        """
        self.ranks.copy_from_leader(list(self._tensors().values()))

    def step(self, x: Float[Tensor, "batch d_in"]) -> StepResult:
        """Train on one batch, all ranks on the same. Nothing here waits for the device: no value is read back."""
        rate = learning_rate(self.steps_done, self.spec.training)
        coefficient = self._coefficient.at(self.steps_done)
        x, batch_size = self._on_device(self.ranks.share(x)), len(x)

        terms = self._pass(self.sae, x, self.firing.dead if self.window_is_full else None)
        loss = terms.reconstruction + coefficient.to(torch.float32) * terms.penalty + terms.auxiliary
        loss.backward()
        acts = terms.acts.detach()
        fired = tokens_fired_on(acts)
        parts = torch.stack([loss, terms.reconstruction, terms.penalty, terms.auxiliary]).detach()
        gradients = [parameter.grad for parameter in self.sae.parameters() if parameter.grad is not None]
        self.ranks.reduce(means=[*gradients, parts], sums=[fired])
        self._update(rate)
        self.sae.after_step(acts)

        l0 = self.firing.count(fired, batch_size, self.steps_done)
        self._coefficient.observe(l0, self.steps_done)
        self.steps_done += 1
        self._watch(parts[0])
        return StepResult(
            x=x,
            acts=acts,
            x_hat=terms.x_hat.detach(),
            loss=parts[0],
            reconstruction=parts[1],
            penalty=parts[2],
            auxiliary=parts[3],
            coefficient=coefficient,
            learning_rate=rate,
        )

    def remember_biases(self) -> None:
        """Keep the gate's biases as they are now, for the next snapshot to compare with."""
        self.biases.remember(self.sae.gate_bias.detach(), self.steps_done)

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
            config=CheckpointConfig(
                spec=self.spec,
                d_in=self.sae.d_in,
                step=self.steps_done,
                tokens=self.tokens,
                input_rms=self._input_rms,
                data_identity=self._data_identity,
            ),
            weights=self._weights(),
            training=self._training_tensors(),
        )

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint of the same spec and data; training then goes on as if it had never stopped.

        Raises CheckpointError if it is of another spec, DataError if it is of other data than are here now.
        """
        config = checkpoint.config
        if config.spec.digest() != self.spec.digest():
            raise CheckpointError(
                f"The checkpoint at step {config.step} is of a run with digest {config.spec.digest()[:12]}, "
                f"this run has {self.spec.digest()[:12]}; resume a run from its own checkpoints only."
            )
        # Before the tensors are compared: other data may be of another width, and the checkpoint is not to blame for it.
        require_same_data(config, self._data_identity)
        require_same_layout(checkpoint.weights, self._weights(), where=WEIGHTS)
        require_same_layout(checkpoint.training, self._training_tensors(), where=TRAINING)
        saved = {**checkpoint.weights, **checkpoint.training}
        for name, tensor in self._tensors().items():
            tensor.copy_(saved[name])
        self.steps_done = config.step
        self._nonfinite_step.zero_()

    def _update(self, rate: float) -> None:
        sae, clip = self.sae, self.spec.training.gradient_clip_norm
        unit_norm = self.spec.sae.decoder_norm == "unit"
        if unit_norm and sae.W_dec.grad is not None:
            remove_parallel_part(sae.W_dec.grad, sae.W_dec)
        if clip is not None:
            nn.utils.clip_grad_norm_(sae.parameters(), clip)  # of what remains of the gradient, all parameters together
        self._optimizer.step(rate)
        if unit_norm:
            renormalise(sae.W_dec)

    @torch.no_grad()
    def _watch(self, loss: Tensor) -> None:
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
        return (
            self.firing.tensors()
            | self.biases.tensors()
            | {"evaluated_step": self.evaluated_step}
            | self._coefficient.tensors()
            | self.resampler.tensors()
            | self._optimizer.tensors()
        )

    def _tensors(self) -> dict[str, Tensor]:
        return self._weights() | self._training_tensors()
