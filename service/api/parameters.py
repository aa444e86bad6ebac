"""Query parameters that no route knows are refused: a misspelt filter would otherwise be no filter.

So is a NUL in a query or a path, which is in no name and which PostgreSQL cannot hold.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from fastapi import Request
from fastapi.routing import APIRoute

from service.domain.errors import Invalid, WrongParameter


async def only_known(request: Request) -> None:
    """Stand before every route. Raises Invalid, which names what is unknown and what is known, or has a NUL."""
    route = request.scope["route"]
    said = [*(("path", *pair) for pair in request.path_params.items())]
    said += [("query", *pair) for pair in request.query_params.multi_items()]
    if with_nul := [
        WrongParameter((place, name[:80]), _nul(place, name)) for place, name, value in said if "\0" in str(value)
    ]:
        raise wrong_parameters(with_nul[:10])
    if not request.query_params or not isinstance(route, APIRoute):
        return
    known = sorted(field.alias for field in route.dependant.query_params)
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if unknown:
        raise wrong_parameters([WrongParameter(("query", name[:80]), _sentence(name, known)) for name in unknown[:10]])


def wrong_parameters(mistakes: Sequence[WrongParameter]) -> Invalid:
    """Make the error of a request with these mistakes."""
    return Invalid(" ".join(mistake.sentence for mistake in mistakes), mistakes)


def _nul(place: str, name: str) -> str:
    return f"The {place} parameter {name[:80]} must be text without the character NUL; leave it out."


def _sentence(name: str, known: list[str]) -> str:
    complaint = f"The query parameter {name[:80]!r} is not known here;"
    if not known:
        return f"{complaint} none is; leave it out."
    close = difflib.get_close_matches(name, known, n=1)
    listed = ", ".join(known)
    return (
        f"{complaint} did you mean {close[0]!r}? Known are {listed}." if close else f"{complaint} known are {listed}."
    )
