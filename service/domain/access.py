"""Who may do what: the one rule, by roles, scopes of tokens, and whose a run or a sweep is.

Of a user's role and their token's scope the lesser counts: a scope never gives more than the role.

                          viewer / read    member / write    admin / admin
    read everything            x                 x                x
    submit, and decide about one's own           x                x
    decide about anything, users, nodes                           x

Decide about: cancel, pause, resume, retry, extend, change the place in the queue. With whom its owner shares a sweep, as an
editor, decides about it and all its runs as the owner does. Not the editor's: to share it on or to end that, which are its
owner's and the administrators'. What editors add to a sweep stays its owner's: it counts against the owner's limits, and the
owner's share of the cluster pays for it. Anybody who may submit may clone anybody's run, since a clone is their own; and have
anybody's checkpoint exported or its statistics computed again, which changes nothing of the run, takes the cluster's time as a
submission does, and is everybody's to read.

Knows no SQL and no HTTP; `service.api.context` applies `RULES` to every request, `service.api.ownership` the rest.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from prolu.client.wire import Role, Scope
from service.domain.errors import Forbidden, InsufficientScope

# How far a role, or a scope, reaches: 1 to read, 2 to submit and decide about one's own, 3 for everything.
_REACH_OF_ROLE: dict[Role, int] = {"viewer": 1, "member": 2, "admin": 3}
_REACH_OF_SCOPE: dict[Scope, int] = {"read": 1, "write": 2, "admin": 3}
_ROLE_FOR: dict[Scope, str] = {"read": "viewer", "write": "member", "admin": "admin"}

# What a request asks for. `open` needs no token; `own` is `write` to one's own things alone.
Need = Literal["open", "read", "write", "own", "admin"]
_SCOPE_FOR: dict[Need, Scope] = {"read": "read", "write": "write", "own": "write", "admin": "admin"}

# Every operation by its id in the OpenAPI document; a test fails where one is missing.
RULES: dict[str, Need] = {
    "get_livez": "open",
    "get_readyz": "open",
    "get_metrics": "read",
    "get_version": "read",
    "get_me": "read",
    "submit_run": "write",
    "list_runs": "read",
    "get_run": "read",
    "list_attempts": "read",
    "list_events": "read",
    "list_logs": "read",
    "list_metrics": "read",
    "follow_metrics": "read",
    "follow_sweep_metrics": "read",
    "list_bias_statistics": "read",
    "list_diagnostics": "read",
    "list_checkpoints": "read",
    "explain_run": "read",
    "cancel_run": "own",
    "pause_run": "own",
    "resume_run": "own",
    "retry_run": "own",
    "change_run": "own",
    "clone_run": "write",
    "submit_sweep": "write",
    "preview_sweep": "read",
    "list_sweeps": "read",
    "get_sweep": "read",
    "list_sweep_runs": "read",
    "list_sweep_results": "read",
    "list_sweep_trials": "read",
    "list_sweep_results_over_seeds": "read",
    "list_sweep_bias_statistics": "read",
    "query_results": "read",
    "get_sweep_frontier": "read",
    "query_frontier": "read",
    "query_series": "read",
    "query_biases": "read",
    "get_sweep_biases": "read",
    "compare_runs": "read",
    "cancel_sweep": "own",
    "pause_sweep": "own",
    "resume_sweep": "own",
    "retry_failed_of_sweep": "own",
    "extend_sweep": "own",
    "change_sweep": "own",
    "share_sweep": "own",
    "unshare_sweep": "own",
    "get_checkpoint": "read",
    "download_checkpoint": "read",
    "look_at_download": "read",
    "list_all_checkpoints": "read",
    "verify_checkpoint": "read",
    "export_checkpoint": "write",
    "recompute_checkpoint": "write",
    "get_chore": "read",
    "change_checkpoint": "own",
    "delete_checkpoint": "own",
    "prune_run": "own",
    "prune_sweep": "own",
    "get_queue": "read",
    "get_shares": "read",
    "list_nodes": "read",
    "drain_node": "admin",
    "undrain_node": "admin",
    "follow_events": "read",
    "list_users": "admin",
    "create_user": "admin",
    "get_user": "admin",
    "change_user": "admin",
    "list_tokens": "read",
    "create_token": "write",
    "revoke_token": "own",
    "list_audit_entries": "read",
}


@dataclass(frozen=True)
class Principal:
    """Who asks, with which token, in which request."""

    user_id: UUID
    name: str
    role: Role
    scope: Scope
    token_id: UUID
    token_expires_at: datetime | None = None
    max_queued: int | None = None
    """Runs that they may have waiting, where that differs from what holds for everybody."""
    operation: str = ""
    """What is asked for, by its id in the OpenAPI document."""
    request_id: str = ""

    @property
    def is_admin(self) -> bool:
        """Whether this request may do what administrators may."""
        return reach(self.role, self.scope) == _REACH_OF_SCOPE["admin"]


@dataclass(frozen=True)
class Owned:
    """Something that belongs to a user."""

    what: str
    """It, with its id, as the beginning of a sentence."""
    owner_id: UUID
    editors: Collection[UUID] = ()
    """Who decides about it beside its owner."""


def reach(role: Role, scope: Scope) -> int:
    """How far a token reaches: the lesser of what its user may and what it is for."""
    return min(_REACH_OF_ROLE[role], _REACH_OF_SCOPE[scope])


def widest(role: Role) -> Scope:
    """The widest scope of which a user of that role has any use."""
    return next(scope for scope, reached in _REACH_OF_SCOPE.items() if reached == _REACH_OF_ROLE[role])


def is_wider(scope: Scope, than: Scope) -> bool:
    """Whether a scope reaches further than another."""
    return _REACH_OF_SCOPE[scope] > _REACH_OF_SCOPE[than]


def need_of(operation: str, method: str) -> Need:
    """What an operation asks for; of one without a rule, `write`, unless its method only reads."""
    return RULES.get(operation) or ("read" if method in ("GET", "HEAD") else "write")


def require(user: Principal, need: Need) -> None:
    """Raise Forbidden, which names what is missing: of the role, or (InsufficientScope) of the token's scope."""
    if need == "open":
        return
    scope = _SCOPE_FOR[need]
    if _REACH_OF_ROLE[user.role] < _REACH_OF_SCOPE[scope]:
        raise Forbidden(
            f"{_named(user)} needs the role {_ROLE_FOR[scope]}, and {user.name} is a {user.role}; ask an administrator."
        )
    if _REACH_OF_SCOPE[user.scope] < _REACH_OF_SCOPE[scope]:
        raise InsufficientScope(
            f"{_named(user)} needs a token of the scope {scope}, and this one has {user.scope}; send another token.",
            scope,
        )


def require_change(user: Principal, thing: Owned, verb: str, *, by_owner_alone: bool = False) -> None:
    """Raise Forbidden where somebody may not decide about a thing: its owner, its editors and administrators may.

    `by_owner_alone` leaves out the editors.
    """
    require(user, "own")
    if user.user_id == thing.owner_id or user.is_admin:
        return
    if user.user_id in thing.editors and not by_owner_alone:
        return
    if user.role == "admin":
        raise InsufficientScope(
            f"{thing.what} belongs to somebody else, and to {verb} it takes a token of the scope admin; this one has "
            f"{user.scope}: send another token.",
            "admin",
        )
    shared = (
        ", or have the sweep shared with you" if not by_owner_alone and thing.what.startswith(("Run", "Sweep")) else ""
    )
    raise Forbidden(f"{thing.what} belongs to somebody else; ask its owner or an administrator to {verb} it{shared}.")


def _named(user: Principal) -> str:
    return f"The operation {user.operation}" if user.operation else "This"
