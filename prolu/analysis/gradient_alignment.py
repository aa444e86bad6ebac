"""Where each estimator's update points: its cosine with directions of descent, on the same weights and the same batches.

The question, from the exchange under the ProLU post, is whether STE gradients with L1 point more toward minimising L0.

The update of an estimator is minus the gradient of reconstruction + lambda * penalty with that estimator in the backward pass,
as training hands it to its optimizer; where decoder rows are kept at norm 1, before the part along them is removed. It is
compared whole (`loss`), and its two parts alone (`reconstruction`, `penalty`). The directions are those of
`prolu.analysis.descent`. Cosines are 1 for the same direction, 0 for orthogonal ones, and do not depend on lengths.

    NotComparable   the autoencoder has no estimator to swap, or the loss no penalty
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from prolu.analysis.descent import GROUPS, descents
from prolu.data.source import ActivationSource
from prolu.models.gradients import Activation, activation_of
from prolu.models.penalties import penalty_for
from prolu.models.pointwise import Pointwise
from prolu.models.reconstruction import Reduction, reconstruction_loss
from prolu.models.sae import Sae
from prolu.spec.base import canonical_json
from prolu.spec.report import Alignment, Estimate
from prolu.spec.sae import ProluHybridSae, ProluSae
from prolu.spec.sparsity import NoPenalty, SparsitySpec
from prolu.spec.training import GradientAlignmentSpec

Part = Literal["loss", "reconstruction", "penalty"]
_Question = tuple[str, Part, Literal["l0", "reconstruction", "l1"], float | None, str]


class NotComparable(ValueError):
    """There is nothing to compare; the sentence says why."""


def gradient_alignment(
    sae: Sae,
    source: ActivationSource,
    spec: GradientAlignmentSpec,
    *,
    sparsity: SparsitySpec,
    over: Reduction,
    coefficient: float | None = None,
) -> list[Alignment]:
    """Return the cosine of every update with every direction, by group of parameters, over held-out batches.

    `coefficient` is lambda, by default the one that `sparsity` names. Every estimator sees the same batches: the first
    `spec.batches` of the evaluation set, or as many as it has of whole size; if it has none, all of it as one. A cosine that has
    no value, because a direction is zero or not finite, is left out of the mean; an alignment that has none is left out of the
    list. `sae` stays as it is, `.grad` included.

    Raises NotComparable if the SAE is neither prolu nor prolu_hybrid, or if there is no penalty.
    """
    if not isinstance(sae, Pointwise) or not isinstance(sae.spec, ProluSae | ProluHybridSae):
        raise NotComparable(
            f"Estimators of ProLU are compared on prolu or prolu_hybrid, and this SAE is {sae.spec.kind!r}; "
            "take a checkpoint of one of those."
        )
    if isinstance(sparsity, NoPenalty):
        raise NotComparable("The update of a loss without penalty says nothing of sparsity; name a penalty such as l1.")
    weight = sparsity.coefficient if coefficient is None else coefficient
    activations = {
        canonical_json(estimator.model_dump(mode="json")): activation_of(
            sae.spec.model_copy(update={"estimator": estimator})
        )
        for estimator in spec.estimators
    }
    cosines: dict[_Question, list[Tensor]] = {}
    for batch in _batches(source, spec):
        x = batch.to(sae.W_enc.device)
        directions = [
            (descent.objective, descent.bandwidth, _Directions(descent.gradients))
            for descent in descents(sae, x, bandwidths=list(dict.fromkeys(spec.bandwidths)), over=over)
        ]
        for estimator, parts in updates(sae, x, activations, sparsity=sparsity, over=over, coefficient=weight):
            for part, gradients in parts.items():
                update = _Directions(gradients)
                for objective, bandwidth, direction in directions:
                    found = update.cosines(direction)
                    for group in _compared(objective, bandwidth):
                        if group in found:
                            question = (estimator, part, objective, bandwidth, group)
                            cosines.setdefault(question, []).append(found[group])
    return list(_alignments(cosines))


def updates(
    sae: Pointwise,
    x: Float[Tensor, "batch d_in"],
    activations: Mapping[str, Activation],
    *,
    sparsity: SparsitySpec,
    over: Reduction,
    coefficient: float,
) -> Iterable[tuple[str, dict[Part, dict[str, Tensor]]]]:
    """Yield, for each named activation in the place of the SAE's own, the gradients of the loss and of its two parts.

    Gradients are by group; the update is their opposite.
    """
    parameters = [getattr(sae, group) for group in GROUPS]
    for name, activation in activations.items():
        with torch.enable_grad():
            acts = activation(sae.pre_acts(x), sae.b_enc)
            error = reconstruction_loss(sae.decode(acts), x, over=over)
            penalty = penalty_for(sparsity, acts, sae.W_dec)
            of_error = _gradients(error, parameters)
            of_penalty = _gradients(penalty, parameters)
        whole = {group: of_error[group] + coefficient * of_penalty[group] for group in GROUPS}
        yield name, {"loss": whole, "reconstruction": of_error, "penalty": of_penalty}


def _batches(source: ActivationSource, spec: GradientAlignmentSpec) -> Iterable[Float[Tensor, "batch d_in"]]:
    """Yield what is compared; a last batch that is shorter would weigh as much as the others, so it counts only alone."""
    for index, batch in enumerate(islice(source.evaluation(spec.batch_size), spec.batches)):
        if index == 0 or len(batch) == spec.batch_size:
            yield batch


class _Directions:
    """Gradients by group as lengths, in float64, and vectors of length 1, so that no square underflows."""

    def __init__(self, gradients: Mapping[str, Tensor]) -> None:
        self._norms = {
            group: torch.linalg.vector_norm(gradient, dtype=torch.float64) for group, gradient in gradients.items()
        }
        self._units = {
            group: (gradient / self._norms[group].masked_fill(self._norms[group] == 0, 1.0)).flatten()
            for group, gradient in gradients.items()
        }

    def cosines(self, other: _Directions) -> dict[str, Float64[Tensor, ""]]:
        """Return the cosine within each group that both have, and over `all` groups; NaN where either direction is zero."""
        dots = {
            group: torch.dot(unit, other._units[group]).double() * self._norms[group] * other._norms[group]
            for group, unit in self._units.items()
            if group in other._units
        }
        cosines = {group: dot / (self._norms[group] * other._norms[group]) for group, dot in dots.items()}
        cosines["all"] = torch.stack(list(dots.values())).sum() / (self._norm() * other._norm())
        return cosines

    def _norm(self) -> Float64[Tensor, ""]:
        norm: Tensor = torch.linalg.vector_norm(torch.stack(list(self._norms.values())))
        return norm


def _compared(objective: str, bandwidth: float | None) -> tuple[str, ...]:
    """Return the groups in which an objective is compared; what its bandwidth does not change is compared without one."""
    if objective != "reconstruction":
        return (*GROUPS, "all")
    return ("W_enc", "W_dec", "b_dec") if bandwidth is None else ("b_enc", "all")


def _alignments(cosines: Mapping[_Question, list[Tensor]]) -> Iterable[Alignment]:
    for (estimator, part, objective, bandwidth, group), values in cosines.items():
        numbers = torch.stack(values).cpu().numpy()
        numbers = numbers[np.isfinite(numbers)]
        n = len(numbers)
        if n:
            error = float(numbers.std(ddof=1) / np.sqrt(n)) if n > 1 else None
            cosine = Estimate(mean=float(numbers.mean()), standard_error=error, n=n)
            yield Alignment(
                estimator=estimator, part=part, objective=objective, bandwidth=bandwidth, group=group, cosine=cosine
            )


def _gradients(value: Float[Tensor, ""], parameters: list[Tensor]) -> dict[str, Tensor]:
    found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
    return dict(zip(GROUPS, found, strict=True))
