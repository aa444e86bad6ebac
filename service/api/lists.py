"""The two parameters that every list has, and what names something in others."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import StringConstraints

Limit = Annotated[int, Query(ge=1, le=500, description="At most so many items.", examples=[100])]
Cursor = Annotated[
    str | None,
    Query(max_length=500, description="`next_cursor` of the page before; leave it out for the first page."),
]
Archived = Annotated[
    bool, Query(description="Whether what was archived is listed too; of a sweep that is named, it always is.")
]
IdPart = Annotated[
    str | None,
    Query(
        alias="id",
        pattern=r"^[0-9a-f]{4,32}$",
        description="Only what has an id that begins or ends so, in hexadecimal digits without hyphens.",
        examples=["beaf12c5"],
    ),
]
# Without the characters that no name has, one of which PostgreSQL does not even compare.
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
