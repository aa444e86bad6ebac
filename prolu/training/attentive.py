"""A source that listens while it is measured: long evaluations end soon after somebody asks. Knows no model and no report."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jaxtyping import Float
from torch import Tensor

from prolu.data.source import ActivationSource, SplicedLosses, SplicedModel
from prolu.models.normalisation import Normaliser

Listen = Callable[[], None]


class AttentiveSource:
    """Another source, which calls `before_batch` before every batch of training, and `measuring` before every one held out.

    What they raise ends the reading.
    """

    def __init__(self, source: ActivationSource, *, before_batch: Listen, measuring: Listen) -> None:
        self._source = source
        self._before_batch = before_batch
        self._measuring = measuring

    @property
    def d_in(self) -> int:
        """Width of one activation."""
        return self._source.d_in

    @property
    def identity(self) -> str:
        """As the other source's."""
        return self._source.identity

    @property
    def normaliser(self) -> Normaliser:
        """As the other source's."""
        return self._source.normaliser

    @property
    def dictionary(self) -> Float[Tensor, "n_features d_in"] | None:
        """As the other source's."""
        return self._source.dictionary

    @property
    def spliced(self) -> SplicedModel | None:
        """The other source's language model, listening before every reconstruction."""
        spliced = self._source.spliced
        return None if spliced is None else _AttentiveModel(spliced, self._measuring)

    def batch(self, step: int, batch_size: int) -> Float[Tensor, "batch d_in"]:
        """Return the training batch of `step`."""
        self._before_batch()
        return self._source.batch(step, batch_size)

    def evaluation(self, batch_size: int) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Yield the held-out activations in order."""
        for x in self._source.evaluation(batch_size):
            self._measuring()
            yield x


class _AttentiveModel:
    def __init__(self, model: SplicedModel, listen: Listen) -> None:
        self._model = model
        self._listen = listen

    def losses(self, reconstruct: Callable[[Tensor], Tensor]) -> SplicedLosses:
        def attentively(x: Float[Tensor, "rows d_in"]) -> Float[Tensor, "rows d_in"]:
            self._listen()
            return reconstruct(x)

        return self._model.losses(attentively)
