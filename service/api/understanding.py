"""Where in a request a filter or a path is that says nothing: a field of the body, or a query parameter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from prolu.spec import Mistake
from service.domain.axes import Unusable
from service.domain.errors import Invalid, WrongParameter
from service.domain.filters import Misread


@contextmanager
def understood(where: Literal["body", "query"]) -> Iterator[None]:
    """Read a question within. Raises Invalid, which names the field that cannot be understood, and why."""
    try:
        yield
    except Misread as error:
        raise _misplaced(where, error.part, error.sentence) from error
    except Unusable as error:
        raise _misplaced(where, error.field, error.sentence) from error


def _misplaced(where: str, field: str, sentence: str) -> Invalid:
    mistake = WrongParameter(("query", field), sentence) if where == "query" else Mistake((field,), sentence)
    return Invalid(sentence, [mistake])
