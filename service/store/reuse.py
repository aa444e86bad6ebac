"""Finished runs that need not be trained again: the same spec by its digest, succeeded, and the checkpoint still there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from prolu.spec import RunSpec
from service.store.models import FINDINGS, CheckpointRow, EventRow, RunRow
from service.store.turns import take_turn


class Finished(NamedTuple):
    """A finished run that others may refer to."""

    run_id: UUID
    metrics: dict[str, Any] | None
    step: int
    total_steps: int


def finished(session: Session, digests: Collection[str]) -> dict[str, Finished]:
    """Give the first finished run of each digest that has one, in one query by an index. None of them refers to another."""
    if not digests:
        return {}
    final = (
        select(CheckpointRow.id)
        .where(CheckpointRow.run_id == RunRow.id, CheckpointRow.final, CheckpointRow.deleting_since.is_(None))
        .exists()
    )
    rows = session.execute(
        select(RunRow.digest, RunRow.id, RunRow.metrics, RunRow.step, RunRow.total_steps)
        .where(RunRow.digest.in_(set(digests)), RunRow.state == "succeeded", RunRow.reused_from.is_(None), final)
        .order_by(RunRow.id.desc())
    )
    return {row.digest: Finished(row.id, row.metrics, row.step, row.total_steps) for row in rows}


def held(session: Session, digests: Collection[str], *, owner_id: UUID) -> dict[str, Finished]:
    """Do as `finished`, and keep the checkpoints of those runs until the transaction is over; for new runs of a user.

    Whoever deletes one holds its run. The user's turn comes before the runs, as with everybody who takes both, and the runs are
    held in order of ids, as by everybody who holds many; what was deleted meanwhile is seen when they are asked for again.
    """
    sources = {one.run_id for one in finished(session, digests).values()}
    if not sources:
        return {}
    take_turn(session, owner_id)
    hold = select(RunRow.id).where(RunRow.id.in_(sources)).order_by(RunRow.id).with_for_update(read=True)
    session.execute(hold).all()
    return {digest: one for digest, one in finished(session, digests).items() if one.run_id in sources}


def referring(to: Finished, *, now: datetime) -> dict[str, Any]:
    """What is written of a run that refers to a finished one, where it differs from one that waits."""
    return {
        "state": "succeeded",
        "reused_from": to.run_id,
        "metrics": to.metrics,
        "step": to.step,
        "finished_at": now,
    }


def tell(session: Session, runs: Sequence[dict[str, Any]], *, now: datetime) -> None:
    """Write the events of runs that refer to others, and let whoever looks for runs by their biases find them too."""
    events = [
        {
            "run_id": run["id"],
            "at": now,
            "kind": kind,
            "epoch": None,
            "detail": {"reused_from": str(run["reused_from"])},
        }
        for run in runs
        for kind in ("submitted", "succeeded")
    ]
    session.execute(insert(EventRow), events)
    source = FINDINGS.alias()
    biases = {column.name: source.c[column.name] for column in FINDINGS.columns if column.name.startswith("bias_")}
    session.execute(
        update(FINDINGS)
        .where(
            FINDINGS.c.run_id == RunRow.id,
            RunRow.reused_from == source.c.run_id,
            RunRow.id.in_([run["id"] for run in runs]),
        )
        .values(biases),
        execution_options={"synchronize_session": False},
    )


def of(session: Session, spec: RunSpec, *, owner_id: UUID) -> Finished | None:
    """The finished run that is identical to one of this spec, if there is one; it is held as by `held`."""
    digest = spec.digest()
    return held(session, [digest], owner_id=owner_id).get(digest)
