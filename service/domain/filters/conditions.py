"""A condition as a tree. Every leaf is about one column, is of its type, and knows where in the text it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from service.domain.filters.columns import Column

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
Value: TypeAlias = str | int | float | bool | datetime | UUID


@dataclass(frozen=True, slots=True)
class Comparison:
    """`metrics.l0 <= 50`; unknown of a run that has no value there."""

    column: Column
    operator: Operator
    value: Value
    at: int


@dataclass(frozen=True, slots=True)
class Membership:
    """`state IN ("failed", "cancelled")`; unknown of a run that has no value there."""

    column: Column
    values: tuple[Value, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Match:
    """`name:"gpt"`: the text is in there somewhere, whatever the case of ASCII letters; unknown without a value.

    Of a list of texts, `tags:"baseline"`: it is one of them, to the letter.
    """

    column: Column
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Presence:
    """`metrics.l0:*`: the run has a value there; never unknown."""

    column: Column
    at: int


@dataclass(frozen=True, slots=True)
class Not:
    """`NOT ...`; of what is unknown, unknown."""

    term: Condition
    at: int


@dataclass(frozen=True, slots=True)
class And:
    """Two terms or more, all of which must be true."""

    terms: tuple[Condition, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Or:
    """Two terms or more, one of which must be true."""

    terms: tuple[Condition, ...]
    at: int


Leaf: TypeAlias = Comparison | Membership | Match | Presence
Condition: TypeAlias = Leaf | Not | And | Or


def leaves(condition: Condition) -> list[Leaf]:
    """The leaves of a condition, from left to right."""
    found: list[Leaf] = []
    open_terms = [condition]
    while open_terms:
        match open_terms.pop():
            case And(terms) | Or(terms):
                open_terms.extend(reversed(terms))
            case Not(term):
                open_terms.append(term)
            case leaf:
                found.append(leaf)
    return found
