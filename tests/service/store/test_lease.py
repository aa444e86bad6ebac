"""Of several dispatchers one leads, and another takes over when its lease has run out."""

from __future__ import annotations

from sqlalchemy import text

from service.store import lease
from service.store.db import Database
from tests.service.store.operations import run_together


def lead(database: Database, holder: str) -> int | None:
    with database.begin() as session:
        return lease.lead(session, holder, seconds=60)


def run_out(database: Database) -> None:
    with database.begin() as session:
        session.execute(text("UPDATE dispatcher SET lease_until = '2000-01-01 00:00:00.000000'"))


def test_the_first_to_ask_leads_and_keeps_the_lead_in_its_term(database: Database) -> None:
    assert lead(database, "a") == 1
    assert lead(database, "b") is None
    assert lead(database, "a") == 1


def test_a_lead_that_ran_out_goes_to_who_asks_and_the_term_rises(database: Database) -> None:
    lead(database, "a")
    run_out(database)
    assert lead(database, "b") == 2
    assert lead(database, "a") is None


def test_who_was_asleep_and_was_not_replaced_goes_on_in_its_term(database: Database) -> None:
    lead(database, "a")
    run_out(database)
    assert lead(database, "a") == 1


def test_who_resigns_makes_room_at_once_and_nobody_resigns_for_another(database: Database) -> None:
    lead(database, "a")
    with database.begin() as session:
        lease.resign(session, "b")
    assert lead(database, "b") is None
    with database.begin() as session:
        lease.resign(session, "a")
    assert lead(database, "b") == 2


def test_of_many_who_ask_at_the_same_moment_one_leads(database: Database) -> None:
    terms: list[int | None] = []
    run_together(*[lambda name=name: terms.append(lead(database, name)) for name in "abcdef"])  # type: ignore[misc]
    assert sorted(term is not None for term in terms) == [False] * 5 + [True]


def test_the_last_sign_of_life_is_that_of_who_leads(database: Database) -> None:
    with database.read() as session:
        assert lease.last_sign_of_life(session) is None
    lead(database, "a")
    with database.read() as session:
        seen = lease.last_sign_of_life(session)
    lead(database, "b")
    with database.read() as session:
        assert lease.last_sign_of_life(session) == seen
