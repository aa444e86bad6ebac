"""The filter language in plain Python, over runs as plain data: what SQL on both databases is compared with."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

from service.domain.filters import And, Column, Comparison, Condition, Key, Match, Membership, Not, Or, Presence

Run = dict[str, Any]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def value_of(run: Run, column: Column) -> Any:
    """What stands there; None for what is missing, and for null."""
    if column.source == "run":
        return run[column.name]
    here: Any = run[column.source] or {}
    if column.source != "spec":
        return here.get(column.path)
    for part in column.path.split("."):
        here = here.get(part) if isinstance(here, dict) else None
    return here


def holds(condition: Condition, run: Run) -> bool | None:
    """True, false, or None for unknown."""
    match condition:
        case Not(term):
            found = holds(term, run)
            return None if found is None else not found
        case And(terms):
            all_found = [holds(term, run) for term in terms]
            return False if False in all_found else None if None in all_found else True
        case Or(terms):
            any_found = [holds(term, run) for term in terms]
            return True if True in any_found else None if None in any_found else False
        case Presence(column):
            return value_of(run, column) not in (None, [])
    value = value_of(run, condition.column)
    if value is None:
        return None
    match condition:
        case Comparison(_, chosen, other):
            return _OPERATORS[chosen](value, other)
        case Membership(_, values):
            return value in values
        case Match(column, text) if column.kind == "texts":
            return text in value
        case Match(_, text):
            return _small(text) in _small(value)
    raise AssertionError(condition)


def ordered(runs: list[Run], keys: tuple[Key, ...]) -> list[Run]:
    """Missing values last, whichever way; of equals the newest first."""

    def compare(left: Run, right: Run) -> int:
        for key in keys:
            a, b = value_of(left, key.column), value_of(right, key.column)
            if (a is None) != (b is None):
                return 1 if a is None else -1
            if a is not None and a != b:
                return (1 if a > b else -1) * (-1 if key.descending else 1)
        return -1 if left["id"] > right["id"] else 1

    return sorted(runs, key=cmp_to_key(compare))


def _small(text: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)
