"""`prolu frontier` and `client.*.frontier`: in a table, a picture, a file, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT, OK
from prolu.spec.report import Succeeded
from tests.client.conftest import Prolu
from tests.client.desk import SWEEP, Desk, snapshot


@pytest.fixture
def measured(client: Client, desk: Desk) -> UUID:
    """Two families of two runs; the second run of relu is bettered by its first."""
    sweep = client.sweeps.submit(SWEEP)
    for run, (l0, fvu) in zip(desk.claim(), ((8.0, 0.5), (16.0, 0.6), (10.0, 0.4), (40.0, 0.2)), strict=True):
        desk.report(run, snapshot(100, -1.0), Succeeded(step=100, metrics={"l0": l0, "fvu": fvu}))
    return sweep.id


def test_a_frontier_is_shown_as_a_table_and_a_picture(prolu: Prolu, measured: UUID) -> None:
    status, out, err = prolu("frontier")
    assert (status, err) == (OK, "")
    assert "metrics.l0 (lower is better)" in out
    assert "dominated" not in out
    assert "└──" in out
    assert "o prolu ste" in out
    assert prolu("frontier", str(measured), "--dominated")[1].count("dominated") == 1


def test_a_frontier_is_the_same_over_a_filter_and_as_records(prolu: Prolu, client: Client, measured: UUID) -> None:
    answer = json.loads(prolu("frontier", "--filter", 'spec.sae.kind = "relu"', "--by", "none", "--json")[1])
    assert [(front["family"], len(front["points"])) for front in answer["families"]] == [(None, 1)]
    found = client.sweeps.frontier(measured, seeds="mean", dominated=True)
    assert [record["metrics.l0"] for record in found.records()] == [10.0, 40.0, 8.0, 16.0]
    assert found.records()[0]["metrics.l0.low"] is None
    assert found.to_arrow().num_rows == 4
    assert [front.family for front in client.results.frontier()] == ["prolu ste", "relu"]


def test_a_frontier_is_drawn_into_a_file(prolu: Prolu, measured: UUID, tmp_path: Path) -> None:
    status, out, err = prolu("frontier", "--seeds", "mean", "--dominated", "--plot", "f.svg")
    assert (status, out, err) == (OK, "", "the picture is in f.svg\n")
    picture = (tmp_path / "f.svg").read_text()
    assert "metrics.fvu (lower is better)" in picture
    assert "prolu ste" in picture


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds", "some"], "--seeds must be one of each, mean"),
        (["--x", "bias.mean"], "x_goal"),
        (["--filter", "state ="], "filter, column"),
    ],
)
def test_what_cannot_be_asked_is_bad_input(prolu: Prolu, measured: UUID, arguments: list[str], said: str) -> None:
    status, _, err = prolu("frontier", *arguments)
    assert status == BAD_INPUT
    assert said in err


def test_runs_that_lack_a_number_are_told(prolu: Prolu, measured: UUID) -> None:
    assert "4 runs that succeeded lack metrics.l0 or metrics.kl" in prolu("frontier", "--y", "metrics.kl")[2]
