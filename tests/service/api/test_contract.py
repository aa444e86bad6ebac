"""What the service does is what its document says: schemathesis tries every operation, in chains too, with all checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures_api import running_api
from tests.service.api.exploring import explore, quiet

# Their body is that of submit_sweep, which alone takes a thousand requests: `make fuzz-api` tries them as well.
_LIKE_OTHERS = ("preview_sweep", "extend_sweep")


@pytest.mark.parametrize(
    ("phases", "examples"),
    [(("examples", "coverage"), 1), (("fuzzing",), 4), (("stateful",), 8)],
    ids=["every rule of every schema", "at random", "in chains"],
)
def test_the_service_keeps_to_its_document(tmp_path: Path, phases: tuple[str, ...], examples: int) -> None:
    with running_api(tmp_path, hub="offline", stream_seconds=0.05) as api, quiet():
        without = _LIKE_OTHERS if "coverage" in phases else ()
        tried = explore(api, examples=examples, seed=20, phases=phases, without=without)
        document = api.get("/openapi.json").json()
    assert tried.findings == [], "\n\n".join({finding.title: str(finding) for finding in tried.findings}.values())
    if "stateful" not in phases:
        every = {
            f"{method.upper()} {path}"
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if operation["operationId"] not in without
        }
        assert tried.operations == every
