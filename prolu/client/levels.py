"""What decides how sparse a run becomes: the coefficient of its penalty, its k, or the target of its controller."""

from __future__ import annotations

from prolu.client.wire import SparsityLevel
from prolu.spec import NoPenalty, RunSpec

_SYMBOLS = {"coefficient": "λ", "k": "k", "target_l0": "target L0"}
_AXES = {
    "coefficient": "λ, the coefficient of the sparsity penalty",
    "k": "k, latents that fire per token",
    "target_l0": "L0 to which λ is steered",
}


def level_of(spec: RunSpec) -> SparsityLevel | None:
    """The level of a run; None where neither a coefficient nor a k is set. A controller's target stands before its start."""
    k = getattr(spec.sae, "k", None)
    if k is not None:
        return SparsityLevel(kind="k", value=k)
    if isinstance(spec.sparsity, NoPenalty):
        return None
    if spec.sparsity.controller is not None:
        return SparsityLevel(kind="target_l0", value=spec.sparsity.controller.target_l0)
    return SparsityLevel(kind="coefficient", value=spec.sparsity.coefficient)


def in_words(level: SparsityLevel | None) -> str:
    """Write `λ = 0.001`, `k = 32`, or nothing."""
    return "" if level is None else f"{_SYMBOLS[level.kind]} = {level.value:.3g}"


def symbol(level: SparsityLevel) -> str:
    """The letter alone."""
    return _SYMBOLS[level.kind]


def axis_label(level: SparsityLevel) -> str:
    """What an axis of such levels is called."""
    return _AXES[level.kind]


def value_of(level: SparsityLevel | None) -> float:
    """By which runs of one variant are in order; those without a level come first."""
    return -1.0 if level is None else level.value
