"""Conditions, orders and columns of the filter language as SQL: bound parameters only, one meaning on both databases.

Whatever `findings` has is read there; the rest is read from the run itself, by a join that is made only where it is needed.
Comparisons of SQL are of the three values that the language asks for. What differs between databases is evened out here:
texts are compared by code point, `:` folds ASCII letters only, JSON numbers are read as double precision or 64-bit integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Float,
    FromClause,
    Integer,
    String,
    Table,
    and_,
    case,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    type_coerce,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from service.domain import tiers
from service.domain.filters import And, Column, Comparison, Condition, Key, Match, Membership, Not, Or, Presence
from service.domain.filters.conditions import Leaf, Operator, leaves
from service.store.models import FINDINGS, RunRow, UserRow
from service.store.models.findings import column_of

RUNS = cast("Table", RunRow.__table__)
USERS = cast("Table", UserRow.__table__)

_COMPARE: dict[Operator, Callable[[Any, Any], ColumnElement[bool]]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def source(columns: Iterable[Column]) -> FromClause:
    """Where these columns are: the narrow table, and the runs too if one of them is only there."""
    joined = any(_copy(column) is None and column.name != "owner" for column in columns)
    return FINDINGS.join(RUNS, RUNS.c.id == FINDINGS.c.run_id) if joined else FINDINGS


def holds(condition: Condition) -> ColumnElement[bool]:
    """The condition over the rows of `source`; unknown where the language says so."""
    match condition:
        case And(terms):
            return and_(*map(holds, terms))
        case Or(terms):
            return or_(*map(holds, terms))
        case Not(term):
            return not_(holds(term))
        case Comparison(column) | Membership(column) | Match(column) | Presence(column) if column.name == "owner":
            # The users are few: they are asked once, not for every run.
            return FINDINGS.c.owner_id.in_(select(USERS.c.id).where(_holds(condition, USERS.c.name)))
        case leaf:
            return _holds(leaf, value_of(leaf.column))


def columns_of(condition: Condition | None, keys: Sequence[Key] = ()) -> list[Column]:
    """The columns that a condition and an order read."""
    asked = [] if condition is None else [leaf.column for leaf in leaves(condition)]
    return [*asked, *(key.column for key in keys)]


def value_of(column: Column, *, spec: ColumnElement[Any] = RUNS.c.spec) -> ColumnElement[Any]:
    """What a row of `source` has in this column, null where it has nothing; `spec` is where its spec is read."""
    copied = _copy(column)
    if copied is not None:
        return copied
    if column.name == "owner":
        name = select(USERS.c.name).where(USERS.c.id == FINDINGS.c.owner_id)
        return name.correlate(FINDINGS).scalar_subquery()
    if column.name == "tier":
        return case(tiers.NAMES, value=RUNS.c.tier)
    if column.source == "run":
        return RUNS.c[column.name]
    document = spec[tuple(column.path.split("."))] if column.source == "spec" else RUNS.c.set[column.path]
    return _from_json(document, column)


def opened(columns: Iterable[Column]) -> FromClause | None:
    """On PostgreSQL, the spec of a row as its column `spec`, decompressed once; None where one path or none is read of it.

    Each path that is read of a stored document has it fetched and decompressed anew, a hundred times for all of a spec.
    """
    if sum(column.source == "spec" and _copy(column) is None for column in columns) < 2:
        return None
    # To join it to nothing yields the document itself in memory; OFFSET keeps the planner from undoing the step.
    spec = literal_column("runs.spec || '{}'::jsonb", RUNS.c.spec.type)
    return select(spec.label("spec")).offset(0).lateral("opened")


def ordered(keys: Sequence[Key]) -> list[ColumnElement[Any]]:
    """The order of `keys`: what is missing comes last, and of equals the newest first."""
    order = []
    for key in keys:
        value = _sortable(key.column)
        order.append((value.desc() if key.descending else value.asc()).nulls_last())
    return [*order, FINDINGS.c.run_id.desc()]


def after(keys: Sequence[Key], position: Sequence[Any]) -> ColumnElement[bool]:
    """What comes after a row with these values of `keys`, and this id, in the order of `ordered`."""
    *values, run_id = position
    beyond: ColumnElement[bool] = FINDINGS.c.run_id < run_id
    for key, value in zip(reversed(keys), reversed(values), strict=True):
        here = _sortable(key.column)
        value = int(value) if isinstance(value, bool) else value
        if value is None:
            beyond = and_(here.is_(None), beyond)
        else:
            further = here < value if key.descending else here > value
            beyond = or_(further, here.is_(None), and_(here == value, beyond))
    return beyond


def _copy(column: Column) -> ColumnElement[Any] | None:
    """The column of `findings` that has it, if it is copied there."""
    name = "run_id" if column.name == "id" else column_of(column.name)
    return FINDINGS.c.get(name)


def _holds(leaf: Leaf, value: ColumnElement[Any]) -> ColumnElement[bool]:
    match leaf:
        case Presence(column):
            return func.coalesce(has_items(value), false()) if column.kind in ("list", "texts") else value.is_not(None)
        case Match(column, text) if column.kind == "texts":
            return has_text(value, literal(text))
        case Match(_, text):
            return has_part(value, literal(_folded(text)))
        case Membership(column, values):
            return _compared(column, value).in_(values)
        case Comparison(column, operator, other):
            return _COMPARE[operator](_compared(column, value), other)
    raise AssertionError("every leaf is one of these")


def _sortable(column: Column) -> ColumnElement[Any]:
    """The value as it is sorted: texts by code point, false before true."""
    value = value_of(column)
    return sql_cast(value, Integer()) if column.kind == "boolean" else _compared(column, value)


def _compared(column: Column, value: ColumnElement[Any]) -> ColumnElement[Any]:
    if column.kind == "integer":  # a number that no row of a small column has must not be too large to ask for
        return type_coerce(value, BigInteger())
    return by_code_point(value) if column.kind == "text" else value


def _folded(text: str) -> str:
    """Small ASCII letters, as `lower` of both databases makes them here."""
    return "".join(chr(ord(letter) + 32) if "A" <= letter <= "Z" else letter for letter in text)


def _from_json(document: Any, column: Column) -> ColumnElement[Any]:
    match column.kind:
        case "number":
            return sql_cast(document.as_float(), Float(53))
        case "integer":
            return sql_cast(document.as_string(), BigInteger())
        case "boolean":
            return cast("ColumnElement[Any]", document.as_boolean())
        case "list" | "texts":
            return cast("ColumnElement[Any]", document)
    return cast("ColumnElement[Any]", document.as_string())


class by_code_point(FunctionElement[str]):  # noqa: N801 as SQLAlchemy's own functions are named
    """A text whose comparisons go by code point, whatever the language of the database."""

    type = String()
    inherit_cache = True


class has_part(FunctionElement[bool]):  # noqa: N801
    """Whether a text has a part, given in small letters, if its own ASCII letters are made small."""

    type = Boolean()
    inherit_cache = True


class has_text(FunctionElement[bool]):  # noqa: N801
    """Whether a JSON list has a text among its items; null where there is no list."""

    type = Boolean()
    inherit_cache = True


class has_items(FunctionElement[bool]):  # noqa: N801
    """Whether a JSON list has any item; null where there is no list."""

    type = Boolean()
    inherit_cache = True


@compiles(by_code_point, "sqlite")
def _code_points_of_sqlite(element: by_code_point, compiler: Any, **options: Any) -> str:
    return _arguments(element, compiler, options)[0]  # it compares so by itself


@compiles(by_code_point, "postgresql")
def _code_points_of_postgresql(element: by_code_point, compiler: Any, **options: Any) -> str:
    return f'({_arguments(element, compiler, options)[0]}) COLLATE "C"'


@compiles(has_part, "sqlite")
def _part_on_sqlite(element: has_part, compiler: Any, **options: Any) -> str:
    text, part = _arguments(element, compiler, options)
    return f"(instr(lower({text}), {part}) > 0)"


@compiles(has_part, "postgresql")
def _part_on_postgresql(element: has_part, compiler: Any, **options: Any) -> str:
    text, part = _arguments(element, compiler, options)
    return f'(strpos(lower(({text}) COLLATE "C"), {part}) > 0)'


@compiles(has_text, "sqlite")
def _text_on_sqlite(element: has_text, compiler: Any, **options: Any) -> str:
    document, text = _arguments(element, compiler, options)
    found = f"EXISTS (SELECT 1 FROM json_each({document}) AS item WHERE item.value = {text})"  # noqa: S608 compiled
    return f"(CASE WHEN json_type({document}) = 'array' THEN {found} END)"


@compiles(has_text, "postgresql")
def _text_on_postgresql(element: has_text, compiler: Any, **options: Any) -> str:
    document, text = _arguments(element, compiler, options)
    as_jsonb = f"({document})::jsonb"
    return f"(CASE WHEN jsonb_typeof({as_jsonb}) = 'array' THEN {as_jsonb} @> to_jsonb(({text})::text) END)"


@compiles(has_items, "sqlite")
def _items_on_sqlite(element: has_items, compiler: Any, **options: Any) -> str:
    (document,) = _arguments(element, compiler, options)
    return f"(CASE WHEN json_type({document}) = 'array' THEN json_array_length({document}) > 0 END)"


@compiles(has_items, "postgresql")
def _items_on_postgresql(element: has_items, compiler: Any, **options: Any) -> str:
    document = f"({_arguments(element, compiler, options)[0]})::jsonb"
    return f"(CASE WHEN jsonb_typeof({document}) = 'array' THEN jsonb_array_length({document}) > 0 END)"


def _arguments(element: FunctionElement[Any], compiler: Any, options: dict[str, Any]) -> list[str]:
    return [compiler.process(argument, **options) for argument in element.clauses]
