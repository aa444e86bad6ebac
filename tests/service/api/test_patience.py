"""A PostgreSQL that takes what it is sent and says nothing is told of, instead of waited for without an end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures_api import running_api
from tests.postgres import PostgresServer


def test_a_database_that_hangs_is_answered_with_a_problem_and_is_there_again_when_it_wakes(
    postgres_server: PostgresServer, migrated_postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.app.LONGEST_PATIENCE_SECONDS", 1.0)
    with running_api(tmp_path, database_url=migrated_postgres) as api:
        assert api.get("/v1/runs").status_code == 200
        with postgres_server.hanging():
            answer = api.get("/v1/runs")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "retry-after" in answer.headers
        assert api.get("/v1/runs").status_code == 200
