"""The real application for tests, behind Starlette's test client: `api` on both databases, `quick_api` once per file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from prolu.client.wire import Role, Scope
from service.api.context import Services
from service.app import create_app
from service.settings import Settings
from service.store.db import Database
from service.store.tokens import issue
from service.store.users import ensure_user


@dataclass(frozen=True)
class Api:
    """A running application: `http` is signed in as the administrator, `database` is its own."""

    http: TestClient
    settings: Settings

    @property
    def services(self) -> Services:
        services: Services = self.http.app.state.services  # type: ignore[attr-defined]
        return services

    @property
    def database(self) -> Database:
        return self.services.database

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(path, json=body, headers=named)

    def get(self, path: str, **params: Any) -> Any:
        return self.http.get(path, params=params or None)

    def token_of(self, user: str, *, role: Role = "member", scope: Scope = "admin") -> str:
        """A new token of a user, who is made if need be: by default good for all that the user may."""
        with self.database.begin() as session:
            return issue(session, ensure_user(session, user, role=role), name="test", scope=scope).token


@contextmanager
def running_api(folder: Path, *, hub_transport: httpx.BaseTransport | None = None, **changes: Any) -> Iterator[Api]:
    """Run the application with everything below `folder`, unless `changes` says otherwise."""
    settings = Settings(data_dir=folder, **changes)
    with TestClient(create_app(settings, hub_transport=hub_transport), raise_server_exceptions=False) as http:
        http.headers["Authorization"] = f"Bearer {settings.token_file.read_text().strip()}"
        yield Api(http, settings)


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[Api]:
    """The application on a database without rows, for tests in which SQL matters: runs on both databases."""
    with running_api(tmp_path / "home", database_url=database_url) as running:
        yield running


@pytest.fixture(scope="module")
def quick_api(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One application for a whole file, on SQLite, for tests that leave nothing behind or do not mind."""
    folder = tmp_path_factory.mktemp("quick")
    shutil.copy(sqlite_template, folder / "prolu.db")
    with running_api(folder) as running:
        yield running
