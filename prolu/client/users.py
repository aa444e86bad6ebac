"""`client.users`, for administrators: who may do what, and how much of it."""

from __future__ import annotations

import builtins
from typing import Any
from uuid import UUID

from prolu.client.errors import NoSuchUser
from prolu.client.http import Http, path_id
from prolu.client.wire import Page, Role, UserCreate, UserPatch, UserRead
from prolu.spec import validate

Person = UUID | str


class Users:
    """The users of the service, by name or by id."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> builtins.list[UserRead]:
        """All users, in the order in which they were made. Raises Forbidden.

        Example: `[user.name for user in client.users.list()]`.
        """
        return [*self._http.pages("/v1/users", UserRead)]

    def create(
        self, name: str, *, role: Role = "member", weight: float = 1.0, max_queued: int | None = None
    ) -> UserRead:
        """Make a user, who can do nothing before they have a token. Raises Conflict for a taken name, SpecError.

        Example: `client.users.create("emmy", role="member", max_queued=200)`.
        """
        given = {"name": name, "role": role, "weight": weight, "max_queued": max_queued}
        body = validate(given, UserCreate)
        return self._http.post("/v1/users", UserRead, body)

    def get(self, user: Person) -> UserRead:
        """One user. Raises NoSuchUser, NotFound, Forbidden.

        Example: `client.users.get("ada").role`.
        """
        if isinstance(user, UUID):
            return self._http.get(f"/v1/users/{path_id(user)}", UserRead)
        found = self._http.get("/v1/users", Page[UserRead], {"name": user}).items
        if not found:
            raise NoSuchUser(
                f"There is no user {user!r}; `client.users.list()` and `prolu user list` tell who there is."
            )
        return found[0]

    def change(self, user: Person, **changes: Any) -> UserRead:
        """Change `role`, `weight`, `max_queued` (None: as for everybody) or `disabled`; what is not named stays.

        The tokens of a disabled user count for nothing; their runs go on until somebody cancels them. Raises Conflict for the
        last administrator, NoSuchUser, NotFound, Forbidden, SpecError.

        Example: `client.users.change("grace", weight=2.0, max_queued=None)`.
        """
        user_id = user if isinstance(user, UUID) else self.get(user).id
        return self._http.patch(f"/v1/users/{path_id(user_id)}", UserRead, validate(changes, UserPatch))
