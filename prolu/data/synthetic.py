"""Sparse ground-truth features in superposition plus noise: an endless stream of numbered samples.

Sample r is x_r = sum_i c_ri d_i + noise, with d_i unit vectors drawn once, c_ri zero except with probability
active_features / n_features, then uniform on [0.5, 1.5] (mean 1), and noise ~ N(0, noise_std^2) in each coordinate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from prolu.data.rms import rms_of_batches
from prolu.models.normalisation import Normaliser
from prolu.spec.data import SyntheticData

# Samples are drawn in blocks of this many, each from a generator of its own, so that any block can be had without the others
# and the stream does not depend on the batch size.
_BLOCK = 512
# Blocks that `dataset_rms` is measured on.
_RMS_BLOCKS = 16


class SyntheticSource:
    """Activations drawn from a dictionary that is known, so that what an SAE recovers can be measured."""

    spliced = None

    def __init__(self, spec: SyntheticData) -> None:
        self._spec = spec

    @property
    def d_in(self) -> int:
        """Width of one activation."""
        return self._spec.d_in

    @cached_property
    def dictionary(self) -> Float[Tensor, "n_features d_in"]:
        """The ground-truth features: unit vectors, uniform on the sphere."""
        shape = (self._spec.n_features, self._spec.d_in)
        directions = torch.randn(shape, generator=self._generator("dictionary", 0))
        norms: Tensor = torch.linalg.vector_norm(directions, dim=1, keepdim=True)
        return directions / norms

    @cached_property
    def normaliser(self) -> Normaliser:
        """What the samples go through; `dataset_rms` is that of the first 8,192 of the training stream."""
        if self._spec.normalisation != "dataset_rms":
            return Normaliser(self._spec.normalisation)
        return Normaliser("dataset_rms", rms_of_batches(self._block("train", number) for number in range(_RMS_BLOCKS)))

    def batch(self, step: int, batch_size: int) -> Float[Tensor, "batch d_in"]:
        """Return samples step * batch_size ... (step + 1) * batch_size - 1 of the training stream."""
        return self._samples("train", step * batch_size, (step + 1) * batch_size)

    def evaluation(self, batch_size: int) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Yield `eval_samples` samples of a stream of their own; the last batch may be shorter."""
        for start in range(0, self._spec.eval_samples, batch_size):
            yield self._samples("held_out", start, min(start + batch_size, self._spec.eval_samples))

    def _samples(self, stream: str, start: int, stop: int) -> Float[Tensor, "batch d_in"]:
        first, last = start // _BLOCK, (stop - 1) // _BLOCK
        blocks = torch.cat([self._block(stream, number) for number in range(first, last + 1)])
        return self.normaliser.normalise(blocks[start - first * _BLOCK : stop - first * _BLOCK])

    def _block(self, stream: str, number: int) -> Float[Tensor, "block d_in"]:
        generator = self._generator(stream, number)
        active = _bernoulli_indices(
            _BLOCK * self._spec.n_features, self._spec.active_features / self._spec.n_features, generator
        )
        samples = torch.div(active, self._spec.n_features, rounding_mode="floor")
        magnitudes = 0.5 + torch.rand(len(active), generator=generator)
        x = torch.nn.functional.embedding_bag(
            active % self._spec.n_features,
            self.dictionary,
            offsets=torch.searchsorted(samples, torch.arange(_BLOCK)),
            per_sample_weights=magnitudes,
            mode="sum",
        )
        return x + self._spec.noise_std * torch.randn(x.shape, generator=generator)

    def _generator(self, stream: str, number: int) -> torch.Generator:
        name = f"prolu.data.synthetic {self._spec.seed} {stream} {number}"
        seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") >> 1
        return torch.Generator().manual_seed(seed)


def _bernoulli_indices(trials: int, probability: float, generator: torch.Generator) -> Int[Tensor, " successes"]:
    """Return the rising indices of the successes among independent trials, in memory that grows with the successes alone.

    The gaps between successes are geometric: 1 + floor(log(1 - U) / log(1 - p)).
    """
    expected = trials * probability
    chunk = int(expected + 6 * expected**0.5 + 16)
    found: list[Tensor] = []
    last = torch.tensor(-1)
    log_failure = torch.log1p(torch.tensor(-probability, dtype=torch.float64))
    while last < trials:
        uniform = torch.rand(chunk, generator=generator, dtype=torch.float64)
        gaps = 1 + torch.floor(torch.log1p(-uniform) / log_failure).clamp(max=trials).long()
        found.append(last + gaps.cumsum(0))
        last = found[-1][-1]
    indices = torch.cat(found)
    return indices[indices < trials]
