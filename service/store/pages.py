"""Pages of lists by keyset: a cursor names the last row that was seen, so page 1000 costs what page 1 costs.

A cursor is opaque to clients and holds nothing secret; whoever makes one up sees only what the list shows anyway.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import Field, TypeAdapter

from prolu.client.wire import Page
from service.domain.errors import InvalidCursor, WrongParameter

Row = TypeVar("Row")
Item = TypeVar("Item")
Key = TypeVar("Key")

# What the columns hold: PostgreSQL fails on what they could not, where SQLite finds nothing.
_Small = Annotated[int, Field(ge=-(2**31), lt=2**31)]
_Large = Annotated[int, Field(ge=-(2**63), lt=2**63)]
# Positions in lists: identities, points and epochs, numbers of events and steps, a step within a split or an epoch.
BY_ID: TypeAdapter[tuple[UUID]] = TypeAdapter(tuple[UUID])
BY_COUNT: TypeAdapter[tuple[int]] = TypeAdapter(tuple[_Small])
BY_NUMBER: TypeAdapter[tuple[int]] = TypeAdapter(tuple[_Large])
BY_STEP_AND_SPLIT: TypeAdapter[tuple[int, str]] = TypeAdapter(tuple[_Large, Literal["train", "held_out"]])
BY_STEP_AND_EPOCH: TypeAdapter[tuple[int, int]] = TypeAdapter(tuple[_Large, _Small])
BY_EPOCH_AND_SEQUENCE: TypeAdapter[tuple[int, int]] = TypeAdapter(tuple[_Small, _Large])


def encode(position: tuple[Any, ...]) -> str:
    """Write a position as a cursor."""
    text = json.dumps([str(part) if isinstance(part, UUID) else part for part in position], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, key: TypeAdapter[Key]) -> Key:
    """Read a position that this list gave out. Raises InvalidCursor for anything else."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return key.validate_json(base64.urlsafe_b64decode(padded.encode()))
    except ValueError:  # of base64, of UTF-8, of JSON and of pydantic
        raise _unknown(
            f"cursor is {cursor[:80]!r}, which this list did not give out; take next_cursor of its last page as it is."
        ) from None


def _unknown(sentence: str) -> InvalidCursor:
    return InvalidCursor(sentence, [WrongParameter(("query", "cursor"), sentence)])


def page(
    rows: Sequence[Row], limit: int, item: Callable[[Row], Item], position: Callable[[Row], tuple[Any, ...]]
) -> Page[Item]:
    """Make a page of rows that were asked for with `limit + 1`: the one too many says that there is more."""
    shown = rows[:limit]
    cursor = encode(position(shown[-1])) if len(rows) > limit and shown else None
    return Page(items=[item(row) for row in shown], next_cursor=cursor)
