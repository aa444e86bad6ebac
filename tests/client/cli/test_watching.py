"""`prolu watch`: following work."""

import json
from uuid import UUID

from prolu.client import Client
from prolu.client.cli.app import FAILED, OK
from tests.client.conftest import Prolu
from tests.client.desk import Desk


def test_watching_what_succeeded_ends_well_and_what_failed_does_not(
    prolu: Prolu, client: Client, desk: Desk, finished: UUID
) -> None:
    status, out, err = prolu("watch", str(finished))
    assert status == FAILED
    assert "two by two" in out
    assert "90.0 %" in out
    assert "The loss became NaN at step 7." in err
    good = client.sweeps.runs(finished)[1].id
    status, out, err = prolu("watch", str(good))
    assert status == OK
    assert "fvu" in out
    assert f"run {good} succeeded after 100 of 100 steps" in err


def test_watching_as_json_tells_each_change_on_a_line(prolu: Prolu, client: Client, finished: UUID) -> None:
    good = client.sweeps.runs(finished)[1].id
    status, out, _ = prolu("watch", str(good), "--json")
    assert status == OK
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["succeeded"]
