"""What a dispatcher would do, for tests of the API: claim, report, finish."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prolu.spec.report import Report
from service.store import queue, reports
from tests.fixtures_api import Api
from tests.service.store.specs import DOCUMENT

RUN: dict[str, Any] = {"spec": {"name": "one", **DOCUMENT}}


def sweep_body(values: int = 3, **changes: Any) -> dict[str, Any]:
    grid = {"sparsity.coefficient": [round(0.001 * (index + 1), 6) for index in range(values)]}
    return {"spec": {"name": "demo", "base": DOCUMENT, "grid": grid, **changes}}


def submit(api: Api, **changes: Any) -> dict[str, Any]:
    answer = api.post("/v1/runs", {"spec": {**RUN["spec"], **changes}})
    assert answer.status_code == 201, answer.text
    run: dict[str, Any] = answer.json()
    return run


def work_on(api: Api, run_id: str, *messages: Report, node: str = "node-1") -> None:
    """Claim a run and have its attempt say something."""
    with api.database.begin() as session:
        claims = queue.claim(session, [UUID(run_id)], holder="test", lease_seconds=60)
        epoch = claims[0].epoch
        numbered = list(enumerate(messages, start=1))
        reports.apply(session, UUID(run_id), epoch, numbered, lease_seconds=60, node=node)
