"""`client.audit`: who changed what."""

from __future__ import annotations

import builtins
from datetime import datetime

from prolu.client.http import Http
from prolu.client.wire import AuditRead


class Audit:
    """The log of changes: yours, and for administrators everybody's."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(
        self,
        *,
        user: str | None = None,
        action: str | None = None,
        target: object | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 100,
    ) -> builtins.list[AuditRead]:
        """Changes, the newest first: by `user`, of an `action` such as `cancel_run`, of the thing with the id `target`.

        `since` and `until` are aware; `limit=None` gives all. Raises Forbidden, Invalid.

        Example: `[(one.user, one.action) for one in client.audit.list(action="submit_run", limit=20)]`.
        """
        params = {
            "user": user,
            "action": action,
            "target": None if target is None else str(target),
            "since": None if since is None else since.isoformat(),
            "until": None if until is None else until.isoformat(),
        }
        return [*self._http.pages("/v1/audit", AuditRead, params, limit)]
