"""Entity tags: a client that saw a run or sweep changes it only if nobody decided otherwise meanwhile.

A tag stands for what people and the dispatcher decide, not for progress, which would change it twice a second.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header

from prolu.client.wire import CheckpointRead, RunSummary, SweepRead, UserRead
from prolu.spec import digest_of
from service.domain.errors import PreconditionFailed

IfMatch = Annotated[
    str | None,
    Header(
        max_length=500,
        description="The `ETag` of the answer that you looked at: the change is refused if it is no longer true.",
    ),
]


def tag_of(seen: RunSummary | SweepRead | CheckpointRead | UserRead) -> str:
    """Give the tag of a run, a sweep, a checkpoint or a user, quotes included."""
    if isinstance(seen, CheckpointRead):
        return _tag([str(seen.id), seen.pinned])
    if isinstance(seen, UserRead):
        return _tag([str(seen.id), seen.role, seen.weight, seen.max_queued, seen.disabled])
    own = [seen.count] if isinstance(seen, SweepRead) else [seen.state, seen.desired_state, seen.superseded]
    kept = [seen.tags, seen.note, seen.pinned, seen.archived]
    return _tag([str(seen.id), seen.tier, seen.priority, seen.preemptible, *kept, *own])


def require_match(if_match: str | None, seen: RunSummary | SweepRead | CheckpointRead | UserRead) -> None:
    """Raise PreconditionFailed where the request names tags, and the present one is not among them."""
    if if_match is None or if_match.strip() == "*":
        return
    present = tag_of(seen)
    if present not in [tag.strip() for tag in if_match.split(",")]:
        raise PreconditionFailed(
            f"If-Match is {if_match[:80]}, but the present ETag is {present}: it changed meanwhile; look again, then decide."
        )


def _tag(decided: list[Any]) -> str:
    return f'"{digest_of(decided)[:32]}"'
