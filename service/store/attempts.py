"""The fence around an attempt, and how attempts end. The only place that changes `runs.state` of a single run.

The run's row is the lock of everything below it: whoever writes for `(run_id, epoch)` holds it first, and finds out
under the lock whether that attempt still counts.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session, defer

from prolu.client.wire import AttemptOutcome, DesiredState
from prolu.spec.report import FailureClass, storable
from service.domain import lifecycle, retries
from service.domain.lifecycle import Move
from service.domain.retries import Ended
from service.store import usage
from service.store.models import AttemptRow, EventRow, RunRow

_chance = random.SystemRandom()
# Where a session keeps the attempts that ended and are charged together.
_ENDED = "prolu_ended"


class End(NamedTuple):
    """How an attempt ended, as it is written."""

    outcome: AttemptOutcome
    failure_class: FailureClass | None

    @classmethod
    def of(cls, attempt: AttemptRow) -> End | None:
        """None for one that goes on."""
        return None if attempt.outcome is None else cls(attempt.outcome, attempt.failure_class)


def how_it_ended(session: Session, run_id: UUID, epoch: int) -> End | None:
    """How an attempt ended; None for one that goes on, or that there is not."""
    attempt = session.get(AttemptRow, (run_id, epoch))
    return None if attempt is None else End.of(attempt)


def lock_run(session: Session, run_id: UUID) -> RunRow | None:
    """Read a run and hold its row until the transaction ends; None if there is no such run."""
    return session.scalars(
        select(RunRow)
        .where(RunRow.id == run_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()


def held(session: Session, run_id: UUID, epoch: int) -> tuple[RunRow, AttemptRow] | None:
    """Lock the run and return it with its attempt, or None where `epoch` is past or the run is no longer live."""
    run = lock_run(session, run_id)
    if run is None or run.epoch != epoch or run.state not in lifecycle.LIVE:
        return None
    attempt = session.get_one(AttemptRow, (run_id, epoch), populate_existing=True)
    return run, attempt


def held_all(
    session: Session, wanted: Collection[tuple[UUID, int]]
) -> dict[tuple[UUID, int], tuple[RunRow, AttemptRow]]:
    """Lock many runs, in the order of their ids, and return those that `held` would return, by `(run_id, epoch)`.

    Without what may be long: a run's spec, set and metrics are read when asked for.
    """
    runs = session.scalars(
        select(RunRow)
        .where(RunRow.id.in_({run_id for run_id, _ in wanted}))
        .order_by(RunRow.id)
        .with_for_update(key_share=True)
        .options(defer(RunRow.spec), defer(RunRow.set), defer(RunRow.metrics))
        .execution_options(populate_existing=True)
    )
    live = {(run.id, run.epoch): run for run in runs if run.state in lifecycle.LIVE}
    counting = [key for key in wanted if key in live]
    attempts = session.scalars(
        select(AttemptRow)
        .where(tuple_(AttemptRow.run_id, AttemptRow.epoch).in_(counting))
        .execution_options(populate_existing=True)
    )
    by_key = {(attempt.run_id, attempt.epoch): attempt for attempt in attempts}
    return {key: (live[key], by_key[key]) for key in counting}


def move(session: Session, run: RunRow, chosen: Move, *, now: datetime, **detail: Any) -> None:
    """Apply a move of the lifecycle to a locked run and write the event. Raises IllegalTransition."""
    before = run.state
    run.state = lifecycle.apply(chosen, before)
    if run.state in lifecycle.TERMINAL:
        run.finished_at = now
    if run.state == "queued":
        run.queued_at = now
    run.not_before = None
    record(session, run, lifecycle.MOVES[chosen].event, now=now, before=before, **detail)


def record(session: Session, run: RunRow, kind: str, *, now: datetime, **detail: Any) -> None:
    """Write an event of the run; `detail` is plain JSON, without what is None."""
    told = {name: value for name, value in detail.items() if value is not None}
    session.add(EventRow(run_id=run.id, at=now, kind=kind, epoch=run.epoch or None, detail=told))


def end(session: Session, run: RunRow, attempt: AttemptRow, outcome: AttemptOutcome, *, now: datetime) -> None:
    """Close an attempt, and charge its time to the owner of the run."""
    attempt.outcome = outcome
    attempt.finished_at = now
    together = session.info.get(_ENDED)
    if together is None:
        usage.charge(session, [(run, attempt)])
    else:
        together.append((run, attempt))


@contextmanager
def charged_together(session: Session) -> Iterator[None]:
    """Charge the attempts that end within the block at its end, all at once."""
    ended: list[tuple[RunRow, AttemptRow]] = []
    session.info[_ENDED] = ended
    try:
        yield
    finally:
        del session.info[_ENDED]
    if ended:
        usage.charge(session, ended)


_WISHED: dict[DesiredState, tuple[AttemptOutcome, Move]] = {
    "cancelled": ("cancelled", "cancel"),
    "paused": ("paused", "pause"),
}


def end_badly(
    session: Session,
    run: RunRow,
    attempt: AttemptRow,
    *,
    now: datetime,
    outcome: AttemptOutcome,
    failure_class: FailureClass,
    message: str,
    exit_cause: str | None = None,
    traceback_tail: str | None = None,
) -> None:
    """Close an attempt that failed or was lost, and let the wish of the owner or the rules of retries decide what follows."""
    message, exit_cause = storable(message), None if exit_cause is None else storable(exit_cause)
    if failure_class == "preempted" and run.desired_state in _WISHED:
        # It was ended by force, or before it began, by its owner's wish: that is no loss, and counts against nobody.
        outcome, chosen = _WISHED[run.desired_state]
        end(session, run, attempt, outcome, now=now)
        attempt.message, run.message = message, None
        move(session, run, chosen, now=now)
        return
    end(session, run, attempt, outcome, now=now)
    attempt.failure_class = failure_class
    attempt.message = message
    attempt.exit_cause = exit_cause
    attempt.traceback_tail = traceback_tail or None
    session.flush()
    told: dict[str, Any] = {"failure_class": failure_class, "message": message}
    if outcome == "lost":
        record(session, run, "lost", now=now, node=attempt.node, **told)
    if run.desired_state == "cancelled":
        move(session, run, "cancel", now=now)
        run.message = None
        return
    verdict = retries.decide(_history(session, run.id), jitter=_chance.random())
    run.message = f"Attempt {attempt.epoch} ended ({failure_class}): {message}"
    if verdict.move == "fail":
        run.failure_class = failure_class
        move(session, run, "fail", now=now, reason=verdict.reason, **told)
    elif run.desired_state == "paused":
        move(session, run, "pause", now=now)
    else:
        move(session, run, verdict.move, now=now, reason=verdict.reason)
        if verdict.move == "back_off":
            run.not_before = now + timedelta(seconds=verdict.pause_seconds)


def _history(session: Session, run_id: UUID) -> list[Ended]:
    rows = session.execute(
        select(
            AttemptRow.failure_class,
            AttemptRow.node,
            AttemptRow.last_step,
            AttemptRow.resumed_from_step,
            AttemptRow.exit_cause.is_not(None).label("process_died"),
        )
        .where(AttemptRow.run_id == run_id, AttemptRow.failure_class.is_not(None))
        .order_by(AttemptRow.epoch)
    )
    return [
        Ended(
            row.failure_class,
            row.node,
            step=row.last_step,
            began_at_step=row.resumed_from_step or 0,
            process_died=bool(row.process_died),
        )
        for row in rows
        if row.failure_class is not None
    ]
