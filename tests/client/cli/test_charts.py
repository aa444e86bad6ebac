"""`prolu metrics`: series as pictures of characters, files and JSON."""

from __future__ import annotations

import json
from pathlib import Path

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT, OK
from prolu.spec.report import MetricPoint
from tests.client.conftest import Prolu
from tests.client.desk import RUN, Desk


def test_metrics_are_drawn_in_the_terminal_into_a_file_and_as_json(
    prolu: Prolu, client: Client, desk: Desk, tmp_path: Path
) -> None:
    run = client.runs.submit(RUN)
    assert "nothing is measured yet of l0, fvu" in prolu("metrics")[2]
    desk.claim()
    for step in range(1, 31):
        desk.report(run.id, MetricPoint(split="train", step=step, tokens=step, values={"l0": 90.0 / step}))
    status, out, err = prolu("metrics", str(run.id), "--names", "l0")
    assert (status, err) == (OK, "")
    assert "l0 (log)" in out
    assert "(train, 30 measured)" in out
    (series,) = json.loads(prolu("metrics", "--filter", 'state = "running"', "--points", "7", "--json")[1])["series"]
    assert (series["steps"][0], series["steps"][-1], len(series["steps"]) <= 7) == (1, 30, True)
    assert prolu("metrics", "--plot", "m.svg")[2] == "the picture is in m.svg\n"
    assert "optimizer steps" in (tmp_path / "m.svg").read_text()
    assert [point.step for point in client.runs.metrics(run.id, names=["l0"], points=5, from_step=10)][-1] == 30


def test_a_chart_that_cannot_be_is_bad_input(prolu: Prolu, client: Client, desk: Desk) -> None:
    client.runs.submit(RUN)
    assert prolu("metrics", "--split", "test")[0] == BAD_INPUT
    assert "one or the other" in prolu("metrics", "last", "--filter", "step > 1")[2]
