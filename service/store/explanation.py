"""Why a run is where it is, in a sentence and in numbers; and the queue and the shares, as the plan sees them."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from prolu.client.wire import (
    AheadRead,
    ExplainRead,
    QueueEntry,
    QueueRead,
    RunRead,
    ScoreRead,
    ShareRead,
    SharesRead,
)
from service.domain import lifecycle
from service.domain.planning import Decision, Score
from service.store import lease, lists, nodes
from service.store.models import AttemptRow, RunRow
from service.store.planned import View

# Of the runs ahead, the nearest are shown.
_AHEAD_SHOWN = 10


def explain(session: Session, view: View, run_id: UUID) -> ExplainRead:
    """Say why the run waits, or what it does. Raises NotFound."""
    run = lists.run(session, run_id)
    decision = view.decisions.get(run_id)
    if decision is None or run.state != "queued":
        return ExplainRead(run_id=run_id, state=run.state, reason=_doing(session, run))
    ahead = view.plan.decisions[: decision.place - 1]
    silence = _silence(session, view.situation.now)
    return ExplainRead(
        run_id=run_id,
        state=run.state,
        reason=silence or _sentence(decision),
        cause=decision.cause,
        position=decision.place,
        score=_score(decision.score),
        ahead_count=len(ahead),
        ahead=[_ahead(view, one) for one in ahead[-_AHEAD_SHOWN:]],
        share=shares_by_user(view).get(run.owner),
        estimated_start=None if silence else _at(view, view.starts.get(run_id)),
        starts_at_the_latest=_at(view, decision.starts_within_seconds),
    )


def queue(session: Session, view: View, *, limit: int) -> QueueRead:
    """What works, what waits in which order and why, and the cluster as the dispatcher last saw it."""
    first = view.plan.decisions[:limit]
    waiting = lists.summaries(session, [decision.run_id for decision in first])
    return QueueRead(
        live=[QueueEntry(position=None, run=run) for run in lists.live_runs(session)],
        waiting=[
            QueueEntry(
                position=decision.place,
                run=waiting[decision.run_id],
                cause=decision.cause,
                reason=_sentence(decision),
                score=_score(decision.score),
                estimated_start=_at(view, view.starts.get(decision.run_id)),
            )
            for decision in first
            if decision.run_id in waiting
        ],
        waiting_count=len(view.plan.decisions),
        nodes=nodes.nodes(session),
        dispatcher_seen_at=lease.last_sign_of_life(session),
    )


def shares(view: View, *, half_life_seconds: float) -> SharesRead:
    """Where everybody stands who has runs that wait or work."""
    return SharesRead(half_life_days=half_life_seconds / 86_400, shares=list(shares_by_user(view).values()))


def shares_by_user(view: View) -> dict[str, ShareRead]:
    """The same by user, in the order of their names."""
    now = view.situation
    live_runs, waiting_runs = (Counter(one.owner for one in runs) for runs in (now.live, now.waiting))
    live_gpus: dict[str, float] = defaultdict(float)
    for one in now.live:
        live_gpus[one.owner] += one.asked.gpus * one.asked.ranks
    return {
        user: ShareRead(
            user=user,
            weight=now.weights.get(user, 1.0),
            gpu_seconds=share.usage,
            usage_share=share.usage_share,
            target_share=share.target_share,
            fair=share.fair,
            live_runs=live_runs[user],
            live_gpus=live_gpus[user],
            waiting_runs=waiting_runs[user],
        )
        for user, share in sorted(view.shares.items())
    }


def _silence(session: Session, now: datetime) -> str | None:
    """Say that nothing starts at present, if no dispatcher lives."""
    seen = lease.last_sign_of_life(session)
    if seen is None:
        return "No dispatcher has been there yet, and it takes one to start runs."
    if now - seen <= lease.BELIEVED:
        return None
    return f"No dispatcher has been heard of since {seen:%Y-%m-%d %H:%M:%S} UTC; nothing starts until one is back."


def _doing(session: Session, run: RunRead) -> str:
    """What a run does that does not wait in the queue, and what its owner has wished of it."""
    wish = {"paused": " It will be paused.", "cancelled": " It will be cancelled.", "running": ""}[run.desired_state]
    if run.state == "paused" and run.desired_state == "running":
        return "It was resumed, and goes back into the queue as soon as a dispatcher sees it."
    return _state_of(session, run) + (wish if run.state in ("starting", "running", "retry_wait") else "")


def _state_of(session: Session, run: RunRead) -> str:
    if run.state in lifecycle.TERMINAL:
        why = f": {run.message}" if run.state == "failed" and run.message else ""
        return f"It has ended ({run.state}){why}"
    if run.state == "paused":
        return "It is paused; resume it, and it goes back into the queue."
    if run.state == "retry_wait":
        row = session.get_one(RunRow, run.id)
        due = f"{row.not_before:%Y-%m-%d %H:%M:%S} UTC" if row.not_before else "soon"
        return f"It is tried again at {due}. {run.message or ''}".strip()
    if run.state == "queued":
        wish = "cancelled" if run.desired_state == "cancelled" else "paused"
        return f"It is about to be {wish}." if run.desired_state != "running" else "It is about to be planned."
    attempt = session.get(AttemptRow, (run.id, run.epoch))
    where = ", ".join(dict.fromkeys((attempt.nodes or [attempt.node or "a node"]) if attempt else ["a node"]))
    if run.state == "stopping":
        return f"Attempt {run.epoch} on {where} was asked to checkpoint and end ({_why_it_stops(attempt)})."
    return f"Attempt {run.epoch} is {run.state} on {where}, at step {run.step} of {run.total_steps}."


def _why_it_stops(attempt: AttemptRow | None) -> str:
    if attempt is None or attempt.stop_reason is None:
        return "preempt"
    return f"{attempt.stop_reason}: {attempt.message}" if attempt.message else attempt.stop_reason


def _sentence(decision: Decision) -> str:
    return f"{decision.reason[0].upper()}{decision.reason[1:]}."


def _ahead(view: View, decision: Decision) -> AheadRead:
    return AheadRead(
        position=decision.place,
        run_id=decision.run_id,
        owner=view.candidates[decision.run_id].owner,
        score=_score(decision.score),
        reason=_sentence(decision),
    )


def _score(score: Score) -> ScoreRead:
    return ScoreRead(tier=score.tier, priority=score.priority, fair=score.fair, age=score.age, total=score.total)


def _at(view: View, seconds: float | None) -> datetime | None:
    return None if seconds is None else view.situation.now + timedelta(seconds=seconds)
