"""The token file of the first administrator."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from service.domain.errors import Unauthenticated
from service.settings import Settings
from service.store import audit, tokens
from service.store.db import Database
from service.store.local_token import ensure_local_token
from service.store.models import TokenRow, UserRow
from service.store.tokens import authenticate


def settings(folder: Path) -> Settings:
    return Settings(data_dir=folder / "home")


def ensure(database: Database, chosen: Settings) -> str:
    with database.begin() as session:
        ensure_local_token(session, chosen)
    return chosen.token_file.read_text().strip()


def test_the_first_start_makes_a_token_that_only_its_owner_can_read(database: Database, tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    token = ensure(database, chosen)
    assert stat.S_IMODE(chosen.token_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(chosen.token_file.parent.stat().st_mode) == 0o700
    assert [file.name for file in chosen.data_dir.iterdir()] == ["token"]
    with database.read() as session:
        principal = authenticate(session, token).principal
        (entry,) = audit.entries(session, limit=10, cursor=None).items
    assert principal.is_admin
    assert principal.token_expires_at is None
    assert (entry.user, entry.action, entry.target_id) == (None, "create_token", str(principal.token_id))


def test_later_starts_keep_the_token(database: Database, tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    assert ensure(database, chosen) == ensure(database, chosen)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(TokenRow)) == 1


def test_a_token_file_that_a_new_database_does_not_know_is_registered(database: Database, tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    token = ensure(database, chosen)
    with database.begin() as session:
        session.execute(text("DELETE FROM tokens"))
        session.execute(text("DELETE FROM users"))
    assert ensure(database, chosen) == token
    with database.read() as session:
        assert authenticate(session, token).principal.name == "admin"


def test_a_token_file_whose_token_was_revoked_stays_so_until_it_is_removed(database: Database, tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    token = ensure(database, chosen)
    with database.begin() as session:
        tokens.revoke(session, authenticate(session, token).principal.token_id)
    assert ensure(database, chosen) == token
    with pytest.raises(Unauthenticated, match="revoked"), database.read() as session:
        authenticate(session, token)
    chosen.token_file.unlink()
    fresh = ensure(database, chosen)
    with database.read() as session:
        assert authenticate(session, fresh).principal.is_admin


def test_a_token_file_that_others_could_read_is_closed(database: Database, tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    ensure(database, chosen)
    chosen.token_file.chmod(0o644)
    ensure(database, chosen)
    assert stat.S_IMODE(chosen.token_file.stat().st_mode) == 0o600


def test_a_token_file_with_something_else_in_it_is_not_taken_for_a_token(database: Database, tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    chosen.data_dir.mkdir()
    chosen.token_file.write_text("hunter2")
    with pytest.raises(ValueError, match="remove it"):
        ensure(database, chosen)


def test_services_that_start_together_agree_on_one_token(database: Database, tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    together = threading.Barrier(4)
    found: list[str] = []

    def start() -> None:
        together.wait()
        found.append(ensure(database, chosen))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len({*found}) == 1
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(TokenRow)) == 1
        assert session.scalar(select(func.count()).select_from(UserRow)) == 1
