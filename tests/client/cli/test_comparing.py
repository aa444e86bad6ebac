"""`prolu compare`."""

from __future__ import annotations

import json
from uuid import UUID

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT, OK
from tests.client.conftest import Prolu


def test_two_runs_are_compared_in_a_table_and_as_json(prolu: Prolu, client: Client, finished: UUID) -> None:
    runs = [str(run.id) for run in client.sweeps.runs(finished) if run.state == "succeeded"][:2]
    status, out, err = prolu("compare", *runs)
    assert (status, err) == (OK, "")
    assert "metrics.l0" in out
    assert "(+0)" in out
    answer = json.loads(prolu("compare", *runs, "--json")[1])
    assert [run["id"] for run in answer["runs"]] == runs
    assert prolu("compare", runs[0])[0] == BAD_INPUT
    assert "is a sweep" in prolu("compare", str(finished), runs[0])[2]
