"""Query parameters that no route knows are refused: a misspelt filter would otherwise be no filter."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from fastapi import Request
from fastapi.routing import APIRoute

from service.domain.errors import Invalid, WrongParameter


async def only_known(request: Request) -> None:
    """Stand before every route. Raises Invalid, which names what is unknown and what is known."""
    route = request.scope["route"]
    if not request.query_params or not isinstance(route, APIRoute):
        return
    known = sorted(field.alias for field in route.dependant.query_params)
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if unknown:
        raise wrong_parameters([WrongParameter(("query", name[:80]), _sentence(name, known)) for name in unknown[:10]])


def wrong_parameters(mistakes: Sequence[WrongParameter]) -> Invalid:
    """Make the error of a request with these mistakes."""
    return Invalid(" ".join(mistake.sentence for mistake in mistakes), mistakes)


def _sentence(name: str, known: list[str]) -> str:
    complaint = f"The query parameter {name[:80]!r} is not known here;"
    if not known:
        return f"{complaint} none is; leave it out."
    close = difflib.get_close_matches(name, known, n=1)
    listed = ", ".join(known)
    return (
        f"{complaint} did you mean {close[0]!r}? Known are {listed}." if close else f"{complaint} known are {listed}."
    )
