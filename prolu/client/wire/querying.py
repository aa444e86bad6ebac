"""A question to all runs, and its answer as a table."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from prolu.client.wire.base import Request, Wire

MOST_ROWS_OF_A_PAGE = 10_000


class ResultsQuery(Request):
    """Which runs, in which order, and what of them."""

    filter: Annotated[str, Field(max_length=4_000, examples=['state = "succeeded" AND metrics.l0 <= 50'])] = ""
    """Which runs: comparisons of paths with AND, OR, NOT, IN, `path:"part"` and `path:*`; by default all of them."""
    order_by: Annotated[str, Field(max_length=1_000, examples=["metrics.fvu, name desc"])] = ""
    """Paths to sort by, each with `desc` if it falls; missing ones come last. By default, and among equals, the newest first."""
    fields: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=300)] | None = None
    """Paths to show, or `metrics.*` for all below one; by default what tells runs apart, metrics and biases."""
    limit: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """At most so many rows. By default 100 to a page of JSON, which has at most 10,000, and all rows in the other formats."""
    cursor: Annotated[str, Field(max_length=12_000)] | None = None
    """`next_cursor` of the page before, which the same filter and order are asked with."""


class ResultColumn(Wire):
    """A column of a table of results."""

    name: str
    """The path."""
    kind: Literal["text", "integer", "number", "boolean", "time", "identity"]
    """What its values are; a time is RFC 3339 in UTC, an identity a UUID. Any value may be null."""


class ResultsPage(Wire):
    """Part of a table of results."""

    columns: list[ResultColumn]
    """The columns, in order."""
    items: list[dict[str, Any]]
    """The rows, in order; each has every column."""
    next_cursor: str | None = None
    """Pass as `cursor` for the next part; null at the end."""


def text_cell(text: str) -> str:
    """A text as it stands in a cell of CSV: with a `'` before what a spreadsheet would take for a formula and run.

    Names are of people's choosing, and tables are opened by others. Numbers are never touched; whoever needs every text to the
    letter takes Parquet, Arrow or JSON. Source: OWASP, CSV injection.
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
