"""Which checkpoints a policy keeps, and why. Pure: what runs still need, and what was measured, is read by the store.

pinned      somebody said so, of it or of its run or sweep
needed      an unfinished run goes on from it, or one that may be tried again would
referred    another run began with it, or refers to its run instead of training again
final       it is the last one of its run
last        it is one of the latest so many of its run
best        it is one of the best so many, by a metric, of all that are looked at
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from prolu.client.wire import KeepBest, KeepReason


@dataclass(frozen=True, slots=True)
class Held:
    """A checkpoint as a policy sees it."""

    id: UUID
    run_id: UUID
    step: int
    epoch: int
    bytes: int
    final: bool
    value: float | None
    """What was measured at its step, of the metric that the policy names."""
    protected: tuple[KeepReason, ...] = ()
    """Why it is kept whatever the policy says."""


def reasons_to_keep(
    held: Sequence[Held], *, keep_last: int, keep_final: bool, keep_best: KeepBest | None
) -> dict[UUID, tuple[KeepReason, ...]]:
    """Say of every checkpoint why it is kept; without a reason it is not.

    An attempt that went on from a checkpoint repeats its steps: of one step only the latest attempt's counts to a policy.
    """
    latest = _latest_of_each_step(held)
    last, best = _last(latest, keep_last), _best(latest, keep_best)
    chosen: list[tuple[KeepReason, set[UUID]]] = [
        ("final", {one.id for one in held if one.final and keep_final}),
        ("last", last),
        ("best", best),
    ]
    return {one.id: (*one.protected, *(reason for reason, ids in chosen if one.id in ids)) for one in held}


def _latest_of_each_step(held: Iterable[Held]) -> list[Held]:
    found: dict[tuple[UUID, int], Held] = {}
    for one in sorted(held, key=lambda one: one.epoch):
        found[one.run_id, one.step] = one
    return list(found.values())


def _last(held: Iterable[Held], count: int) -> set[UUID]:
    by_run: dict[UUID, list[Held]] = defaultdict(list)
    for one in held:
        by_run[one.run_id].append(one)
    ordered = (sorted(ones, key=lambda one: -one.step) for ones in by_run.values())
    return {one.id for ones in ordered for one in ones[:count]}


def _best(held: Iterable[Held], wanted: KeepBest | None) -> set[UUID]:
    if wanted is None:
        return set()
    sign = 1 if wanted.goal == "min" else -1
    measured = [(sign * one.value, -one.step, one.id) for one in held if one.value is not None]
    return {identity for _, _, identity in sorted(measured)[: wanted.count]}
