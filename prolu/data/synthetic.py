"""Sparse ground-truth features in superposition plus noise: an endless stream of numbered samples.

Sample r is x_r = sum_i c_ri d_i + noise, with d_i unit vectors drawn once, c_ri zero except with probability
p = active_features / n_features, then drawn from a law of mean 1, and noise ~ N(0, noise_std^2) in each coordinate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from prolu.data.activity import active_pairs
from prolu.data.rms import rms_of_batches
from prolu.models.normalisation import Normaliser
from prolu.spec.base import digest_of
from prolu.spec.data import Magnitudes, SyntheticData

# Samples are drawn in blocks of this many, each from a generator of its own, so that any block can be had without the others
# and the stream does not depend on the batch size.
_BLOCK = 512
# Blocks that `dataset_rms` is measured on.
_RMS_BLOCKS = 16
_SIGMA = 0.5
# Changes when the same spec would give other samples.
_FORMAT = 1


class SyntheticSource:
    """Activations drawn from a dictionary that is known, so that what an SAE recovers can be measured."""

    spliced = None

    def __init__(self, spec: SyntheticData) -> None:
        self._spec = spec

    @property
    def d_in(self) -> int:
        """Width of one activation."""
        return self._spec.d_in

    @property
    def identity(self) -> str:
        """What the samples are, which follows from the spec."""
        return f"sha256 {digest_of({'format': _FORMAT, 'spec': self._spec.model_dump(mode='json')})[:16]}"

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
        active = active_pairs(self._spec, _BLOCK, generator)
        samples = torch.div(active, self._spec.n_features, rounding_mode="floor")
        magnitudes = _magnitudes(self._spec.magnitudes, len(active), generator)
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


def _magnitudes(law: Magnitudes, count: int, generator: torch.Generator) -> Float[Tensor, " count"]:
    """Draw from the law, whose mean is 1.

    uniform      0.5 + U, U uniform on [0, 1)
    constant     1
    exponential  -log(1 - U)
    lognormal    exp(sigma Z - sigma^2 / 2) with sigma = 0.5, Z standard normal
    """
    match law:
        case "uniform":
            return 0.5 + torch.rand(count, generator=generator)
        case "constant":
            return torch.ones(count)
        case "exponential":
            return -torch.log1p(-torch.rand(count, generator=generator))
        case "lognormal":
            return torch.exp(_SIGMA * torch.randn(count, generator=generator) - _SIGMA**2 / 2)
