"""What the plan plans with: one reading of the queue, the live runs, the usage and the nodes. Written by nobody here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from prolu.client.wire import NodeRead
from service.domain.planning import (
    Asked,
    Candidate,
    Node,
    Occupant,
    Plan,
    Policy,
    Share,
    could_ever_fit,
    plan,
    shares,
)
from service.domain.retries import AVOID_NODE_SECONDS
from service.store import nodes, usage
from service.store.db import database_now
from service.store.live import LiveAttempt, live
from service.store.models import AttemptRow, EventRow, RunRow, SweepRow, UserRow

IS_WAITING = and_(RunRow.desired_state == "running", RunRow.state == "queued")


@dataclass(frozen=True)
class Situation:
    """The queue and all that decides about it, at one moment by the database's clock."""

    waiting: Sequence[Candidate]
    live: Sequence[Occupant]
    attempts: Sequence[LiveAttempt]
    """The same as `live`, as the dispatcher sees them."""
    nodes: Sequence[Node]
    usage: Mapping[str, float]
    """Decayed GPU-seconds by user, those of live attempts among them."""
    weights: Mapping[str, float]
    now: datetime

    def shares(self) -> dict[str, Share]:
        """Where each user stands who has runs that wait or work."""
        active = {one.owner for one in self.waiting} | {one.owner for one in self.live}
        return shares(self.usage, {user: self.weights.get(user, 1.0) for user in sorted(active)})

    def plan(self, policy: Policy) -> Plan:
        """Decide for every run that waits."""
        return plan(
            self.waiting,
            self.live,
            self.nodes,
            usage=self.usage,
            weights=self.weights,
            now=self.now,
            policy=policy,
        )


def read(session: Session, policy: Policy) -> Situation:
    """Read everything; a run is of exactly one side, waiting or live, since one transaction reads both."""
    now = database_now(session)
    attempts = live(session)
    occupants = [occupant(attempt, now) for attempt in attempts]
    offered = [node(one) for one in nodes.nodes(session)]
    return Situation(
        waiting=_kept_away(waiting(session), _came_up_nowhere(session, now), offered),
        live=occupants,
        attempts=attempts,
        nodes=offered,
        usage=_with_live(
            usage.decayed_usage(session, now=now, half_life_seconds=policy.half_life_seconds), occupants, policy
        ),
        weights=usage.weights(session),
        now=now,
    )


def waiting(session: Session) -> list[Candidate]:
    """Give every run that may be claimed, in no order."""
    rows = session.execute(
        select(
            RunRow.id,
            UserRow.name.label("owner"),
            RunRow.waiting_since,
            RunRow.cpus,
            RunRow.gpus,
            RunRow.memory_gb,
            RunRow.ranks,
            RunRow.gpu_type,
            RunRow.sweep_id,
            RunRow.tier,
            RunRow.priority,
            SweepRow.max_concurrent,
            RunRow.run_limit_seconds,
        )
        .join(UserRow, UserRow.id == RunRow.owner_id)
        .outerjoin(SweepRow, SweepRow.id == RunRow.sweep_id)
        .where(IS_WAITING)
    )
    # Equal requests are one object, which the plan compares and hashes ten thousand times.
    asks: dict[Asked, Asked] = {}
    found = []
    for run_id, owner, since, cpus, gpus, memory_gb, ranks, gpu_type, *rest in rows:
        asked = Asked(cpus, gpus, memory_gb, ranks, gpu_type)
        found.append(Candidate(run_id, owner, since, asks.setdefault(asked, asked), *rest))
    return found


def _came_up_nowhere(session: Session, now: datetime) -> dict[UUID, set[str]]:
    """The nodes on which a waiting run was put a short while ago, and did not come up."""
    rows = session.execute(
        select(AttemptRow.run_id, AttemptRow.nodes)
        .join(RunRow, RunRow.id == AttemptRow.run_id)
        .where(
            IS_WAITING,
            AttemptRow.outcome == "lost",
            AttemptRow.failure_class == "not_started",
            AttemptRow.finished_at > now - timedelta(seconds=AVOID_NODE_SECONDS),
        )
    )
    found: dict[UUID, set[str]] = defaultdict(set)
    for run_id, names in rows:
        found[run_id].update(names or ())
    return found


def _kept_away(runs: list[Candidate], avoided: Mapping[UUID, set[str]], offered: Sequence[Node]) -> list[Candidate]:
    """Have the runs avoid these nodes, unless no other could ever hold them."""
    if not avoided:
        return runs
    staying = [one for one in offered if not one.draining]
    known = {one.name for one in staying}
    kept = []
    for run in runs:
        names = known & avoided.get(run.run_id, set())
        elsewhere = replace(run.asked, avoided=tuple(sorted(names))) if names else run.asked
        kept.append(replace(run, asked=elsewhere) if names and could_ever_fit(elsewhere, staying) else run)
    return kept


def last_event(session: Session) -> tuple[int, int]:
    """The id of the newest event, and how many of the last ids there are. While both stay, nothing has happened.

    Ids are given before their transactions commit, so one may appear below the newest.
    """
    newest = session.scalar(select(func.max(EventRow.id))) or 0
    recent = session.scalar(select(func.count()).where(EventRow.id > newest - _RECENT_EVENTS)) or 0
    return newest, recent


_RECENT_EVENTS = 100


def occupant(attempt: LiveAttempt, now: datetime) -> Occupant:
    """Give a live attempt as the plan sees it."""
    ran = max(0.0, (now - attempt.started_at).total_seconds())
    limit = attempt.run_limit_seconds
    return Occupant(
        run_id=attempt.run_id,
        owner=attempt.owner,
        asked=attempt.asked,
        nodes=attempt.nodes,
        devices=attempt.devices,
        sweep_id=attempt.sweep_id,
        tier=attempt.tier,
        priority=attempt.priority,
        preemptible=attempt.preemptible and attempt.desired_state == "running",
        ran_seconds=ran,
        ends_within_seconds=None if limit is None else max(0.0, limit - ran),
        stopping=attempt.stop_asked_at is not None or attempt.desired_state != "running",
        waiting_since=attempt.waiting_since,
        max_concurrent=attempt.max_concurrent,
        limit_seconds=limit,
    )


def node(seen: NodeRead) -> Node:
    """Give a node as the plan sees it."""
    return Node(seen.name, seen.cpus, seen.gpus, seen.memory_gb, seen.gpu_type, seen.draining)


def _with_live(past: dict[str, float], occupants: Iterable[Occupant], policy: Policy) -> dict[str, float]:
    """Add what the live attempts have taken, each at least its entry charge."""
    total = defaultdict(float, past)
    for one in occupants:
        total[one.owner] += one.charge_per_second * max(one.ran_seconds, policy.weights.entry_seconds)
    return dict(total)
