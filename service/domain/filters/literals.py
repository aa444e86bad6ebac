"""Values of the language: what was written becomes a value of the type of its column, or is refused."""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime
from uuid import UUID

from service.domain.filters.columns import Column
from service.domain.filters.conditions import Value
from service.domain.filters.mistakes import quoted

_LEAST, _MOST = -(2**63), 2**63 - 1
# No database holds these: NUL, and halves of surrogate pairs.
NOT_STORED = re.compile("[\x00\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class Wrong(Exception):
    """The value does not fit; the sentence says why."""


def typed(column: Column, given: str | int | float | bool) -> Value:
    """Give `given` the type of the column. Raises Wrong where it is of another."""
    match column.kind, given:
        case "boolean", bool():
            return given
        case (("integer" | "number"), bool()):
            raise Wrong(f"{column.name} is a number; got {_shown(given)}.")
        case "number", int() | float():
            return float(given)
        case "integer", int() | float():
            return _whole(column, given)
        case (("text" | "texts"), str()):
            return _chosen(column, given)
        case "time", str():
            return _moment(column, given)
        case "identity", str():
            return _identity(column, given)
    wanted = {
        "boolean": "true or false, without quotes",
        "integer": "a whole number, without quotes",
        "number": "a number, without quotes",
        "text": "a text in quotes",
        "time": 'a time in quotes, such as "2026-01-31T12:00:00Z" or "2026-01-31"',
        "identity": "an id in quotes",
    }[column.kind]
    raise Wrong(f"{column.name} is compared with {wanted}; got {_shown(given)}.")


def unquoted(literal: str) -> str:
    """The text between quotes; a backslash stands before a quote or another backslash. Raises Wrong."""
    inner = literal[1:-1]
    for escape in _ESCAPE.finditer(inner):
        if escape.group(1) not in "\\'\"":
            raise Wrong(f"{quoted(escape.group())} means nothing in a text; a backslash is written twice.")
    return _ESCAPE.sub(r"\1", inner)


def _whole(column: Column, given: float) -> int:
    if isinstance(given, float) and not given.is_integer():
        raise Wrong(f"{column.name} is a whole number; got {given!r}.")
    if not _LEAST <= given <= _MOST:
        raise Wrong(f"{column.name} is a whole number below 2^63; got {given}.")
    return int(given)


def _chosen(column: Column, given: str) -> str:
    if column.choices and given not in column.choices:
        close = difflib.get_close_matches(given[:100], column.choices, n=1)
        meant = f"did you mean {close[0]!r}? " if close else ""
        never = "never has" if column.kind == "texts" else "is never"
        raise Wrong(f"{column.name} {never} {quoted(given)}; {meant}It is one of {', '.join(column.choices)}.")
    return given


def _moment(column: Column, given: str) -> datetime:
    try:
        moment = datetime.fromisoformat(given)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Wrong(
            f'{column.name} is compared with a time such as "2026-01-31T12:00:00Z" or "2026-01-31" (UTC); got {quoted(given)}.'
        ) from None


def _identity(column: Column, given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        raise Wrong(f"{column.name} is compared with a whole id (a UUID); got {quoted(given)}.") from None


def _shown(given: str | int | float | bool) -> str:
    return str(given).lower() if isinstance(given, bool) else quoted(given) if isinstance(given, str) else repr(given)
