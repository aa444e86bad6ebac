"""What owners wish of runs that are in the queue: cancel, pause, resume, another place. Wishes only, never states.

The dispatcher grants them: `service.store.settling` where nobody holds the run, its attempt's end where somebody does.
A sweep's wish is one statement for all its runs that have not ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, case, func, insert, or_, select, update
from sqlalchemy.orm import Session

from service.domain import lifecycle, tiers
from service.domain.errors import IllegalTransition, NotFound
from service.store import searches
from service.store.attempts import lock_run, record
from service.store.db import database_now
from service.store.models import EventRow, RunRow, SweepRow
from service.store.submission import WAITS_IN, require_room
from service.store.turns import take_turn

_MOVES_ON = RunRow.state.not_in(sorted(lifecycle.TERMINAL))


def request_cancel(session: Session, run_id: UUID) -> RunRow:
    """Wish that the run end. A second wish changes nothing.

    Raises NotFound, and IllegalTransition for a run that has succeeded or failed.
    """
    run = locked(session, run_id)
    if run.desired_state == "cancelled" and run.state in (*lifecycle.LIVE, *lifecycle.RESTING, "cancelled"):
        return run
    _refuse_finished(run, "there is nothing left to cancel")
    return _wish(session, run, "cancel_requested", desired_state="cancelled")


def request_pause(session: Session, run_id: UUID) -> RunRow:
    """Wish that the run rest. A second wish changes nothing.

    Raises NotFound, and IllegalTransition for a run that has ended or that will be cancelled.
    """
    run = locked(session, run_id)
    _refuse_finished(run, "there is nothing left to pause")
    _refuse_cancelled(run, "paused")
    if run.desired_state == "paused":
        return run
    return _wish(session, run, "pause_requested", desired_state="paused")


def request_resume(session: Session, run_id: UUID, *, most_waiting: int | None = None) -> RunRow:
    """Wish that a paused run wait for its turn again, from now on; or take back the wish of a pause that has not come.

    A second wish changes nothing until the first is granted. Raises NotFound, IllegalTransition for any other run, and
    QueueFull where the owner would have more than `most_waiting` runs waiting.
    """
    run = locked(session, run_id, in_turn=most_waiting is not None)
    _refuse_finished(run, "only a paused run can be resumed")
    _refuse_cancelled(run, "resumed")
    if run.desired_state == "running":
        if run.state == "paused":
            return run
        raise IllegalTransition(f"Run {run_id} is {run.state}; only a paused run can be resumed, or one that will be.")
    require_room(session, run.owner_id, int(run.state in WAITS_IN), most=most_waiting)
    if run.state == "paused":
        run.waiting_since = database_now(session)
    return _wish(session, run, "resume_requested", desired_state="running")


def change_place(session: Session, run: RunRow, **changes: Any) -> RunRow:
    """Give a locked run another tier, priority or preemptibility. Raises IllegalTransition for one that has ended."""
    _refuse_finished(run, "its place in the queue no longer counts")
    different = {name: value for name, value in changes.items() if getattr(run, name) != value}
    return _wish(session, run, "changed", told=_told(different), **different) if different else run


def cancel_sweep(session: Session, sweep_id: UUID) -> None:
    """Wish that every run of the sweep that has not ended end. Raises NotFound, IllegalTransition if all ended otherwise."""
    locked_sweep(session, sweep_id)
    searched = searches.cancel(session, sweep_id)
    wished = RunRow.desired_state == "cancelled"
    changed = _wish_of_all(session, sweep_id, [~wished], "cancel_requested", desired_state="cancelled")
    if not changed and not searched:
        _refuse_unless(session, sweep_id, wished, "every run has ended; there is nothing left to cancel")


def pause_sweep(session: Session, sweep_id: UUID) -> None:
    """Wish that every run of the sweep that has not ended rest. Raises NotFound, IllegalTransition if none is left to."""
    locked_sweep(session, sweep_id)
    rests = searches.pause(session, sweep_id)
    going = RunRow.desired_state == "running"
    if not _wish_of_all(session, sweep_id, [going], "pause_requested", desired_state="paused") and not rests:
        waits = _MOVES_ON & (RunRow.desired_state == "paused")
        _refuse_unless(session, sweep_id, waits, "every run has ended or will be cancelled; there is nothing to pause")


def resume_sweep(session: Session, sweep_id: UUID, *, most_waiting: int | None = None) -> None:
    """Take back every pause of the sweep's runs, or none.

    Raises NotFound, IllegalTransition if none is paused, QueueFull where the owner would have more than `most_waiting` runs
    waiting.
    """
    sweep = locked_sweep(session, sweep_id)
    if most_waiting is not None:
        take_turn(session, sweep.owner_id)
        rests = RunRow.state.in_(WAITS_IN) & (RunRow.desired_state == "paused")
        resting = select(func.count()).select_from(RunRow).where(RunRow.sweep_id == sweep_id, ~RunRow.superseded, rests)
        require_room(session, sweep.owner_id, session.scalars(resting).one(), most=most_waiting)
    since = case((RunRow.state == "paused", database_now(session)), else_=RunRow.waiting_since)
    values: dict[str, Any] = {"desired_state": "running", "waiting_since": since}
    goes_on = searches.resume(session, sweep_id)
    resumed_runs = _wish_of_all(session, sweep_id, [RunRow.desired_state == "paused"], "resume_requested", **values)
    if not resumed_runs and not goes_on:
        resumed = (RunRow.state == "paused") & (RunRow.desired_state == "running")
        _refuse_unless(session, sweep_id, resumed, "no run is paused, or will be; there is nothing to resume")


def change_sweep(session: Session, sweep: SweepRow, **changes: Any) -> None:
    """Give every run of a locked sweep that has not ended another tier, priority or preemptibility, and those to come."""
    for name, value in changes.items():
        setattr(sweep, name, value)
    session.flush()
    differs = or_(*(getattr(RunRow, name) != value for name, value in changes.items()))
    _wish_of_all(session, sweep.id, [differs], "changed", told=_told(changes), **changes)


def locked(session: Session, run_id: UUID, *, in_turn: bool = False) -> RunRow:
    """Hold a run until the transaction ends; `in_turn` takes its owner's turn to add runs before. Raises NotFound."""
    owner_id = session.scalars(select(RunRow.owner_id).where(RunRow.id == run_id)).one_or_none() if in_turn else None
    if owner_id is not None:
        take_turn(session, owner_id)
    run = lock_run(session, run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id}; GET /v1/runs lists those that there are.")
    return run


