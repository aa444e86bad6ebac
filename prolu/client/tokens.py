"""`client.tokens`: one's own, and for administrators everybody's."""

from __future__ import annotations

import builtins
from uuid import UUID

from prolu.client.http import Http, path_id
from prolu.client.wire import Scope, TokenCreate, TokenCreated, TokenRead
from prolu.spec import validate


class Tokens:
    """The tokens that you may see."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def create(
        self, name: str, *, scope: Scope = "write", expires_in_days: float | None = None, user: str | None = None
    ) -> TokenCreated:
        """Make a token for yourself, or as an administrator for `user`. Its `token` is shown this once: keep it.

        Raises Forbidden for a wider scope than your own, NotFound, SpecError, Invalid; and Conflict where the service made it and
        its answer was lost on the way: nobody can see it again, so revoke it and make another one.

        Example: `client.tokens.create("laptop", scope="read", expires_in_days=30).token`.
        """
        given = {"name": name, "scope": scope, "expires_in_days": expires_in_days, "user": user}
        body = validate(given, TokenCreate)
        return self._http.post("/v1/tokens", TokenCreated, body)

    def list(self, *, user: str | None = None) -> builtins.list[TokenRead]:
        """Tokens, the newest first: yours, or as an administrator everybody's or those of `user`. Raises Forbidden.

        Example: `[token.name for token in client.tokens.list()]`.
        """
        return [*self._http.pages("/v1/tokens", TokenRead, {"user": user})]

    def revoke(self, token: UUID | str) -> TokenRead:
        """Have a token count for nothing, by its id, for good. Raises Forbidden, NotFound.

        Example: `client.tokens.revoke(token.id)`.
        """
        return self._http.post(f"/v1/tokens/{path_id(token)}:revoke", TokenRead)
