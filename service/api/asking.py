"""From the words of a request to a question of the store; what is misread is told with the parameter or the field it is in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query

from prolu.spec import Mistake
from service.domain.errors import Invalid, WrongParameter
from service.domain.filters import Column, Misread, parse, parse_order, select_columns
from service.store.positions import MAX_LENGTH
from service.store.querying import Question

Filter = Annotated[
    str,
    Query(
        alias="filter",
        max_length=4_000,
        description='Only runs of which this is true, such as `state = "succeeded" AND metrics.l0 <= 50`.',
    ),
]
OrderBy = Annotated[
    str,
    Query(
        max_length=1_000, description="Paths to sort by, such as `metrics.fvu desc, name`; missing values come last."
    ),
]
LongCursor = Annotated[
    str | None,
    Query(
        max_length=MAX_LENGTH,
        description="`next_cursor` of the page before, with the same filter and order; leave it out for the first page.",
    ),
]


def question_of(filter_text: str, order_by: str, *, in_body: bool = False) -> Question:
    """Read a filter and an order. Raises Invalid, which says where either goes wrong."""
    try:
        return Question(parse(filter_text), parse_order(order_by), f"{filter_text}\n{order_by}")
    except Misread as misread:
        raise _invalid(misread, in_body=in_body) from None


def columns_for(fields: Sequence[str] | None) -> tuple[Column, ...]:
    """Read what a body wants to see. Raises Invalid."""
    try:
        return select_columns(fields)
    except Misread as misread:
        raise _invalid(misread, in_body=True) from None


def _invalid(misread: Misread, *, in_body: bool) -> Invalid:
    place = Mistake((misread.part,), misread.sentence)
    return Invalid(misread.sentence, [place if in_body else WrongParameter(("query", misread.part), misread.sentence)])
