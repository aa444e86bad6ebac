"""Which trials no other one beats. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal


def front(values: Sequence[Sequence[float] | None], goals: Sequence[Literal["minimize", "maximize"]]) -> list[bool]:
    """Tell for each whether no other is at least as good by every objective and better by one; None is never on the front.

    With one objective the front is the best, and all that equal it.
    """
    signs = [1.0 if goal == "minimize" else -1.0 for goal in goals]
    costs = [
        None if one is None else tuple(sign * value for sign, value in zip(signs, one, strict=True)) for one in values
    ]
    # In order of their costs, whoever is beaten is beaten by one that is on the front and came before.
    best: list[tuple[float, ...]] = []
    for cost in sorted({cost for cost in costs if cost is not None}):
        if not any(all(a <= b for a, b in zip(other, cost, strict=True)) for other in best):
            best.append(cost)
    on_it = set(best)
    return [cost is not None and cost in on_it for cost in costs]
