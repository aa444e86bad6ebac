"""What attempts took is charged to their owners, once, on the days when they took it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, update

from prolu.spec.report import Succeeded
from service.domain.planning import Policy
from service.store import situation, usage
from service.store.db import Database
from service.store.models import AttemptRow, RunRow, UsageRow
from service.store.users import ensure_user
from tests.service.store.operations import claim, lose, say, submit

DAY = 86_400.0


def charged(database: Database) -> dict[date, float]:
    with database.read() as session:
        return {row.day: row.gpu_seconds for row in session.scalars(select(UsageRow))}


def began(database: Database, run_id: UUID, at: datetime) -> None:
    with database.begin() as session:
        session.execute(update(AttemptRow).where(AttemptRow.run_id == run_id).values(started_at=at))


def test_an_attempt_is_charged_when_it_ends_however_it_ends(database: Database, owner_id: UUID) -> None:
    good, bad = submit(database, owner_id), submit(database, owner_id, resources={"cpus": 2})
    claim(database, good, bad)
    for run_id in (good, bad):
        began(database, run_id, datetime.now(UTC) - timedelta(seconds=320))
    assert charged(database) == {}
    say(database, good, 1, Succeeded(step=10, metrics={}))
    assert sum(charged(database).values()) == pytest.approx(10, abs=0.5), "320 s of a core, which is 1/32 of a GPU"
    lose(database, bad, 1, "node_lost")
    assert sum(charged(database).values()) == pytest.approx(30, abs=1)
    lose(database, bad, 1, "node_lost")
    say(database, good, 1, Succeeded(step=10, metrics={}))
    assert sum(charged(database).values()) == pytest.approx(30, abs=1), "an end counts once"


def test_every_rank_is_charged_and_each_day_has_its_part(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id, resources={"gpus": 1.0, "cpus": 16, "ranks": 2})
    claim(database, run_id)
    with database.begin() as session:
        run, attempt = session.get_one(RunRow, run_id), session.get_one(AttemptRow, (run_id, 1))
        attempt.started_at = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
        attempt.finished_at = datetime(2026, 3, 3, 0, 0, 30, tzinfo=UTC)
        usage.charge(session, [(run, attempt)])
        usage.charge(session, [(run, attempt)])
    per_second = 2 * (1.0 + 16 / 32)
    assert charged(database) == pytest.approx(
        {
            date(2026, 3, 1): 2 * 60 * per_second,
            date(2026, 3, 2): 2 * DAY * per_second,
            date(2026, 3, 3): 2 * 30 * per_second,
        }
    )


def test_an_attempt_that_lives_cannot_be_charged(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    with database.begin() as session, pytest.raises(ValueError, match="has not ended"):
        usage.charge(session, [(session.get_one(RunRow, run_id), session.get_one(AttemptRow, (run_id, 1)))])


def test_old_usage_counts_half_after_each_half_life(database: Database, owner_id: UUID) -> None:
    now = datetime(2026, 3, 20, 12, tzinfo=UTC)
    with database.begin() as session:
        other = ensure_user(session, "bob")
        session.add(UsageRow(user_id=owner_id, day=now.date() - timedelta(days=7), gpu_seconds=1000.0))
        session.add(UsageRow(user_id=other, day=now.date() - timedelta(days=14), gpu_seconds=1000.0))
        session.add(UsageRow(user_id=other, day=now.date() - timedelta(days=200), gpu_seconds=1e9))
    with database.read() as session:
        found = usage.decayed_usage(session, now=now, half_life_seconds=7 * DAY)
    assert found == pytest.approx({"ada": 500.0, "bob": 250.0})


def test_a_live_attempt_counts_at_least_its_entry_charge(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id)
    claim(database, run_id)
    with database.read() as session:
        young = situation.read(session, Policy()).usage
    began(database, run_id, datetime.now(UTC) - timedelta(seconds=3200))
    with database.read() as session:
        old = situation.read(session, Policy()).usage
    assert young["ada"] == pytest.approx(Policy().weights.entry_seconds / 32)
    assert old["ada"] == pytest.approx(100, abs=1)
