"""Answers that are written where they are made. FastAPI would check them once more, and in yet another thread."""

from __future__ import annotations

from fastapi.responses import Response
from pydantic import BaseModel


def written(answer: BaseModel, *, status: int = 200) -> Response:
    """Write a model that was made here, and so is valid, as the JSON of a response."""
    return Response(answer.model_dump_json(), status, media_type="application/json")
