"""What is said of a request that failed, after RFC 9457."""

from __future__ import annotations

from prolu.client.wire.base import Wire


class ProblemItem(Wire):
    """One part of the request that is wrong."""

    pointer: str
    """JSON pointer into the body; of a parameter `query:NAME`, `path:NAME` or `header:NAME`."""
    detail: str
    """What, got, do."""


class Problem(Wire):
    """RFC 9457 problem details: every error of the API."""

    type: str = "about:blank"
    """URI of the kind of problem."""
    title: str
    """The HTTP status in words."""
    status: int
    """HTTP status."""
    detail: str
    """What happened, what was got, what to do."""
    code: str
    """Stable name for programs."""
    request_id: str
    """Quote it when you ask for help."""
    errors: list[ProblemItem] = []
    """Each wrong field of the body, or each wrong parameter."""
