"""Users, their tokens, what they may and use, and the log of what they changed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from prolu.client.wire.base import Request, Wire
from prolu.spec.base import Flag, Integer, Number, refusal
from prolu.spec.masking import masked
from prolu.spec.text import ShortLabel, UserName

Role = Literal["admin", "member", "viewer"]
Scope = Literal["read", "write", "admin"]
TargetKind = Literal["run", "sweep", "checkpoint", "user", "token", "node"]

Weight = Annotated[Number, Field(gt=0, le=1e6)]
MaxQueued = Annotated[Integer, Field(ge=1, le=1_000_000_000)]
Days = Annotated[Number, Field(gt=0, le=36_500)]

_MOST_AT_ONCE = 50


def _no_secret(text: str) -> str:
    if masked(text) != text:
        raise refusal("holds something that looks like a token, and names are shown to others; take another name")
    return text


class UserRead(Wire):
    """A user, as administrators see them."""

    id: UUID
    """Identity, a UUIDv7."""
    name: str
    """Name, by which others know them."""
    role: Role
    """What they may do: `viewer` reads, `member` submits and decides about their own, `admin` about everything."""
    weight: float
    """What is theirs of the cluster, against the weights of the other active users."""
    max_queued: int | None
    """Runs that they may have waiting at once; null where PROLU_MAX_QUEUED_PER_USER decides."""
    disabled: bool
    """Whether their tokens count for nothing."""
    disabled_at: datetime | None
    """Since when; null while they are not disabled."""
    unfinished_runs: int
    """Runs of theirs that have not ended; those of a disabled user go on until somebody cancels them."""
    created_at: datetime
    """When they were made."""


class UserCreate(Request):
    """Make a user. They can do nothing before they have a token."""

    name: UserName
    """Small letters, digits and `. _ - @`, at most 64; no other user has it, and it never changes."""
    role: Role = "member"
    """`viewer`, `member` (the default) or `admin`."""
    weight: Weight = 1.0
    """What is theirs of the cluster, against the weights of the other active users. Default 1."""
    max_queued: MaxQueued | None = None
    """Runs that they may have waiting at once; by default as PROLU_MAX_QUEUED_PER_USER says."""


class UserPatch(Request):
    """Change a user; what is left out stays."""

    role: Role | None = None
    """`viewer`, `member` or `admin`."""
    weight: Weight | None = None
    """What is theirs of the cluster, against the weights of the other active users."""
    disabled: Flag | None = None
    """Whether their tokens count for nothing, within a second. Their runs go on until somebody cancels them."""
    max_queued: MaxQueued | None = None
    """Runs that they may have waiting at once; null lets PROLU_MAX_QUEUED_PER_USER decide again."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        said = self.model_fields_set
        if not said:
            raise refusal("says nothing; give role, weight, disabled or max_queued")
        for name in ("role", "weight", "disabled"):
            if name in said and getattr(self, name) is None:
                raise refusal("must not be null; leave it out and it stays as it is", name)
        return self


class TokenRead(Wire):
    """A token, but for what is secret of it."""

    id: UUID
    """Identity, a UUIDv7."""
    user: str
    """Whose it is."""
    name: str
    """What it was made for."""
    scope: Scope
    """The most it is good for: `read`, `write` (read, and what a member does) or `admin` (everything its user may)."""
    created_at: datetime
    """When it was made."""
    expires_at: datetime | None
    """From when on it counts for nothing; null for one that does not end."""
    last_used_at: datetime | None
    """Its last use, a minute or so late; null before the first."""
    revoked_at: datetime | None
    """Since when it counts for nothing, because somebody said so."""


class TokenCreate(Request):
    """Make a token, for oneself or, by an administrator, for somebody else."""

    name: Annotated[ShortLabel, AfterValidator(_no_secret)]
    """What it is for, such as `laptop`."""
    scope: Scope = "write"
    """`read`, `write` (the default) or `admin`; no more than the token that asks, and than its user's role."""
    expires_in_days: Days | None = None
    """How long it is good; by default as PROLU_TOKEN_DAYS says, at most PROLU_MAX_TOKEN_DAYS."""
    user: UserName | None = None
    """Whose it shall be; one's own by default, anybody's for administrators."""


class TokenCreated(TokenRead):
    """A token with its secret, which is shown this once."""

    token: str = Field(repr=False)
    """What stands after `Bearer` in requests. Nobody can read it again: the service keeps a hash."""


class LimitsRead(Wire):
    """What one user may at once, and what of it they do; null where there is no limit."""

    max_queued: int | None
    """Runs that may wait."""
    queued: int
    """Runs that wait."""
    max_gpus: float | None
    """GPUs that runs may hold."""
    gpus: float
    """GPUs that runs hold."""
    max_requests_per_second: float | None
    """Requests per second, in the long run, of each process of the service."""
    request_burst: int | None
    """Requests at once, after a pause."""


class MeRead(Wire):
    """Whose token the request carried, and what it is good for."""

    id: UUID
    """Identity of the user."""
    name: str
    """Name of the user."""
    role: Role
    """What the user may do: `admin`, `member` or `viewer`."""
    scope: Scope
    """The most that the token is good for; what may be done is the lesser of the two."""
    token_id: UUID
    """Identity of the token."""
    token_expires_at: datetime | None
    """When the token ends; null where it does not."""
    limits: LimitsRead
    """What the user may at once, and what of it they do."""


class SharingRequest(Request):
    """Name users with whom a sweep is shared, or no longer."""

    users: Annotated[list[UserName], Field(min_length=1, max_length=_MOST_AT_ONCE)]
    """Their names, at most 50."""


class AuditRead(Wire):
    """A change that somebody made."""

    id: UUID
    """Identity, a UUIDv7."""
    at: datetime
    """When, by the database's clock."""
    user: str | None
    """Who; null for what the service did by itself at its start."""
    token_id: UUID | None
    """With which token."""
    action: str
    """What: the operation as the OpenAPI document names it, such as `cancel_run`."""
    target_kind: TargetKind
    """Kind of what was changed: run, sweep, user, token, node."""
    target_id: str
    """Its id; of a node its name."""
    request_id: str
    """The request, as the service's log and its answer name it."""
    before: dict[str, Any] | None
    """What the change replaced, in brief; null where there was nothing."""
    after: dict[str, Any] | None
    """What it is now, in brief."""
