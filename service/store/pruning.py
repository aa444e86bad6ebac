"""Delete by policy: read what a run or a sweep has, let `service.domain.pruning` judge it, and mark what is not kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, case, func, select
from sqlalchemy.orm import Session

from prolu.client.wire import KeepBest, KeepReason, PrunedRead, PruneRead, PruneRequest
from prolu.spec.mistakes import Mistake
from service.domain.errors import Invalid
from service.domain.pruning import Held, reasons_to_keep
from service.store import chores, deletion, protection
from service.store.models import CheckpointRow, MetricPointRow, RunRow, SweepRow
from service.store.wishes import locked, locked_sweep

# So many checkpoints are told one by one.
_TOLD = 1_000


def prune_run(session: Session, run_id: UUID, policy: PruneRequest) -> PruneRead:
    """Delete what the policy does not keep of a run, or say what that would be. Raises NotFound, Invalid."""
    if not policy.dry_run:
        locked(session, run_id)
    return _prune(session, RunRow.id == run_id, policy)


def prune_sweep(session: Session, sweep_id: UUID, policy: PruneRequest) -> PruneRead:
    """Delete what the policy does not keep of all runs of a sweep, or say what that would be. Raises NotFound, Invalid."""
    if not policy.dry_run:
        locked_sweep(session, sweep_id)
        held = select(RunRow.id).where(RunRow.sweep_id == sweep_id).order_by(RunRow.id).with_for_update(key_share=True)
        session.scalars(held).all()
    return _prune(session, RunRow.sweep_id == sweep_id, policy)


def _prune(session: Session, of: ColumnElement[bool], policy: PruneRequest) -> PruneRead:
    offered = _statement(of, policy.keep_best)
    if not policy.dry_run:  # so that no worker begins to read what is judged
        offered = offered.with_for_update(of=CheckpointRow, key_share=True)
    rows = session.execute(offered).all()
    held = _held(session, rows)
    if policy.keep_best is not None and held and all(one.value is None for one in held):
        sentence = (
            "keep_best.metric must be a metric that was measured where a checkpoint was written; "
            f"got {policy.keep_best.metric!r}, which was not at any: nothing would be kept as the best."
        )
        raise Invalid(sentence, [Mistake(("keep_best", "metric"), sentence)])
    reasons = reasons_to_keep(
        held, keep_last=policy.keep_last, keep_final=policy.keep_final, keep_best=policy.keep_best
    )
    doomed = [one for one in held if not reasons[one.id]]
    if not policy.dry_run:
        deletion.mark(session, [(one.id, one.run_id, one.step, one.bytes) for one in doomed])
    kept = [one for one in held if reasons[one.id]]
    return PruneRead(
        dry_run=policy.dry_run,
        deleted=len(doomed),
        deleted_bytes=sum(one.bytes for one in doomed),
        kept=len(kept),
        kept_bytes=sum(one.bytes for one in kept),
        checkpoints=[_told(one, reasons[one.id]) for one in [*doomed, *kept][:_TOLD]],
    )


def _statement(of: ColumnElement[bool], best: KeepBest | None) -> Any:
    """Every checkpoint that is on offer of the runs, with what was measured at its step."""
    columns = [
        CheckpointRow.id,
        CheckpointRow.run_id,
        CheckpointRow.step,
        CheckpointRow.epoch,
        CheckpointRow.bytes,
        CheckpointRow.final,
        CheckpointRow.path,
        (CheckpointRow.pinned | RunRow.pinned | func.coalesce(SweepRow.pinned, False)).label("pinned"),
    ]
    offered = (
        select(*columns)
        .select_from(CheckpointRow)
        .join(RunRow, RunRow.id == CheckpointRow.run_id)
        .outerjoin(SweepRow, SweepRow.id == RunRow.sweep_id)
        .where(of, CheckpointRow.deleting_since.is_(None))
        .order_by(CheckpointRow.run_id, CheckpointRow.step, CheckpointRow.epoch)
    )
    if best is None:
        return offered
    at_its_step = and_(
        MetricPointRow.run_id == CheckpointRow.run_id,
        MetricPointRow.step == CheckpointRow.step,
        MetricPointRow.split == "held_out",
    )
    # The last evaluation of a run that succeeded is in its own row.
    at_the_end = case((CheckpointRow.final, RunRow.metrics[best.metric].as_float()))
    value = func.coalesce(MetricPointRow.metrics[best.metric].as_float(), at_the_end)
    return offered.outerjoin(MetricPointRow, at_its_step).add_columns(value.label("value"))


def _held(session: Session, rows: Sequence[Row[Any]]) -> list[Held]:
    paths = {row.path for row in rows}
    run_ids = sorted({row.run_id for row in rows})
    needed, reused = protection.needed_paths(session, run_ids, paths), protection.reused_runs(session, run_ids)
    referred = protection.referred_paths(session, paths)
    read = chores.being_read(session, run_ids)
    held = []
    for row in rows:
        why: list[tuple[KeepReason, bool]] = [
            ("pinned", row.pinned),
            ("needed", row.path in needed or row.id in read),
            ("referred", row.path in referred or (row.final and row.run_id in reused)),
        ]
        held.append(
            Held(
                row.id,
                row.run_id,
                row.step,
                row.epoch,
                row.bytes,
                row.final,
                row._mapping.get("value"),
                tuple(reason for reason, holds in why if holds),
            )
        )
    return held


def _told(one: Held, reasons: Sequence[KeepReason]) -> PrunedRead:
    return PrunedRead(id=one.id, run_id=one.run_id, step=one.step, bytes=one.bytes, kept_as=list(reasons))
