"""What all messages have in common, and the form of a list. Requests are closed, responses are open."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

Item = TypeVar("Item")


class Wire(BaseModel):
    """A message of the API. Requests refuse unknown fields; readers of responses ignore what they do not know."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Request(Wire):
    """A body that a client sends."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, extra="forbid", allow_inf_nan=False)


class Page(Wire, Generic[Item]):
    """Part of a list."""

    items: list[Item]
    """The items, in order."""
    next_cursor: str | None = None
    """Pass as `cursor` for the next part; null at the end."""
