"""The searches of sweeps: what was asked and told, as rows; what is asked next is `service.domain.search`'s to say.

    asking ──pause──> paused ──resume──> asking        (points are asked for only while it is asking)
    asking, paused ──cancel──> ending                  (open trials are waited for, none is asked)
    asking, ending ──(nothing open, nothing to ask)──> ended
    ended, ending ──extend──> asking                   ended ──retry of a trial's run──> ending

The row of a search is the lock of its trials. Trials are told one at a time, in the order in which their runs ended (by the
database's clock, then by id), and after each the room is filled before the next is told: so what is asked does not depend on
how many had ended when somebody looked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from prolu.client.wire import SearchRead, TrialState
from prolu.spec import Mistake, SearchSpec, SweepSpec
from service.domain import lifecycle
from service.domain.errors import Invalid
from service.domain.expansion import Point
from service.domain.search import Asked, Trial
from service.store import reuse
from service.store.attempts import record
from service.store.db import database_now
from service.store.models import JudgementRow, RunRow, SearchRow, SweepRow, TrialRow, UserRow
from service.store.submission import add_points, require_room


@dataclass(frozen=True)
class Question:
    """All that the next point of a search follows from."""

    sweep_id: UUID
    sweep: SweepSpec
    search: SearchSpec
    trials: Sequence[Trial]
    told: int

    @property
    def number(self) -> int:
        """Of the trial that is asked for."""
        return len(self.trials)


def unfinished(session: Session) -> Sequence[UUID]:
    """The sweeps whose searches have not ended, oldest first."""
    return session.scalars(
        select(SearchRow.sweep_id).where(SearchRow.state != "ended").order_by(SearchRow.sweep_id)
    ).all()


def question(session: Session, sweep_id: UUID) -> Question | None:
    """What is to be asked now; None where there is no room, nothing left, or nobody wishes it."""
    row = session.get_one(SearchRow, sweep_id, populate_existing=True)
    if row.state != "asking":
        return None
    sweep = SweepSpec.model_validate(session.get_one(SweepRow, sweep_id).spec)
    search = sweep.search
    if search is None or row.asked >= search.trials or _open(session, sweep_id) >= search.parallel:
        return None
    return Question(sweep_id, sweep, search, trials(session, sweep_id, search), row.told)


def trials(session: Session, sweep_id: UUID, search: SearchSpec) -> list[Trial]:
    """The trials of a search as its study remembers them, by number."""
    rows = session.scalars(select(TrialRow).where(TrialRow.sweep_id == sweep_id).order_by(TrialRow.number))
    return [
        Trial(
            number=row.number,
            state=row.state,
            params=row.params,
            distributions=row.distributions,
            attributes=row.attributes,
            values=row.values,
            intermediate=None
            if row.intermediate is None or len(search.objectives) > 1
            else (int(row.intermediate[0]), row.intermediate[1]),
        )
        for row in rows
    ]


def add(
    session: Session,
    question: Question,
    asked: Asked,
    point: Point | None,
    *,
    message: str | None = None,
    most_waiting: int | None,
) -> bool:
    """Write the answer to a question as a trial, with a run for its point; `point` is None where that is no run, and why.

    A point that an earlier trial has runs once: both share its run. Returns False where the question is out of date. Raises
    QueueFull where the owner may not have one more run waiting.
    """
    row = _locked(session, question.sweep_id)
    if row is None or (row.state, row.asked, row.told) != ("asking", question.number, question.told):
        return False
    now = database_now(session)
    twin = None if point is None else _twin(session, question.sweep_id, point.digest)
    trial = TrialRow(
        sweep_id=question.sweep_id,
        number=question.number,
        state="open",
        set=dict(asked.set),
        params=dict(asked.params),
        distributions=dict(asked.distributions),
        attributes=dict(asked.attributes),
        asked_after=row.told,
        asked_at=now,
    )
    row.asked += 1
    session.add(trial)
    if point is None:
        _close(row, trial, "failed", now=now, message=message)
    elif twin is not None:
        trial.run_id, trial.same_as = twin.run_id, twin.number
        if twin.state != "open":
            _close(row, trial, twin.state, now=now, values=twin.values, message=twin.message)
            trial.intermediate = twin.intermediate
    else:
        trial.run_id = _submit(session, row, point, most_waiting=most_waiting)
    session.flush()
    return True


def tell_next(session: Session, sweep_id: UUID) -> bool:
    """Tell of the first trial whose run has ended, and of those that share it; or end the search. False if nothing happened."""
    row = _locked(session, sweep_id)
    if row is None:
        return False
    found = session.execute(
        select(TrialRow, RunRow)
        .join(RunRow, (RunRow.sweep_id == TrialRow.sweep_id) & (RunRow.id == TrialRow.run_id))
        .where(
            TrialRow.sweep_id == sweep_id,
            TrialRow.state == "open",
            TrialRow.same_as.is_(None),
            RunRow.state.in_(sorted(lifecycle.TERMINAL)),
        )
        .order_by(RunRow.finished_at, RunRow.id)
        .limit(1)
    ).one_or_none()
    if found is None:
        return _end_if_over(session, row)
    trial, run = found[0], found[1]
    sweep = SweepSpec.model_validate(session.get_one(SweepRow, sweep_id).spec)
    state, values, message = _outcome(sweep, run)
    now = database_now(session)
    intermediate = _last_judged(session, run.id) if state == "pruned" and _judges_its_objective(sweep) else None
    shared = session.scalars(
        select(TrialRow)
        .where(TrialRow.sweep_id == sweep_id, TrialRow.same_as == trial.number, TrialRow.state == "open")
        .order_by(TrialRow.number)
    ).all()
    for one in (trial, *shared):
        _close(row, one, state, now=now, values=values, message=message)
        one.intermediate = intermediate
    record(session, run, "told", now=now, trial=trial.number, trial_state=state, values=values, message=message)
    session.flush()
    return True


def pause(session: Session, sweep_id: UUID) -> bool:
    """Ask for nothing more until the search is resumed. Whether it rests now."""
    row = _locked(session, sweep_id)
    if row is not None and row.state == "asking":
        row.state = "paused"
    return row is not None and row.state == "paused"


def resume(session: Session, sweep_id: UUID) -> bool:
    """Take a pause back. Whether there was one."""
    row = _locked(session, sweep_id)
    if row is None or row.state != "paused":
        return False
    row.state = "asking"
    return True


def cancel(session: Session, sweep_id: UUID) -> bool:
    """Ask for nothing more. Whether somebody would have."""
    row = _locked(session, sweep_id)
    if row is None or row.state not in ("asking", "paused"):
        return False
    row.state = "ending"
    return True


def extend(session: Session, sweep: SweepRow, spec: SweepSpec) -> None:
    """Give a search more trials, or more at once. Raises Invalid where anything else differs, or there are more already."""
    old = SweepSpec.model_validate(sweep.spec)
    row = _locked(session, sweep.id)
    if row is None or old.search is None or spec.search is None:
        raise _only_grows(
            "search", f"The sweep {'has no' if row is None else 'has a'} search, and the new description differs"
        )
    free = {"trials": old.search.trials, "parallel": old.search.parallel}
    if spec.search.model_copy(update=free) != old.search:
        raise _only_grows("search", "The new description searches otherwise")
    if (spec.base, spec.early_stopping) != (old.base, old.early_stopping):
        raise _only_grows("base", "The new description trains other runs, or stops them otherwise")
    if spec.search.trials < row.asked:
        raise _only_grows("search", f"The sweep has {row.asked} trials already, more than {spec.search.trials}")
    if spec.search.trials > row.asked and row.state in ("ending", "ended"):
        row.state = "asking"


def reopen(session: Session, successors: Mapping[UUID, UUID]) -> None:
    """Have trials wait again whose runs were tried again, by the runs that took their places."""
    for old, new in successors.items():
        closed = {"values": None, "intermediate": None, "message": None, "told": None, "told_at": None}
        reopened = session.scalars(
            update(TrialRow)
            .where(TrialRow.run_id == old)
            .values(state="open", run_id=new, **closed)
            .returning(TrialRow.sweep_id),
            execution_options={"synchronize_session": False},
        ).all()
        if reopened:
            session.execute(
                update(SearchRow)
                .where(SearchRow.sweep_id == reopened[0], SearchRow.state == "ended")
                .values(state="ending"),
                execution_options={"synchronize_session": False},
            )


def progress(session: Session, searching: Mapping[UUID, int]) -> dict[UUID, SearchRead]:
    """How far the searches of these sweeps are, which have so many trials in all."""
    if not searching:
        return {}
    open_trials = (
        select(func.count())
        .where(TrialRow.sweep_id == SearchRow.sweep_id, TrialRow.state == "open", TrialRow.same_as.is_(None))
        .correlate(SearchRow)
        .scalar_subquery()
    )
    rows = session.execute(
        select(SearchRow.sweep_id, SearchRow.state, SearchRow.asked, open_trials.label("open")).where(
            SearchRow.sweep_id.in_(list(searching))
        )
    )
    return {
        row.sweep_id: SearchRead(state=row.state, trials=searching[row.sweep_id], asked=row.asked, open=row.open)
        for row in rows
    }


def _locked(session: Session, sweep_id: UUID) -> SearchRow | None:
    return session.scalars(
        select(SearchRow)
        .where(SearchRow.sweep_id == sweep_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()


def _open(session: Session, sweep_id: UUID) -> int:
    return session.scalars(
        select(func.count()).where(TrialRow.sweep_id == sweep_id, TrialRow.state == "open", TrialRow.same_as.is_(None))
    ).one()


def _end_if_over(session: Session, row: SearchRow) -> bool:
    sweep = SweepSpec.model_validate(session.get_one(SweepRow, row.sweep_id).spec)
    all_asked = row.state == "ending" or (sweep.search is not None and row.asked >= sweep.search.trials)
    if not all_asked or row.state == "ended" or _open(session, row.sweep_id):
        return False
    row.state = "ended"
    session.flush()
    return True


def _close(
    row: SearchRow,
    trial: TrialRow,
    state: TrialState,
    *,
    now: datetime,
    values: list[float] | None = None,
    message: str | None = None,
) -> None:
    row.told += 1
    trial.state, trial.values, trial.message = state, values, message
    trial.told, trial.told_at = row.told, now


def _outcome(sweep: SweepSpec, run: RunRow) -> tuple[TrialState, list[float] | None, str | None]:
    if run.stopped_early is not None:
        return "pruned", None, run.stopped_early
    if run.state != "succeeded":
        return "failed", None, run.message or f"Its run was {run.state}."
    found = run.metrics or {}
    wanted = [objective.metric for objective in (sweep.search.objectives if sweep.search else ())]
    missing = [name for name in wanted if name not in found]
    if missing:
        return "failed", None, f"Its run has no finite {' and no finite '.join(missing)} among its final metrics."
    return "complete", [float(found[name]) for name in wanted], None


def _judges_its_objective(sweep: SweepSpec) -> bool:
    rule, search = sweep.early_stopping, sweep.search
    if rule is None or search is None or len(search.objectives) > 1:
        return False
    return (rule.metric, rule.goal) == (search.objectives[0].metric, search.objectives[0].goal)


def _last_judged(session: Session, run_id: UUID) -> list[float] | None:
    last = session.scalars(
        select(JudgementRow).where(JudgementRow.run_id == run_id).order_by(JudgementRow.step.desc()).limit(1)
    ).one_or_none()
    return None if last is None else [float(last.step), last.value]


def _twin(session: Session, sweep_id: UUID, digest: str) -> TrialRow | None:
    return session.scalars(
        select(TrialRow)
        .join(RunRow, RunRow.id == TrialRow.run_id)
        .where(TrialRow.sweep_id == sweep_id, TrialRow.same_as.is_(None), RunRow.digest == digest)
        .order_by(TrialRow.number)
        .limit(1)
    ).one_or_none()


def _submit(session: Session, row: SearchRow, point: Point, *, most_waiting: int | None) -> UUID:
    sweep = session.scalars(select(SweepRow).where(SweepRow.id == row.sweep_id).with_for_update(key_share=True)).one()
    own = session.scalars(select(UserRow.max_queued).where(UserRow.id == sweep.owner_id)).one()
    require_room(session, sweep.owner_id, 1, most=own or most_waiting)
    sweep.count += 1
    session.flush()
    reused = reuse.held(session, [point.digest], owner_id=sweep.owner_id) if row.reuse else {}
    told = {"trial": point.index}
    (run_id,) = add_points(session, sweep, [point], first=point.index, reused=reused, told=told)
    return run_id


def _only_grows(where: str, what: str) -> Invalid:
    sentence = f"{what}; a search only grows by search.trials (and may change search.parallel). Submit a new sweep."
    return Invalid(sentence, [Mistake(("spec", where), sentence)])
