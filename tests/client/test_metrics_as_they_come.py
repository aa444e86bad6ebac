"""Metrics as they come, from Python and on the command line, against the real service."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from prolu.client import Client
from prolu.client.cli.app import FAILED, OK
from prolu.spec.report import Failed, MetricPoint, Succeeded
from service.store import queue
from tests.client.conftest import Prolu
from tests.client.desk import RUN, SWEEP, Desk

SUCCEEDED = Succeeded(step=100, metrics={"l0": 8.0})


def train(step: int) -> MetricPoint:
    return MetricPoint(split="train", step=step, tokens=10 * step, values={"l0": step / 2, "loss": 0.25})


@pytest.fixture
def run(client: Client, desk: Desk) -> UUID:
    """A run that is being worked on, and has told two steps."""
    run = client.runs.submit(RUN)
    desk.claim()
    desk.report(run.id, train(1), train(2))
    return run.id


def test_metrics_are_followed_until_the_run_has_ended(client: Client, desk: Desk, run: UUID) -> None:
    followed = client.runs.follow_metrics(run)
    assert [next(followed).values["l0"] for _ in range(2)] == [0.5, 1.0]
    desk.report(run, train(3), SUCCEEDED)
    assert [point.step for point in followed] == [3]


def test_steps_that_a_later_attempt_repeats_are_told_once(client: Client, desk: Desk, run: UUID) -> None:
    followed = client.runs.follow_metrics(run, split="train")
    assert [next(followed).step for _ in range(2)] == [1, 2]
    with desk.database.begin() as session:
        queue.lose(session, run, 1, failure_class="node_lost", message="gone")
    desk.claim()
    desk.report(run, train(2), train(3), SUCCEEDED)
    assert [point.step for point in followed] == [3]


def test_watching_metrics_prints_a_line_for_each_point_and_ends_as_the_run(prolu: Prolu, desk: Desk, run: UUID) -> None:
    desk.report(run, SUCCEEDED)
    status, out, err = prolu("watch", str(run), "--metrics")
    assert status == OK
    assert [line.split() for line in out.splitlines()[:2]] == [
        ["1", "train", "l0", "0.5", "loss", "0.25"],
        ["2", "train", "l0", "1", "loss", "0.25"],
    ]
    assert "succeeded" in err
    status, out, _ = prolu("watch", str(run), "--metrics", "--json")
    assert (status, [json.loads(line)["step"] for line in out.splitlines()]) == (OK, [1, 2])


def test_watching_metrics_of_what_fails_ends_badly(prolu: Prolu, desk: Desk, run: UUID) -> None:
    desk.report(run, Failed(step=2, failure_class="nan_loss", message="NaN"))
    assert prolu("watch", str(run), "--metrics")[0] == FAILED


def test_metrics_of_a_sweep_are_followed_run_by_run_until_all_have_ended(client: Client, desk: Desk) -> None:
    sweep = client.sweeps.submit(SWEEP)
    first, second, third, fourth = desk.claim()
    desk.report(first, train(1), train(2))
    desk.report(second, train(1))
    followed = client.sweeps.follow_metrics(sweep.id, split="train")
    there = [next(followed) for _ in range(3)]
    assert {(point.run_id, point.step) for point in there} == {(first, 1), (first, 2), (second, 1)}
    with desk.database.begin() as session:
        queue.lose(session, first, 1, failure_class="node_lost", message="gone")
    desk.claim()
    desk.report(first, train(2), train(3), SUCCEEDED)
    for other in (second, third, fourth):
        desk.report(other, SUCCEEDED)
    assert [(point.point, point.step) for point in followed] == [(0, 3)]


def test_watching_metrics_of_a_sweep_says_whose_they_are_and_ends_as_its_runs(prolu: Prolu, finished: UUID) -> None:
    status, out, _ = prolu("watch", str(finished), "--metrics")
    assert status == FAILED  # one of its runs did
    assert len(out.splitlines()) == 3
    assert "train     fvu 0.5  l0 9" in out
    status, out, _ = prolu("watch", str(finished), "--metrics", "--json")
    assert (status, [json.loads(line)["point"] for line in out.splitlines()]) == (FAILED, [1, 2, 3])
