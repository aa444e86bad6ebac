"""What the database picks for a frontier is what a look at every point finds, with ties, missing numbers and all."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import update

from prolu.client.wire import FrontierRead, FrontierRequest
from service.domain.asking import frontier_question
from service.domain.errors import Invalid
from service.store import frontiers
from service.store.db import Database
from service.store.models import FINDINGS
from service.store.users import ensure_user
from tests.service.store.operations import submit

_KINDS = [
    {"kind": "relu"},
    {"kind": "relu", "gradient": "ste"},
    {"kind": "relu", "gradient": "exact"},
    {"kind": "prolu"},
]
# So few that many runs tie; beyond what is finite, and nothing.
_NUMBERS = [0.1, 0.2, 0.2, 0.3, 0.4, 0.5, 1e308, float("inf"), -float("inf"), None]

_ASKED: tuple[dict[str, Any], ...] = (
    {},
    {"y": "metrics.cosine"},
    {"x": "metrics.cosine", "y": "metrics.fvu"},
    {"x": "metrics.cosine", "y": "metrics.cosine"},
    {"x": "metrics.fvu", "y": "metrics.fvu"},
    {"x": "metrics.fvu", "y": "point", "y_goal": "higher", "by": "none"},
    {"by": "spec.training.optimizer.kind"},
    {"by": "spec.sae.gradient", "filter": "metrics.l0 < 0.4"},
    {"filter": 'name = "nobody"'},
)


@pytest.fixture
def measured(database: Database) -> Database:
    """Runs that succeeded, of four kinds, with numbers out of ten."""
    chance = random.Random(3)  # noqa: S311 no secret
    with database.begin() as session:
        owner = ensure_user(session, "ada")
    for number in range(60):
        run_id = submit(database, owner, name=f"run {number}", sae={"d_sae": 16, **_KINDS[number % 4]})
        found = {f"metrics_{name}": chance.choice(_NUMBERS) for name in ("l0", "fvu", "cosine")}
        with database.begin() as session:
            session.execute(
                update(FINDINGS).where(FINDINGS.c.run_id == run_id).values(state="succeeded", point=number % 5, **found)
            )
    return database


def _ask(database: Database, **more: Any) -> FrontierRead:
    with database.read() as session:
        return frontiers.frontier(session, frontier_question(FrontierRequest(**more)))


def test_without_the_dominated_there_is_the_rest_of_what_there_is_with_them(measured: Database) -> None:
    for asked in _ASKED:
        whole = _ask(measured, **asked, dominated=True)
        rest = [
            front.model_copy(update={"points": [point for point in front.points if not point.dominated]})
            for front in whole.families
        ]
        assert _ask(measured, **asked) == whole.model_copy(update={"families": rest}), asked


def test_more_runs_than_are_read_are_refused_either_way(measured: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontiers, "MOST_RUNS", 59)
    for dominated in (False, True):
        with pytest.raises(Invalid, match="more than 59 runs"):
            _ask(measured, dominated=dominated)
    monkeypatch.setattr(frontiers, "MOST_RUNS", 60)
    assert _ask(measured) is not None
