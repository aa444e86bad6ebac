"""The order of the queue: tier first, then a score.

    score = 1000 * priority / 100 + 2000 * fair + 1000 * min(wait / 24 h, 1)

Among the runs of one user the wait counts without its cap: there a point of priority is worth a quarter of an hour of waiting, so
a user's own stream of urgent runs does not keep an old one of theirs waiting for ever. Among users the cap stays, or who
floods the queue would be first as soon as the flood is old.

Every run that gets a place in the order is charged to its user at once (the entry charge), as if it had trained for
`entry_seconds` already: the users' runs come out interleaved by their shares, and one user's five hundred points cannot all
slip in before the first of them has moved that user's usage.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp2
from typing import Generic, Protocol, TypeVar
from uuid import UUID


class Waiting(Protocol):
    """What the order needs to know of a run that waits."""

    @property
    def run_id(self) -> UUID: ...

    @property
    def owner(self) -> str: ...

    @property
    def tier(self) -> int: ...

    @property
    def priority(self) -> int: ...

    @property
    def waiting_since(self) -> datetime: ...

    @property
    def charge_per_second(self) -> float: ...


Run = TypeVar("Run", bound=Waiting)
Placed = TypeVar("Placed", bound=Waiting, covariant=True)


@dataclass(frozen=True)
class Weights:
    """What counts how much in the order, and from when on a wait counts in full."""

    priority: float = 1000.0
    fair: float = 2000.0
    age: float = 1000.0
    full_age_seconds: float = 24 * 3600.0
    entry_seconds: float = 900.0


@dataclass(frozen=True)
class Score:
    """Why a run stands where it stands; `total` is the sum of the three."""

    tier: int
    priority: float
    fair: float
    age: float

    @property
    def total(self) -> float:
        return self.priority + self.fair + self.age


@dataclass(frozen=True)
class Ranked(Generic[Placed]):
    """A run with its place's reasons."""

    run: Placed
    score: Score


# Tier, score without the share, wait, identity: what sorts first goes first.
_Place = tuple[int, float, datetime, UUID]


def ranked(
    runs: Sequence[Run], *, usage: Mapping[str, float], weights: Mapping[str, float], now: datetime, by: Weights
) -> Iterator[Ranked[Run]]:
    """Yield the runs in the order of the queue. `usage` and `weights` are by user, of every active one.

    Among one user's runs only tier, priority and wait count, so each user's runs are sorted once, and each step
    compares the users' first runs: O(n log n + n u) for n runs of u users.
    """
    own: dict[str, list[tuple[_Place, _Place, float, float, Run]]] = defaultdict(list)
    for run in runs:
        priority = by.priority * run.priority / 100
        waits = max(0.0, (now - run.waiting_since).total_seconds()) / by.full_age_seconds
        age = by.age * min(waits, 1.0)
        among_own = (-run.tier, -(priority + by.age * waits), run.waiting_since, run.run_id)
        among_all = (-run.tier, -(priority + age), run.waiting_since, run.run_id)
        own[run.owner].append((among_own, among_all, priority, age, run))
    for mine in own.values():
        mine.sort(key=lambda entry: entry[0], reverse=True)  # the first is at the end, where it is cheap to take
    total = sum(usage.get(user, 0.0) for user in weights)
    total_weight = sum(weights.values())
    users = list(own)
    target = [weights[user] / total_weight for user in users]
    # usage_share / target_share = over_target / total
    over_target = [usage.get(user, 0.0) / share for user, share in zip(users, target, strict=True)]
    heads = [own[user][-1][1] for user in users]

    while users:
        scale = -1 / total if total > 0 else 0.0
        first, best = 0, None
        for index, (tier, static, since, run_id) in enumerate(heads):
            place = (tier, static - by.fair * exp2(over_target[index] * scale), since, run_id)
            if best is None or place < best:
                first, best = index, place
        mine = own[users[first]]
        _, _, priority, age, run = mine.pop()
        score = Score(run.tier, priority, by.fair * exp2(over_target[first] * scale), age)
        entry = by.entry_seconds * run.charge_per_second
        over_target[first] += entry / target[first]
        total += entry
        if mine:
            heads[first] = mine[-1][1]
        else:
            for column in (users, target, over_target, heads):
                del column[first]
        yield Ranked(run, score)
