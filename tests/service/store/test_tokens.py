"""Tokens: known by hashes alone, for a time, until somebody says otherwise; and what the gate believes of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from service.domain.errors import Unauthenticated
from service.store import tokens, users
from service.store.db import Database, database_now
from service.store.gate import Gate
from service.store.models import TokenRow, UserRow
from service.store.tokens import Issued, authenticate, issue, new_token
from service.store.users import ensure_user


def issued(database: Database, user: str = "ada", *, days: float | None = 1.0) -> Issued:
    with database.begin() as session:
        return issue(session, ensure_user(session, user), name="laptop", scope="read", days=days)


def refusal(database: Database, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught, database.read() as session:
        authenticate(session, token)
    assert token not in caught.value.sentence
    return caught.value.sentence


def test_a_token_is_known_by_its_hash_alone(database: Database) -> None:
    token = issued(database).token
    with database.read() as session:
        known = authenticate(session, token).principal
        assert (known.name, known.role, known.scope, known.is_admin) == ("ada", "member", "read", False)
        stored = session.execute(text("SELECT * FROM tokens")).one()
        assert token not in str(stored)
    for other in (token + "x", new_token(), "é\ud800"):
        assert "unknown" in refusal(database, other)


def test_a_token_that_counts_for_nothing_says_why(database: Database) -> None:
    revoked, disabled = issued(database), issued(database, "bob")
    with database.begin() as session:
        assert tokens.revoke(session, revoked.id)
        assert not tokens.revoke(session, revoked.id)
        ensure_user(session, "root", role="admin")
        users.change(session, users.locked(session, users.named(session, "bob")[1]), {"disabled": True})
    assert "'laptop' was revoked at" in refusal(database, revoked.token)
    assert "bob is disabled since" in refusal(database, disabled.token)
    with database.begin() as session:
        users.change(session, users.locked(session, users.named(session, "bob")[1]), {"disabled": False})
        assert authenticate(session, disabled.token).principal.name == "bob"


def test_a_token_ends_at_its_moment_by_the_clock_of_the_database(database: Database) -> None:
    token = issued(database)
    for ends_in, good in ((timedelta(hours=1), True), (timedelta(0), False), (timedelta(seconds=-1), False)):
        with database.begin() as session:
            session.execute(update(TokenRow).values(expires_at=database_now(session) + ends_in))
        if good:
            with database.read() as session:
                assert authenticate(session, token.token).principal.token_id == token.id
        else:
            assert "'laptop' expired at" in refusal(database, token.token)


def test_the_gate_asks_again_after_a_second(database: Database) -> None:
    token, now = issued(database), [100.0]
    gate = Gate(database, lambda: now[0])
    assert gate.known(token.token) is None
    gate.ask(token.token)
    with database.begin() as session:
        tokens.revoke(session, token.id)
    now[0] = 100.9
    assert gate.known(token.token) is not None
    now[0] = 101.0
    assert gate.known(token.token) is None
    with pytest.raises(Unauthenticated):
        gate.ask(token.token)


def test_the_gate_believes_no_token_beyond_its_end(database: Database) -> None:
    token, now = issued(database), [100.0]
    with database.begin() as session:
        session.execute(update(TokenRow).values(expires_at=database_now(session) + timedelta(seconds=0.4)))
    gate = Gate(database, lambda: now[0])
    gate.ask(token.token)
    assert gate.known(token.token) is not None
    now[0] = 100.4
    assert gate.known(token.token) is None


def test_what_the_gate_believed_can_be_forgotten(database: Database) -> None:
    token, gate = issued(database).token, Gate(database)
    gate.ask(token)
    gate.forget()
    assert gate.known(token) is None


def test_uses_are_noted_together_and_only_forward(database: Database) -> None:
    first, second = issued(database), issued(database, "bob")
    gate = Gate(database)
    for token in (first.token, second.token, first.token):
        gate.ask(token)

    def last_uses() -> list[object]:
        with database.read() as session:
            return [*session.scalars(select(TokenRow.last_used_at).order_by(TokenRow.id))]

    assert last_uses() == [None, None]
    gate.note_uses()
    noted = last_uses()
    assert None not in noted
    with database.begin() as session:
        tokens.note_uses(session, {first.id: database_now(session) - timedelta(hours=1)})
    gate.note_uses()
    assert last_uses() == noted


def test_uses_that_could_not_be_noted_are_noted_later(database: Database) -> None:
    token, gate = issued(database), Gate(database)
    gate.ask(token.token)
    with database.begin() as session:
        session.execute(text("ALTER TABLE tokens RENAME TO elsewhere"))
    gate.note_uses()
    with database.begin() as session:
        session.execute(text("ALTER TABLE elsewhere RENAME TO tokens"))
    gate.note_uses()
    with database.read() as session:
        assert session.scalars(select(TokenRow.last_used_at)).one() is not None


def test_the_limit_of_a_user_comes_with_their_token(database: Database) -> None:
    token = issued(database).token
    with database.begin() as session:
        session.execute(update(UserRow).values(max_queued=5))
        assert authenticate(session, token).principal.max_queued == 5
