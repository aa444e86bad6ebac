"""The service itself."""

from __future__ import annotations

from prolu.client.wire.base import Wire


class VersionRead(Wire):
    """What is running."""

    version: str
    """Version of prolu."""
    api: str
    """Version of the API."""
    database: str
    """Kind of database."""


class ReadyRead(Wire):
    """Whether the service can do its work."""

    ready: bool
    """Database reachable, schema at its head, artifact store reachable."""
    checks: dict[str, str]
    """Each check: `ok`, or what is wrong."""
