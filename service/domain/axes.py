"""What may be drawn against what, and which way is better: paths of the filter language that are numbers, with their goals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prolu.spec.pareto import Goal
from service.domain.filters import Column, column
from service.domain.filters.columns import unknown

# By the formulas of `prolu.analysis`. What is in neither has no better side by itself: the shrinkage is best at 1, and a
# bias is what it is.
_LOWER = ("l0", "l1", "mse", "fvu", "dead_fraction", "ce_sae", "kl")
_HIGHER = ("cosine", "ce_loss_score", "mmcs", "recovered_fraction")
GOALS: dict[str, Goal] = {
    **{f"metrics.{name}": "lower" for name in _LOWER},
    **{f"metrics.{name}": "higher" for name in _HIGHER},
}

FAMILY, UNDIVIDED = "family", "none"
# A nonlinearity and the gradient that it is trained with.
_OF_A_FAMILY = ("spec.sae.kind", "spec.sae.estimator.kind", "spec.sae.gradient")


class Unusable(ValueError):
    """A field of a question names something that cannot be asked so; the sentence says what can."""

    def __init__(self, field: str, sentence: str) -> None:
        self.field = field
        self.sentence = f"{field}: {sentence}"
        super().__init__(self.sentence)


@dataclass(frozen=True, slots=True)
class Axis:
    """A number, and which way is better."""

    column: Column
    goal: Goal


@dataclass(frozen=True, slots=True)
class Division:
    """By which columns runs are told apart, and how their parts are called."""

    columns: tuple[Column, ...]

    def name_of(self, values: tuple[Any, ...]) -> str | None:
        """`prolu ste`, `relu`, or the one value; None where nothing divides, or the run has no value there."""
        said = [str(value).lower() if isinstance(value, bool) else str(value) for value in values if value is not None]
        # The true gradient is what a nonlinearity has when nothing is said of it.
        return " ".join(word for place, word in enumerate(said) if place == 0 or word != "exact") or None


def number_at(field: str, path: str) -> Column:
    """The column of this path, which is a number. Raises Unusable."""
    found = _at(field, path)
    if found.kind not in ("number", "integer"):
        raise Unusable(
            field, f"{path} is no number but a {found.kind}; name a number, such as metrics.l0 or bias.mean."
        )
    return found


def value_at(field: str, path: str) -> Column:
    """The column of this path, which is a single value of any type. Raises Unusable."""
    found = _at(field, path)
    if not found.is_single:
        raise Unusable(field, f"{path} is no single value, so nothing is divided by it; name a path below it.")
    return found


def axis(field: str, path: str, goal: Goal | None) -> Axis:
    """The number of this path and its goal: the given one, or that of a known metric. Raises Unusable."""
    found = number_at(field, path)
    decided = goal or GOALS.get(path)
    if decided is None:
        sentence = f"which is better of {path}, lower or higher, nobody knows but you; set it to one of them."
        raise Unusable(f"{field}_goal", sentence)
    return Axis(found, decided)


def division(field: str, by: str) -> Division:
    """What `family`, `none` or a path divides runs by. Raises Unusable."""
    if by == UNDIVIDED:
        return Division(())
    if by == FAMILY:
        return Division(tuple(_at(field, path) for path in _OF_A_FAMILY))
    return Division((value_at(field, by),))


def _at(field: str, path: str) -> Column:
    found = column(path)
    if found is None:
        raise Unusable(field, unknown(path))
    return found
