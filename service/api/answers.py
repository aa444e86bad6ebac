"""Answers that are written where they are made. FastAPI would check them once more, and in yet another thread."""

from __future__ import annotations

from fastapi.responses import Response
from pydantic import BaseModel


def written(answer: BaseModel, *, status: int = 200, location: str | None = None) -> Response:
    """Write a model that was made here, and so is valid, as the JSON of a response; `location` is where what was made is."""
    headers = None if location is None else {"Location": location}
    return Response(answer.model_dump_json(), status, headers=headers, media_type="application/json")
