"""Read a filter: text in, a condition out, or the place of the first thing that is wrong with it.

NOT binds before AND, AND before OR, as in SQL and Python (in AIP-160 OR binds before AND, which surprises whoever has not read
it). From AIP-160 come `:` for texts, and `:*` for presence, since `= null` would look like a comparison, of which nothing else
here is true of what is missing. Texts and times stand in quotes, so that a misspelt path is never a text. Words of the language
may be written small.

The parser is LALR: it keeps its own stack, builds from the leaves up and never recurses, and a tree that grows deeper than
MAX_DEPTH is refused before the next level is built.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any, NoReturn

from lark import Lark, Token, Transformer, UnexpectedInput, v_args

from service.domain.filters.columns import Column, columns, unknown
from service.domain.filters.conditions import (
    And,
    Comparison,
    Condition,
    Match,
    Membership,
    Not,
    Operator,
    Or,
    Presence,
    Value,
)
from service.domain.filters.grammar import GRAMMAR, misplaced
from service.domain.filters.literals import NOT_STORED, Wrong, typed, unquoted
from service.domain.filters.mistakes import Misread, quoted

MAX_LENGTH = 4_000
MAX_DEPTH = 16
MAX_TERMS = 100
MAX_VALUES = 500


def parse(text: str) -> Condition | None:
    """Read a filter; None if it is empty, which every run passes. Raises Misread."""
    if len(text) > MAX_LENGTH:
        complaint = f"it has {len(text):,} characters, and at most {MAX_LENGTH:,} are read; make it shorter."
        raise Misread("filter", text, MAX_LENGTH, complaint)
    if found := NOT_STORED.search(text):
        raise Misread(
            "filter", text, found.start(), "a NUL or half a surrogate pair, which no database stores; remove it."
        )
    if not text.strip():
        return None
    try:
        grown: Any = _parser().parse(text)
    except _Refused as refused:
        raise Misread("filter", text, refused.at, refused.complaint) from None
    except UnexpectedInput as error:
        raise misplaced(text, error) from None
    condition: Condition = grown.condition
    return condition


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", transformer=_Builder(), maybe_placeholders=False)


class _Refused(Exception):
    """Well-formed, and wrong all the same."""

    def __init__(self, at: int, complaint: str) -> None:
        self.at = at
        self.complaint = complaint
        super().__init__(complaint)


class _Grown:
    """A condition with its measures, which its parents add up."""

    __slots__ = ("condition", "depth", "terms")

    def __init__(self, condition: Condition, *within: _Grown) -> None:
        self.condition = condition
        self.depth: int = 1 + max((one.depth for one in within), default=0)
        self.terms: int = sum(one.terms for one in within) or 1
        if self.depth > MAX_DEPTH:
            _refuse(condition.at, f"it is nested more than {MAX_DEPTH} deep; make it flatter.")
        if self.terms > MAX_TERMS:
            _refuse(condition.at, f"it has more than {MAX_TERMS} terms; use IN, or ask in parts.")


@v_args(inline=True)
class _Builder(Transformer[Token, _Grown]):
    """Turns what the parser reduces into conditions, leaves first."""

    def disjunction(self, *terms: _Grown) -> _Grown:
        return _joined(Or, terms)

    def conjunction(self, *terms: _Grown) -> _Grown:
        return _joined(And, terms)

    def negation(self, word: Token, term: _Grown) -> _Grown:
        return _Grown(Not(term.condition, _at(word)), term)

    def inside(self, term: _Grown) -> _Grown:
        return term

    def comparison(self, path: Token, operator: Token, value: Token) -> _Grown:
        column = _single(path)
        chosen: Operator = operator.value
        if chosen not in ("=", "!=") and (column.kind in ("boolean", "identity") or column.choices):
            _refuse(_at(operator), f"{column.name} has no order that tells anything; ask with =, != or IN.")
        return _Grown(Comparison(column, chosen, _value(column, value), _at(path)))

    def membership(self, path: Token, *values: Token) -> _Grown:
        column = _single(path)
        if len(values) > MAX_VALUES:
            _refuse(
                _at(values[MAX_VALUES]),
                f"IN has {len(values):,} values, and at most {MAX_VALUES} are read; ask in parts.",
            )
        return _Grown(Membership(column, tuple(_value(column, value) for value in values), _at(path)))

    def exclusion(self, path: Token, word: Token, *values: Token) -> _Grown:
        within = self.membership(path, *values)
        return _Grown(Not(within.condition, _at(word)), within)

    def match(self, path: Token, text: Token) -> _Grown:
        column = _known(path)
        if column.kind not in ("text", "texts"):
            _refuse(_at(path), f"{column.name} is {_A[column.kind]}, and : looks into texts; compare it instead.")
        sought = _unquoted(text) if column.kind == "text" else _value(column, text)
        return _Grown(Match(column, str(sought), _at(path)))

    def presence(self, path: Token) -> _Grown:
        return _Grown(Presence(_known(path), _at(path)))


_A = {
    "text": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "time": "a time",
    "identity": "an id",
    "texts": "a list of texts",
    "list": "a list",
    "mapping": "a part of the spec with paths of its own",
}


def _joined(kind: type[And | Or], terms: tuple[_Grown, ...]) -> _Grown:
    if len(terms) == 1:
        return terms[0]
    conditions = tuple(one.condition for one in terms)
    return _Grown(kind(conditions, conditions[0].at), *terms)


def _known(path: Token) -> Column:
    found = columns().get(path.value)
    if found is None:
        _refuse(_at(path), unknown(path.value))
    return found


def _single(path: Token) -> Column:
    column = _known(path)
    if not column.is_single:
        below = next((name for name in columns() if name.startswith(f"{column.name}.")), None)
        instead = f"name what is in it, such as {below}" if below else f"ask whether it is there, {column.name}:*"
        if column.kind == "texts":
            instead = f'ask what it has, {column.name}:"text"'
        _refuse(_at(path), f"{column.name} is {_A[column.kind]}; {instead}.")
    return column


def _value(column: Column, literal: Token) -> Value:
    kind, text = literal.type, literal.value
    given: str | int | float | bool
    if kind == "STRING":
        given = _unquoted(literal)
    elif kind == "NUMBER":
        given = _number(literal)
    else:
        given = text.lower() == "true"
    try:
        return typed(column, given)
    except Wrong as wrong:
        _refuse(_at(literal), str(wrong))


def _number(literal: Token) -> int | float:
    text = literal.value
    if re.fullmatch(r"[-+]?\d+", text) and len(text) <= 25:
        return int(text)
    number = float(text)
    if not math.isfinite(number):
        _refuse(_at(literal), f"{quoted(text)} is larger than any number that is stored; write a smaller one.")
    return number


def _unquoted(literal: Token) -> str:
    try:
        return unquoted(literal.value)
    except Wrong as wrong:
        _refuse(_at(literal), str(wrong))


def _at(token: Token) -> int:
    return token.start_pos or 0


def _refuse(at: int, complaint: str) -> NoReturn:
    raise _Refused(at, complaint)
