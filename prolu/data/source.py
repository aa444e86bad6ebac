"""What training asks of data: batches by number, and a held-out set. Knows no source in particular."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from prolu.spec.report import Progress

Notify = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


@runtime_checkable  # so that tests can check it as they check shapes
class ActivationSource(Protocol):
    """A stream of activations that can be read from any step, so that a run resumes by its step number alone."""

    @property
    def d_in(self) -> int:
        """Width of one activation."""
        ...

    def batch(self, step: int, batch_size: int) -> Float[Tensor, "batch d_in"]:
        """Return the training batch of `step` (from 0): float32, on the CPU, already normalised.

        A pure function of (spec, step, batch_size).
        """
        ...

    def evaluation(self, batch_size: int) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Yield the held-out activations in order, normalised: the same for every run with the same data spec.

        The last batch may be shorter.
        """
        ...
