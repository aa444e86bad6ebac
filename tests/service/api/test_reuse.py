"""Identical finished runs: told of, and referred to where that is asked for, never silently."""

from __future__ import annotations

from typing import Any

import pytest

from prolu.client.wire import RunRead, SweepPreview, SweepRead
from prolu.spec.report import Succeeded
from service.store.models import CheckpointRow
from tests.fixtures_api import Api
from tests.service.api.test_runs import walk
from tests.service.api.work import RUN, submit, sweep_body, work_on
from tests.service.store.specs import DOCUMENT, checkpoint, metric, snapshot

DONE = Succeeded(step=10, metrics={"l0": 3.0})


@pytest.fixture
def finished(api: Api) -> dict[str, Any]:
    """A run that has the settings of the second point of the sweeps below, and has succeeded."""
    run = submit(api, sparsity={"kind": "l1", "coefficient": 0.002})
    work_on(api, run["id"], metric(5), snapshot(10), checkpoint(10, final=True), DONE)
    return run


def test_a_submission_tells_how_many_points_are_finished_elsewhere_and_trains_them_all_the_same(
    api: Api, finished: dict[str, Any]
) -> None:
    sweep = SweepRead.model_validate(api.post("/v1/sweeps", sweep_body(3)).json())
    assert (sweep.reusable, sweep.reused, sweep.states) == (1, 0, {"queued": 3})
    assert SweepRead.model_validate(api.get(f"/v1/sweeps/{sweep.id}").json()).reusable is None


def test_the_preview_names_the_run_that_a_point_could_refer_to(api: Api, finished: dict[str, Any]) -> None:
    preview = SweepPreview.model_validate(api.post("/v1/sweeps:preview", sweep_body(3)).json())
    assert preview.reusable == 1
    assert [str(point.reusable) if point.reusable else None for point in preview.points] == [None, finished["id"], None]


def test_a_reused_point_is_the_finished_run_visibly_and_in_every_table(api: Api, finished: dict[str, Any]) -> None:
    sweep = SweepRead.model_validate(api.post("/v1/sweeps", {**sweep_body(3), "reuse": True}).json())
    assert (sweep.reusable, sweep.reused, sweep.states) == (None, 1, {"queued": 2, "succeeded": 1})
    _, row, _ = walk(api, f"/v1/sweeps/{sweep.id}/results")
    assert (row["reused_from"], row["state"], row["metrics"]) == (finished["id"], "succeeded", {"l0": 3.0})
    assert row["bias"]
    run_id = row["run_id"]
    assert run_id != finished["id"]
    for series in ("metrics", "bias_statistics", "checkpoints"):
        assert walk(api, f"/v1/runs/{run_id}/{series}") == walk(api, f"/v1/runs/{finished['id']}/{series}") != []
    assert walk(api, f"/v1/runs/{run_id}/attempts") == []
    events = walk(api, f"/v1/runs/{run_id}/events")
    assert [(event["kind"], event["detail"]) for event in events] == [
        ("submitted", {"reused_from": finished["id"]}),
        ("succeeded", {"reused_from": finished["id"]}),
    ]
    (biases,) = walk(api, f"/v1/sweeps/{sweep.id}/bias_statistics")
    assert biases["run_id"] == run_id


def test_a_single_run_is_reused_where_that_is_asked_for(api: Api, finished: dict[str, Any]) -> None:
    spec = {**RUN["spec"], "name": "again", "sparsity": {"kind": "l1", "coefficient": 0.002}}
    run = RunRead.model_validate(api.post("/v1/runs", {"spec": spec, "reuse": True}).json())
    assert (run.state, str(run.reused_from), run.metrics, run.step) == ("succeeded", finished["id"], {"l0": 3.0}, 10)
    assert RunRead.model_validate(api.get(f"/v1/runs/{run.id}").json()) == run
    third = RunRead.model_validate(api.post("/v1/runs", {"spec": spec, "reuse": True}).json())
    assert str(third.reused_from) == finished["id"], "it refers to what was trained, not to what refers to that"
    other = RunRead.model_validate(api.post("/v1/runs", {"spec": RUN["spec"], "reuse": True}).json())
    assert (other.state, other.reused_from) == ("queued", None)


def test_a_run_whose_checkpoint_is_gone_is_trained_again(api: Api, finished: dict[str, Any]) -> None:
    with api.database.begin() as session:
        session.query(CheckpointRow).delete()
    sweep = SweepRead.model_validate(api.post("/v1/sweeps", {**sweep_body(3), "reuse": True}).json())
    assert (sweep.reused, sweep.states) == (0, {"queued": 3})


def test_an_extension_may_reuse_too(api: Api, finished: dict[str, Any]) -> None:
    sweep_id = api.post("/v1/sweeps", sweep_body(1)).json()["id"]
    answer = api.post(f"/v1/sweeps/{sweep_id}:extend", {**sweep_body(3), "reuse": True})
    assert SweepRead.model_validate(answer.json()).states == {"queued": 2, "succeeded": 1}


def test_a_sweep_that_repeats_a_whole_finished_one_has_ended_at_once(api: Api, finished: dict[str, Any]) -> None:
    body = {"spec": {"base": {**DOCUMENT, "sparsity": {"kind": "l1", "coefficient": 0.002}}}, "reuse": True}
    assert SweepRead.model_validate(api.post("/v1/sweeps", body).json()).states == {"succeeded": 1}
