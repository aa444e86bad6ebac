"""Who may decide about a run or a sweep: who submitted it, and administrators."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.errors import Forbidden
from service.store import lists
from service.store.users import Principal


def require_own_run(session: Session, user: Principal, run_id: UUID, verb: str) -> None:
    """Raise Forbidden where the run is somebody else's, NotFound where there is none."""
    _require(user, lists.owner_of(session, run_id), f"Run {run_id}", verb)


def require_own_sweep(session: Session, user: Principal, sweep_id: UUID, verb: str) -> None:
    """Raise Forbidden where the sweep is somebody else's, NotFound where there is none."""
    _require(user, lists.owner_of_sweep(session, sweep_id), f"Sweep {sweep_id}", verb)


def _require(user: Principal, owner_id: UUID, what: str, verb: str) -> None:
    if not user.is_admin and owner_id != user.user_id:
        raise Forbidden(f"{what} belongs to somebody else; ask its owner or an administrator to {verb} it.")
