"""Who may decide about a run or a sweep, by the rule of `service.domain.access`; and the note of what they decided."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.access import Owned, Principal, require_change
from service.store import audit, decisions
from service.store.decisions import Decided
from service.store.sharing import is_editor


def require_own_run(session: Session, user: Principal, run_id: UUID, verb: str) -> Decided:
    """Give what was decided so far. Raises Forbidden where the run is not the user's to change, NotFound for none."""
    found = decisions.of_run(session, run_id)
    require_change(user, _owned(session, user, f"Run {run_id}", found), verb)
    return found


def require_own_sweep(
    session: Session, user: Principal, sweep_id: UUID, verb: str, *, by_owner_alone: bool = False
) -> Decided:
    """Give what was decided so far. Raises Forbidden where the sweep is not the user's to change, NotFound for none."""
    found = decisions.of_sweep(session, sweep_id)
    require_change(user, _owned(session, user, f"Sweep {sweep_id}", found), verb, by_owner_alone=by_owner_alone)
    return found


def note_run(session: Session, user: Principal, run_id: UUID, before: Decided) -> None:
    """Note what was decided of a run, if it is different from before."""
    after = decisions.of_run(session, run_id)
    audit.record_change(session, user, "run", run_id, before=before.brief, after=after.brief)


def note_sweep(session: Session, user: Principal, sweep_id: UUID, before: Decided) -> None:
    """Note what was decided of a sweep and its runs, if it is different from before: one entry for all of them."""
    after = decisions.of_sweep(session, sweep_id)
    audit.record_change(session, user, "sweep", sweep_id, before=before.brief, after=after.brief)


def _owned(session: Session, user: Principal, what: str, found: Decided) -> Owned:
    # Nobody asks whether it is shared where the answer does not count.
    if found.sweep_id is None or user.user_id == found.owner_id or user.is_admin:
        return Owned(what, found.owner_id)
    shared = is_editor(session, user.user_id, found.sweep_id)
    return Owned(what, found.owner_id, (user.user_id,) if shared else ())
