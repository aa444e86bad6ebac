"""Which runs of a sweep end early, because others are better at the same step. Pure: nothing is kept, nobody is asked.

    asha    asynchronous successive halving (Li et al. 2020, arXiv 1810.05934, algorithm 2, without its pauses): a run comes to
            rung r with its first point at or beyond min_steps * reduction_factor^r. Of the n runs that have come to the rung at
            that very step, itself among them, the best max(1, floor(n / reduction_factor)) go on.
    median  the median rule (Golovin et al. 2017, Google Vizier, section 3.2): from min_steps on, a run ends whose best value so
            far is strictly worse than the median, over the runs that succeeded, of their means up to that step.

Whoever comes first is judged against those who came before, and not again when others come: what was decided stays. A run whose
value nobody else's beats is never stopped, and equal values go on together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from prolu.spec import Asha, Median


@dataclass(frozen=True)
class Verdict:
    """What becomes of a run at a step, and why, in a sentence."""

    stop: bool
    reason: str
    bound: float | None = None
    """The value that it would have needed; None where it was compared with nobody."""
    others: int = 0
    """With how many runs it was compared."""


def rung_of(rule: Asha, step: int, last: int | None) -> int | None:
    """The rung that a run comes to with a point at `step`, when `last` was its last one; None if it comes to none.

    A run that passes several rungs at once comes to the highest of them.
    """
    rung, at = -1, rule.min_steps
    while at <= step:
        rung, at = rung + 1, at * rule.reduction_factor
    return rung if rung > (-1 if last is None else last) else None


def halve(rule: Asha, *, rung: int, step: int, value: float, others: Sequence[float]) -> Verdict:
    """Judge a run that has come to a rung; `others` are the values of those that came to it before, at the same step."""
    costs = sorted(_cost(rule.goal, one) for one in (*others, value))
    going_on = max(1, len(costs) // rule.reduction_factor)
    bound = costs[going_on - 1]
    needed = _cost(rule.goal, bound)
    told = f"{rule.metric} {value:g} at step {step} (rung {rung})"
    among = f"the best {going_on} of {len(costs)} runs there go on"
    if _cost(rule.goal, value) > bound:
        return Verdict(True, f"Stopped early by asha: {told}; {among}, and need {needed:g}.", needed, len(others))
    return Verdict(False, f"Goes on by asha: {told}; {among}.", needed, len(others))


def compare(rule: Median, *, step: int, values: Sequence[float], others: Sequence[float]) -> Verdict:
    """Judge a run by its values up to a step; `others` are the means up to there of the runs that succeeded, and were there."""
    best = min(values, key=lambda value: _cost(rule.goal, value))
    told = f"its best {rule.metric} up to step {step} is {best:g}"
    if step < rule.min_steps or len(others) < rule.min_runs:
        reason = f"Goes on by the median rule: {len(others)} of {rule.min_runs} runs that it needs have succeeded."
        return Verdict(False, reason, None, len(others))
    bound = median(others)
    against = f"the median of the means of {len(others)} runs up to there is {bound:g}"
    if _cost(rule.goal, best) > _cost(rule.goal, bound):
        return Verdict(True, f"Stopped early by the median rule: {told}; {against}.", bound, len(others))
    return Verdict(False, f"Goes on by the median rule: {told}; {against}.", bound, len(others))


def _cost(goal: Literal["minimize", "maximize"], value: float) -> float:
    return value if goal == "minimize" else -value
