"""Users: made once, counted, and never without an administrator."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest

from service.domain.errors import Conflict, NotFound
from service.store import users
from service.store.db import Database
from service.store.users import ensure_user


def made(database: Database, name: str, role: str = "member") -> UUID:
    with database.begin() as session:
        return ensure_user(session, name, role=role)  # type: ignore[arg-type]


def change(database: Database, user_id: UUID, **changes: object) -> None:
    with database.begin() as session:
        users.change(session, users.locked(session, user_id), changes)


def test_a_user_is_made_once(database: Database) -> None:
    assert made(database, "ada") == made(database, "ada")


def test_no_two_users_have_one_name(database: Database) -> None:
    made(database, "ada")
    with pytest.raises(Conflict, match="'ada' already"), database.begin() as session:
        users.create(session, name="ada", role="viewer", weight=1.0, max_queued=None)


@pytest.mark.parametrize("changes", [{"role": "member"}, {"role": "viewer"}, {"disabled": True}])
def test_the_last_administrator_can_be_neither_demoted_nor_disabled(
    database: Database, changes: dict[str, object]
) -> None:
    root, disabled = made(database, "root", "admin"), made(database, "gone", "admin")
    change(database, disabled, disabled=True)
    with pytest.raises(Conflict, match="root is the last administrator"):
        change(database, root, **changes)
    with database.read() as session:
        seen = users.one(session, root)
    assert (seen.role, seen.disabled) == ("admin", False)
    change(database, disabled, disabled=False)
    change(database, root, **changes)


def test_two_administrators_cannot_demote_each_other_at_once(database: Database) -> None:
    ada, bob = (made(database, name, "admin") for name in ("ada", "bob"))
    refused: list[str] = []

    def demote_ada() -> None:
        try:
            change(database, ada, role="member")
        except Conflict as error:
            refused.append(error.sentence)

    other = threading.Thread(target=demote_ada)
    with database.begin() as session:
        users.change(session, users.locked(session, bob), {"role": "member"})
        other.start()
        other.join(0.2)  # it would be through by now, if it did not wait for this transaction
    other.join()
    assert ["ada is the last administrator" in sentence for sentence in refused] == [True]
    with database.read() as session:
        assert [users.one(session, user_id).role for user_id in (ada, bob)] == ["admin", "member"]


def test_what_is_left_out_of_a_change_stays(database: Database) -> None:
    ada = made(database, "ada")
    made(database, "root", "admin")
    change(database, ada, weight=3.0, max_queued=7)
    change(database, ada, disabled=True)
    with database.read() as session:
        seen = users.one(session, ada)
        assert (seen.weight, seen.max_queued, seen.disabled, seen.role) == (3.0, 7, True, "member")
        since = seen.disabled_at
    change(database, ada, disabled=True, max_queued=None)
    with database.read() as session:
        seen = users.one(session, ada)
    assert (seen.disabled_at, seen.max_queued) == (since, None)


def test_a_user_who_is_not_there_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound), database.begin() as session:
        users.locked(session, UUID(int=7))
    with pytest.raises(NotFound), database.read() as session:
        users.named(session, "nobody")
