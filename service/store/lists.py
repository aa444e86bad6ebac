"""Runs, sweeps and the queue as the API shows them. Reads only; lists never read specs of runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, String, bindparam, cast, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from prolu.client.wire import (
    Page,
    ProgressRead,
    RunRead,
    RunState,
    RunSummary,
    SweepRead,
)
from prolu.spec import RunSpec, SweepSpec
from service.domain import lifecycle, tiers
from service.domain.errors import NotFound
from service.store import pages, searches
from service.store.models import RunRow, SweepRow, UserRow
from service.store.sharing import editors_of

_SUMMARY = (
    *(column for column in RunRow.__table__.columns if column.name not in ("spec", "set")),
    UserRow.name.label("owner"),
)


def run(session: Session, run_id: UUID) -> RunRead:
    """One run with its spec. Raises NotFound."""
    found = session.connection().execute(_ONE_RUN, {"run_id": run_id}).one_or_none()
    if found is None:
        raise NotFound(f"There is no run {run_id}; GET /v1/runs lists those that there are.")
    return RunRead(**_summary(found), spec=RunSpec.model_validate(found.spec))


def submitted(columns: Mapping[str, Any], spec: RunSpec, *, owner: str) -> RunRead:
    """A run that was just submitted, from what was written of it: as `run` would read it."""
    shown = {name: columns.get(name) for name in _SHOWN} | {"owner": owner, "superseded": False, **_UNKEPT}
    return RunRead(**shown, tier=tiers.NAMES[columns["tier"]], progress=None, spec=spec)


def runs(
    session: Session,
    *,
    states: Sequence[RunState] = (),
    owner: str | None = None,
    sweep_id: UUID | None = None,
    id_part: str | None = None,
    archived: bool = False,
    limit: int,
    cursor: str | None,
) -> Page[RunSummary]:
    """Runs, the newest first; without those in the archive, unless they are asked for, or a sweep is."""
    statement = _ALL_RUNS
    if not archived and sweep_id is None:
        statement = statement.where(~RunRow.archived)
    if states:
        statement = statement.where(RunRow.state.in_(states))
    if owner is not None:
        # Of one owner the runs are in order in an index; a join would have all of them sorted.
        owner_id = select(UserRow.id).where(UserRow.name == owner).scalar_subquery()
        statement = statement.where(RunRow.owner_id == owner_id)
    if sweep_id is not None:
        statement = statement.where(RunRow.sweep_id == sweep_id)
    if id_part is not None:
        statement = statement.where(has_id(RunRow.id, id_part))
    if cursor is not None:
        statement = statement.where(RunRow.id < pages.decode(cursor, pages.BY_ID)[0])
    rows = session.connection().execute(statement.order_by(RunRow.id.desc()).limit(limit + 1)).all()
    return pages.page(rows, limit, lambda row: RunSummary(**_summary(row)), lambda row: (row.id,))


def sweep(session: Session, sweep_id: UUID) -> SweepRead:
    """One sweep, and how many of its runs are in which state. Raises NotFound."""
    found = session.execute(_sweeps().where(SweepRow.id == sweep_id)).one_or_none()
    if found is None:
        raise NotFound(f"There is no sweep {sweep_id}; GET /v1/sweeps lists those that there are.")
    return _shown(session, [found])[0]


def sweeps(
    session: Session, *, id_part: str | None = None, archived: bool = False, limit: int, cursor: str | None
) -> Page[SweepRead]:
    """Sweeps, the newest first; without those in the archive, unless they are asked for."""
    statement = _sweeps()
    if not archived:
        statement = statement.where(~SweepRow.archived)
    if id_part is not None:
        statement = statement.where(has_id(SweepRow.id, id_part))
    if cursor is not None:
        statement = statement.where(SweepRow.id < pages.decode(cursor, pages.BY_ID)[0])
    rows = session.execute(statement.order_by(SweepRow.id.desc()).limit(limit + 1)).all()
    shown = {sweep.id: sweep for sweep in _shown(session, rows[:limit])}
    return pages.page(rows, limit, lambda row: shown[row.id], lambda row: (row.id,))


def sweep_runs(session: Session, sweep_id: UUID, *, limit: int, cursor: str | None) -> Page[RunSummary]:
    """The runs of a sweep, by point; of a point that was tried again, the latest. Raises NotFound."""
    require_sweep(session, sweep_id)
    statement = _runs().where(RunRow.sweep_id == sweep_id, ~RunRow.superseded)
    if cursor is not None:
        statement = statement.where(RunRow.point > pages.decode(cursor, pages.BY_COUNT)[0])
    rows = session.execute(statement.order_by(RunRow.point).limit(limit + 1)).all()
    return pages.page(rows, limit, lambda row: RunSummary(**_summary(row)), lambda row: (row.point,))


def live_runs(session: Session) -> list[RunSummary]:
    """The runs that attempts work on, oldest first."""
    rows = session.execute(_runs().where(RunRow.state.in_(sorted(lifecycle.LIVE))).order_by(RunRow.id))
    return [RunSummary(**_summary(row)) for row in rows]


def summaries(session: Session, run_ids: Sequence[UUID]) -> dict[UUID, RunSummary]:
    """Those of the runs that there are, by id."""
    rows = session.execute(_runs().where(RunRow.id.in_(run_ids)))
    return {row.id: RunSummary(**_summary(row)) for row in rows}


def has_id(column: ColumnElement[UUID] | InstrumentedAttribute[UUID], part: str) -> ColumnElement[bool]:
    """Whether an id begins or ends with these hexadecimal digits, which are at least four.

    No index serves the end of an id: the database looks at every one, in one statement.
    """
    digits = func.replace(cast(column, String), "-", "")
    return or_(digits.like(f"{part}%"), digits.like(f"%{part}"))


def require_sweep(session: Session, sweep_id: UUID) -> None:
    """Raise NotFound where there is no such sweep."""
    if session.scalar(select(SweepRow.id).where(SweepRow.id == sweep_id)) is None:
        raise NotFound(f"There is no sweep {sweep_id}; GET /v1/sweeps lists those that there are.")


def measured_run(session: Session, run_id: UUID) -> UUID:
    """The run whose measurements and checkpoints are those of a run: itself, unless it refers to another. Raises NotFound."""
    found = session.execute(select(RunRow.id, RunRow.reused_from).where(RunRow.id == run_id)).one_or_none()
    if found is None:
        raise NotFound(f"There is no run {run_id}; GET /v1/runs lists those that there are.")
    source: UUID = found.reused_from or found.id
    return source


def owner_of(session: Session, run_id: UUID) -> UUID:
    """The user who submitted a run. Raises NotFound."""
    owner_id = session.scalar(select(RunRow.owner_id).where(RunRow.id == run_id))
    if owner_id is None:
        raise NotFound(f"There is no run {run_id}; GET /v1/runs lists those that there are.")
    return owner_id


def owner_of_sweep(session: Session, sweep_id: UUID) -> UUID:
    """The user who submitted a sweep. Raises NotFound."""
    owner_id = session.scalar(select(SweepRow.owner_id).where(SweepRow.id == sweep_id))
    if owner_id is None:
        raise NotFound(f"There is no sweep {sweep_id}; GET /v1/sweeps lists those that there are.")
    return owner_id


def _runs(*more: Any) -> Select[Any]:
    return select(*_SUMMARY, *more).select_from(RunRow).join(UserRow, UserRow.id == RunRow.owner_id)


# Made once: to name all columns anew takes longer than to read a page.
_ALL_RUNS = _runs()
_ONE_RUN = _runs(RunRow.spec).where(RunRow.id == bindparam("run_id"))


def _sweeps() -> Select[Any]:
    return (
        select(*SweepRow.__table__.columns, UserRow.name.label("owner"))
        .select_from(SweepRow)
        .join(UserRow, UserRow.id == SweepRow.owner_id)
    )


def _shown(session: Session, rows: Sequence[Row[Any]]) -> list[SweepRead]:
    ids = [row.id for row in rows]
    (states, reused), editors = _states(session, ids), editors_of(session, ids)
    specs = {row.id: SweepSpec.model_validate(row.spec) for row in rows}
    found = searches.progress(session, {one: spec.search.trials for one, spec in specs.items() if spec.search})
    return [
        SweepRead(
            id=row.id,
            name=row.name,
            owner=row.owner,
            editors=list(editors.get(row.id, ())),
            tier=tiers.NAMES[row.tier],
            priority=row.priority,
            preemptible=row.preemptible,
            count=row._mapping["count"],
            states=states.get(row.id, {}),
            tags=row.tags,
            note=row.note,
            pinned=row.pinned,
            archived=row.archived,
            search=found.get(row.id),
            reused=reused[row.id],
            created_at=row.created_at,
            spec=specs[row.id],
        )
        for row in rows
    ]


def _states(session: Session, sweep_ids: Iterable[UUID]) -> tuple[dict[UUID, dict[RunState, int]], dict[UUID, int]]:
    """How many runs of each sweep are in which state, and how many of them refer to finished ones."""
    rows = session.execute(
        select(RunRow.sweep_id, RunRow.state, func.count().label("runs"), func.count(RunRow.reused_from))
        .where(RunRow.sweep_id.in_(list(sweep_ids)), ~RunRow.superseded)
        .group_by(RunRow.sweep_id, RunRow.state)
    )
    counted: dict[UUID, dict[RunState, int]] = defaultdict(dict)
    reused: dict[UUID, int] = defaultdict(int)
    for sweep_id, state, runs_in_it, referring in rows:
        if sweep_id is not None:
            counted[sweep_id][state] = runs_in_it
            reused[sweep_id] += referring
    return counted, reused


def _summary(row: Row[Any]) -> dict[str, Any]:
    values = row._mapping
    shown = {name: values[name] for name in _SHOWN}
    live = row.state in lifecycle.LIVE and row.phase is not None
    progress = (
        ProgressRead(phase=row.phase, done=row.done, total=row.total, updated_at=row.progress_at) if live else None
    )
    return {**shown, "tier": tiers.NAMES[row.tier], "progress": progress}


# What nobody has said anything about yet.
_UNKEPT: dict[str, Any] = {"tags": [], "pinned": False, "archived": False}
_SHOWN = [name for name in RunSummary.model_fields if name not in ("progress", "tier")]
