"""The service itself, and who asks."""

from __future__ import annotations

from uuid import UUID

from prolu.client.wire.base import Wire


class MeRead(Wire):
    """Whose token the request carried."""

    id: UUID
    """Identity of the user."""
    name: str
    """Name of the user."""
    role: str
    """What the user may do: `admin` or `member`."""


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
