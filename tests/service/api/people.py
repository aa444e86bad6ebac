"""Users and their requests, for tests of who may do what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from prolu.client.wire import Role, Scope
from service.store.models import UserRow
from tests.fixtures_api import Api


@dataclass(frozen=True)
class Person:
    """Somebody with a token."""

    api: Api
    name: str
    token: str

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.api.http.request(
            method, path, json=body, headers={"Authorization": f"Bearer {self.token}", **named}
        )

    def get(self, path: str) -> Any:
        return self.send("GET", path)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("POST", path, body, **headers)

    @property
    def id(self) -> UUID:
        with self.api.database.read() as session:
            return session.scalars(select(UserRow.id).where(UserRow.name == self.name)).one()


def person(api: Api, name: str, *, role: Role = "member", scope: Scope = "admin") -> Person:
    """A user of that role, with a token that by default is good for all that the user may."""
    return Person(api, name, api.token_of(name, role=role, scope=scope))


def root(api: Api) -> Person:
    """The administrator of the token file."""
    return Person(api, "admin", api.settings.token_file.read_text().strip())
