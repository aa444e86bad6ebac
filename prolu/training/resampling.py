"""Bring dead latents back to life where the autoencoder fails. Knows no stream.

Source: Bricken 2023 ("Towards Monosemanticity", appendix "Neuron Resampling"), which the ProLU post follows.
"""

from __future__ import annotations

import hashlib

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from prolu.models.sae import Sae
from prolu.spec.sae import JumpReluSae
from prolu.spec.training import ResamplingSpec, TrainingSpec
from prolu.training.firing import Firing
from prolu.training.latents import entries_of
from prolu.training.optimizer import Optimizer
from prolu.training.schedules import last_resample


class Resampler:
    """Resamples when the schedule says so, and counts what it resampled. Chance is drawn from (seed, step) alone.

    A latent is resampled if it has not fired since the last resample, or since the start.
    """

    def __init__(self, training: TrainingSpec) -> None:
        self._training = training
        self._count = torch.zeros((), dtype=torch.int64)

    def samples_due(self, step: int) -> int:
        """Return how many activations a resample asks for when `step` optimizer steps are done; 0 if none is due then."""
        spec = self._training.resampling
        return spec.samples if spec is not None and last_resample(step, self._training) == step else 0

    def resample(
        self, sae: Sae, optimizer: Optimizer, firing: Firing, inputs: Float[Tensor, "samples d_in"], *, step: int
    ) -> None:
        """Resample on `inputs` as `resample` says, and reset the optimizer's moments of the latents concerned alone."""
        training, spec = self._training, self._training.resampling
        if spec is None:
            return
        unfired = firing.tokens_since_fired >= spec.every_steps * training.batch_size
        generator = _generator(training.seed, step)
        latents = resample(sae, unfired, inputs, spec, generator=generator, batch_size=training.batch_size)
        optimizer.forget(latents)
        if self._resampled_since(self._point_at_or_before(step), before=step):
            self._count += len(latents)
        else:
            self._count.fill_(len(latents))

    def count(self, step: int) -> int | None:
        """Return how many latents were resampled since the point of training metrics before `step`; None without resample."""
        resampled = self._resampled_since(self._point_at_or_before(step - 1), before=step)
        return int(self._count) if resampled else None

    def tensors(self) -> dict[str, Tensor]:
        """Return the count by name, not a copy; nothing if the run does not resample."""
        return {} if self._training.resampling is None else {"resampled": self._count}

    def _point_at_or_before(self, step: int) -> int:
        every = self._training.metrics_every_steps
        return step // every * every

    def _resampled_since(self, point: int, *, before: int) -> bool:
        newest = last_resample(before - 1, self._training)
        return newest is not None and newest >= point


@torch.no_grad()
def resample(
    sae: Sae,
    unfired: Bool[Tensor, " d_sae"],
    inputs: Float[Tensor, "samples d_in"],
    spec: ResamplingSpec,
    *,
    generator: torch.Generator,
    batch_size: int,
) -> Int64[Tensor, " latents"]:
    """Give latents in `unfired` a direction of their own to start from, and return the numbers of these latents.

    For each of them an input x is drawn from those not drawn yet, with probability proportional to loss(x)^2, where
    loss(x) = ||x - x_hat||^2; with v = (x - b_dec) / ||x - b_dec||, the input as the encoder sees it,

        W_dec row       decoder_init_norm * v, which is v where rows have norm 1
        W_enc column    encoder_scale * (mean norm of the columns of the other latents) * v; of all, if there is no other
        vectors         as at the start: b_enc, b_gate, b_mag, r_mag = 0, jumprelu's threshold = initial_threshold

    TopK has no threshold of its own, and the one that the batch kinds share stays. Counters of firing stay too: a latent
    is dead until it fires. Two latents that began alike would stay alike, so no direction is given twice: if the inputs
    offer fewer than there are latents, the last latents stay as they are until a later resample. Does nothing if every
    loss is 0. Waits for the device. `batch_size` only bounds the memory.
    """
    centred = inputs - sae.b_dec
    norms = torch.linalg.vector_norm(centred, dim=1)
    losses = torch.cat([(sae(x) - x).double().square().sum(dim=1) for x in inputs.split(batch_size)])
    weights = losses.square() * (norms > 0)  # an input at b_dec has no direction
    latents = unfired.nonzero().squeeze(1)
    count = min(len(latents), int(weights.count_nonzero()))
    if not count:
        return latents[:0]
    drawn = torch.multinomial(weights.cpu(), count, replacement=False, generator=generator).to(inputs.device)
    directions = functional.normalize(centred[drawn], dim=1).unique(dim=0)  # two inputs may be the same
    latents = latents[: len(directions)]

    columns = torch.linalg.vector_norm(sae.W_enc, dim=0)
    living = columns if unfired.all() else columns[~unfired]
    start: dict[str, Tensor | float] = {
        "W_dec": sae.spec.decoder_init_norm * directions,
        "W_enc": spec.encoder_scale * living.mean() * directions.T,
    }
    if isinstance(sae.spec, JumpReluSae):
        start["threshold"] = sae.spec.initial_threshold
    for name, parameter in sae.named_parameters():
        index = entries_of(name, latents)
        if index is not None:
            parameter[index] = start.get(name, 0.0)
    return latents


def _generator(seed: int, step: int) -> torch.Generator:
    """Return the generator of the resample at `step` of a run with this seed, so that no checkpoint holds one."""
    name = f"prolu.training.resampling {seed} {step}"
    return torch.Generator().manual_seed(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) >> 1)
