"""`prolu runs`, `sweeps`, `ls`: what was submitted, filtered and sorted by the service."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from prolu.client import Client, Invalid
from prolu.client.cli.app import BAD_INPUT, OK
from tests.client.conftest import Prolu
from tests.client.desk import SWEEP, Desk


def test_runs_are_listed_by_a_filter_an_order_states_and_an_owner(client: Client, finished: UUID) -> None:
    relu = client.runs.list('spec.sae.kind = "relu"', order_by="spec.sparsity.coefficient desc")
    assert [(run.variant, run.point) for run in relu] == [("relu", 1), ("relu", 0)]
    assert [run.state for run in client.runs.list(order_by="point", state=["failed", "succeeded"], limit=2)] == [
        "failed",
        "succeeded",
    ]
    assert len(client.runs.list(state="succeeded", owner=client.me().name)) == 3
    assert client.runs.list(owner="nobody") == []
    with pytest.raises(Invalid, match="filter"):
        client.runs.list("step <")


def test_results_of_a_sweep_are_filtered_and_keep_the_order_that_was_asked_for(client: Client, finished: UUID) -> None:
    assert [row.point for row in client.sweeps.results(finished, order_by="point desc")] == [3, 2, 1, 0]
    good = client.sweeps.results(finished, 'state = "succeeded" AND metrics.l0 <= 8', limit=2)
    assert [row.point for row in good] == [1, 2]


def test_the_command_lists_runs_by_a_filter(prolu: Prolu, finished: UUID) -> None:
    status, out, _ = prolu("runs", "--filter", 'spec.sae.kind = "relu"', "--order-by", "point", "--json")
    assert (status, [run["point"] for run in json.loads(out)]) == (OK, [0, 1])
    status, out, _ = prolu("runs", "--state", "failed", "--state", "queued", "--sweep", str(finished))
    assert (status, len(out.splitlines()), "failed" in out) == (OK, 2, True)
    status, _, err = prolu("runs", "--filter", "step <")
    assert (status, "filter" in err) == (BAD_INPUT, True)
    status, _, err = prolu("runs", "--state", "done")
    assert (status, "must be one of queued" in err) == (BAD_INPUT, True)


def test_the_command_lists_sweeps_with_the_states_of_their_runs(prolu: Prolu, client: Client, desk: Desk) -> None:
    client.sweeps.submit(SWEEP)
    for arguments in (["sweeps"], ["ls", "--sweeps"]):
        status, out, _ = prolu(*arguments)
        assert (status, "two by two" in out, "4 queued" in out) == (OK, True, True)
    assert json.loads(prolu("sweeps", "--json", "-n", "1")[1])[0]["states"]["queued"] == 4