def locked_sweep(session: Session, sweep_id: UUID) -> SweepRow:
    """Hold a sweep until the transaction ends, so that its wishes come one after another. Raises NotFound."""
    sweep = session.scalars(
        select(SweepRow)
        .where(SweepRow.id == sweep_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if sweep is None:
        raise NotFound(f"There is no sweep {sweep_id}; GET /v1/sweeps lists those that there are.")
    return sweep


def states_of(session: Session, sweep_id: UUID) -> str:
    """Say how many of a sweep's runs are in which state."""
    rows = session.execute(
        select(RunRow.state, func.count())
        .where(RunRow.sweep_id == sweep_id, ~RunRow.superseded)
        .group_by(RunRow.state)
        .order_by(RunRow.state)
    )
    return ", ".join(f"{count} {state}" for state, count in rows)


def _told(changes: Mapping[str, Any]) -> dict[str, Any]:
    """What an event tells of a change: tiers by name."""
    return {name: tiers.NAMES[value] if name == "tier" else value for name, value in changes.items()}


def _wish(session: Session, run: RunRow, kind: str, *, told: Mapping[str, Any] | None = None, **values: Any) -> RunRow:
    for name, value in values.items():
        setattr(run, name, value)
    record(session, run, kind, now=database_now(session), **(told or {}))
    session.flush()
    return run


def _wish_of_all(
    session: Session,
    sweep_id: UUID,
    which: Sequence[ColumnElement[bool]],
    kind: str,
    *,
    told: Mapping[str, Any] | None = None,
    **values: Any,
) -> int:
    """Change those runs of a sweep that have not ended and are such, in one statement. Returns how many."""
    # Locked in one order, so that two who change the same runs wait for each other and do not block each other.
    picked = (
        select(RunRow.id)
        .where(RunRow.sweep_id == sweep_id, ~RunRow.superseded, _MOVES_ON, *which)
        .order_by(RunRow.id)
        .with_for_update(key_share=True)
        .cte("picked")
        .prefix_with("MATERIALIZED")
    )
    changed = session.execute(
        update(RunRow).where(RunRow.id == picked.c.id).values(**values).returning(RunRow.id, RunRow.epoch),
        execution_options={"synchronize_session": False},
    ).all()
    if changed:
        now = database_now(session)
        events = [
            {"run_id": row.id, "at": now, "kind": kind, "epoch": row.epoch or None, "detail": dict(told or {})}
            for row in changed
        ]
        session.execute(insert(EventRow), events)
    return len(changed)


def _refuse_finished(run: RunRow, why: str) -> None:
    if run.state in lifecycle.TERMINAL:
        raise IllegalTransition(f"Run {run.id} is already finished ({run.state}); {why}.")


def _refuse_cancelled(run: RunRow, what: str) -> None:
    if run.desired_state == "cancelled":
        raise IllegalTransition(
            f"Run {run.id} is {run.state} and will be cancelled, so it cannot be {what}; retry it once it is cancelled."
        )


def _refuse_unless(session: Session, sweep_id: UUID, such: ColumnElement[bool], why: str) -> None:
    """Raise IllegalTransition, which names the states, if no run of the sweep is such already."""
    one = select(RunRow.id).where(RunRow.sweep_id == sweep_id, ~RunRow.superseded, such).limit(1)
    if session.scalar(one) is None:
        raise IllegalTransition(f"Of the runs of sweep {sweep_id} ({states_of(session, sweep_id)}), {why}.")
