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

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import exp2
from operator import itemgetter
from typing import Generic, NamedTuple, Protocol, TypeVar
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


class Score(NamedTuple):
    """Why a run stands where it stands; `total` is the sum of the three."""

    tier: int
    priority: float
    fair: float
    age: float

    @property
    def total(self) -> float:
        return self.priority + self.fair + self.age


class Ranked(NamedTuple, Generic[Placed]):
    """A run with its place's reasons."""

    run: Placed
    score: Score


# By how much a bound on a score may be wrong: far more than floats round off, far less than moves anybody.
_SLACK = 1e-6


class Line(Generic[Run]):
    """The runs that wait, each user's in the order among themselves, where tier, priority and wait alone decide."""

    def __init__(self, runs: Iterable[Run], *, now: datetime, by: Weights) -> None:
        self._now, self._by = now, by
        self.by_owner: dict[str, list[_Entry[Run]]] = defaultdict(list)
        for run in runs:
            self.by_owner[run.owner].append(self._entry(run))
        for mine in self.by_owner.values():
            mine.sort(key=_among_own)

    def joined_by(self, more: Iterable[Run]) -> Line[Run]:
        """The line with more runs in it; this one stays as it is."""
        joined = Line[Run]((), now=self._now, by=self._by)
        joined.by_owner.update(self.by_owner)
        for run in more:
            joined.by_owner[run.owner] = sorted([*joined.by_owner[run.owner], self._entry(run)], key=_among_own)
        return joined

    def _entry(self, run: Run) -> _Entry[Run]:
        by, since = self._by, run.waiting_since
        priority = by.priority * run.priority / 100
        waits = max(0.0, (self._now - since).total_seconds()) / by.full_age_seconds
        # The number of a UUID compares twenty times as fast as the UUID.
        among_own = (-run.tier, -(priority + by.age * waits), since, run.run_id.int)
        return _Entry(among_own, priority, by.age * min(waits, 1.0), run)


class _Entry(NamedTuple, Generic[Placed]):
    """A run in its owner's line: what sorts first goes first."""

    among_own: tuple[int, float, datetime, int]
    priority: float
    age: float
    run: Placed


_among_own = itemgetter(0)


def ranked(
    line: Line[Run], *, usage: Mapping[str, float], weights: Mapping[str, float], by: Weights
) -> Iterator[Ranked[Run]]:
    """Yield the runs in the order of the queue. `usage` and `weights` are by user, of every active one.

    Each place goes to one of the users' first runs, and not all of them are looked at. As the total usage grows, the share of
    everybody who is not charged falls: what a run would score at a total that is not reached yet is the most that it can score
    until then. The users stand in the order of that bound, and behind the first who is bounded below the best seen nobody is
    looked at. The bounds are made anew when the total has come as far, which is after as many places as keep both costs even.
    """
    users = [user for user, mine in line.by_owner.items() if mine]
    lines = [iter(line.by_owner[user]) for user in users]
    total = began = sum(usage.get(user, 0.0) for user in weights)
    total_weight = sum(weights.values())
    target = [weights[user] / total_weight for user in users]
    # usage_share / target_share = over_target / total
    over_target = [usage.get(user, 0.0) / share for user, share in zip(users, target, strict=True)]
    heads = [next(mine) for mine in lines]
    static = [-(head.priority + head.age) for head in heads]
    places, looks, stride, bounded_to, loose = 0, 0, 1, -1.0, 0.0
    # Of each user who still waits: tier, the best place by score, who it is.
    bounds = [(0, 0.0, index) for index in range(len(users))]

    def bound(index: int) -> tuple[int, float, int]:
        return heads[index].among_own[0], static[index] - by.fair * exp2(over_target[index] * loose) - _SLACK, index

    while bounds:
        if total > bounded_to:
            # As many places as looks cost about what the bounds cost: more if they were few.
            stride, looks = max(1, 2 * stride if looks < len(bounds) else stride // 2), 0
            bounded_to = total + stride * (total - began) / max(1, places)
            loose = -1 / bounded_to if bounded_to > 0 else 0.0
            bounds = sorted([bound(index) for _, _, index in bounds])
        scale = -1 / total if total > 0 else 0.0
        at, chosen, best_tier, best = -1, -1, 0, 0.0
        for looked, (tier, optimistic, index) in enumerate(bounds):
            if at >= 0 and (optimistic > best or tier > best_tier):
                break
            place = static[index] - by.fair * exp2(over_target[index] * scale)
            if at < 0 or place < best or (place == best and _earlier(heads[index], heads[chosen])):
                at, chosen, best_tier, best = looked, index, tier, place
            looks += 1
        del bounds[at]
        _, priority, age, run = heads[chosen]
        score = Score(run.tier, priority, by.fair * exp2(over_target[chosen] * scale), age)
        entry = by.entry_seconds * run.charge_per_second
        over_target[chosen] += entry / target[chosen]
        total += entry
        places += 1
        following = next(lines[chosen], None)
        if following is not None:
            heads[chosen], static[chosen] = following, -(following.priority + following.age)
            insort(bounds, bound(chosen))
        yield Ranked(run, score)


def _earlier(one: _Entry[Run], other: _Entry[Run]) -> bool:
    return one.among_own[2:] < other.among_own[2:]
