"""Cursors of lists in an order that was asked for: the values of the last row, and which question they belong to.

A cursor is opaque and holds nothing secret. It is good for the filter and the order that it came with, and for no others: what
it says of a row would mean something else there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import UUID

from service.domain.errors import InvalidCursor
from service.domain.filters import Key, Kind
from service.domain.filters.literals import NOT_STORED

# Five texts of 200 characters, and what base64 adds.
MAX_LENGTH = 12_000


def encode(question: str, position: Sequence[Any]) -> str:
    """Write the values of a row, its id last, as a cursor of the list that `question` describes."""
    text = json.dumps([_mark(question), *map(_plain, position)], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(question: str, keys: Sequence[Key], cursor: str) -> list[Any]:
    """Read the values of a row in the order of `keys`, and its id. Raises InvalidCursor for what this list did not give out."""
    if len(cursor) > MAX_LENGTH:
        _refuse(cursor)
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, RecursionError):  # of base64, of UTF-8 and of JSON
        _refuse(cursor)
    if not isinstance(found, list) or len(found) != len(keys) + 2:
        _refuse(cursor)
    mark, *values, run_id = found
    if mark != _mark(question):
        raise InvalidCursor(
            "cursor belongs to another filter or order; begin at the first page, or ask as for the page it came from."
        )
    kinds: list[Kind] = [key.column.kind for key in keys]
    try:
        position = [None if value is None else _typed(kind, value) for kind, value in zip(kinds, values, strict=True)]
        return [*position, _typed("identity", run_id)]
    except (ValueError, TypeError, OverflowError):
        _refuse(cursor)


def _mark(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value) if isinstance(value, UUID) else value


def _typed(kind: Kind, value: Any) -> Any:
    """Raises ValueError, TypeError or OverflowError for what no row has there."""
    match kind:
        case "number" if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        case "integer" if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**63 - 1:
            return value
        case "boolean" if isinstance(value, bool):
            return value
        case "text" if isinstance(value, str) and not NOT_STORED.search(value):
            return value
        case "time":
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        case "identity" if isinstance(value, str):
            return UUID(value)
    raise ValueError(kind)


def _refuse(cursor: str) -> NoReturn:
    raise InvalidCursor(
        f"cursor is {cursor[:80]!r}, which this list did not give out; take next_cursor of its last page as it is."
    ) from None
