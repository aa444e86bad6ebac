"""What training asks of data: batches by number, and a held-out set. Knows no source in particular."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from prolu.models.normalisation import Normaliser
from prolu.spec.report import Progress

Notify = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


@runtime_checkable
class SplicedLosses(Protocol):
    """Cross-entropies in nats per predicted token, means over the held-out tokens; `prolu.data.splicing` has the formulas."""

    @property
    def ce_clean(self) -> float:
        """Of the model as it is."""
        ...

    @property
    def ce_sae(self) -> float:
        """With the reconstruction in place of the activations."""
        ...

    @property
    def ce_zero_ablation(self) -> float:
        """With zeros in place of the activations."""
        ...

    @property
    def kl(self) -> float:
        """Of the spliced model's predictions from the clean model's."""
        ...

    @property
    def tokens(self) -> int:
        """Predicted tokens behind the means."""
        ...


@runtime_checkable
class SplicedModel(Protocol):
    """The language model that the activations come from, with held-out contexts. An interface: loading one takes seconds."""

    def losses(self, reconstruct: Callable[[Float[Tensor, "rows d_in"]], Float[Tensor, "rows d_in"]]) -> SplicedLosses:
        """Measure with `reconstruct`, from raw activations to raw activations, spliced into the forward pass."""
        ...


@runtime_checkable  # so that tests can check it as they check shapes
class ActivationSource(Protocol):
    """A stream of activations that can be read from any step, so that a run resumes by its step number alone."""

    @property
    def d_in(self) -> int:
        """Width of one activation."""
        ...

    @property
    def identity(self) -> str:
        """A short text with a sha256 that says what the activations are, alike on every machine that has the same.

        Equal texts of one spec are equal batches and held-out activations, raw: a run may go on with them.
        """
        ...

    @property
    def normaliser(self) -> Normaliser:
        """What raw activations went through before they are given out."""
        ...

    @property
    def dictionary(self) -> Float[Tensor, "n_features d_in"] | None:
        """The ground-truth features, unit vectors, where they are known: of synthetic data; else None."""
        ...

    @property
    def spliced(self) -> SplicedModel | None:
        """The language model to measure cross-entropy with, where there is one and the spec asks for it; else None."""
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
