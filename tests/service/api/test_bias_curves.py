"""Biases against a field, on both databases."""

from __future__ import annotations

from typing import Any

from prolu.client.wire import BiasCurvesRead
from prolu.spec.report import Succeeded
from tests.fixtures_api import Api
from tests.service.api.test_runs import walk
from tests.service.api.work import sweep_body, work_on
from tests.service.store.specs import checkpoint, snapshot


def seeds_at_two_coefficients(api: Api) -> tuple[str, list[str]]:
    sweep_id = api.post("/v1/sweeps", sweep_body(2, seeds=[0, 1])).json()["id"]
    runs = [run["id"] for run in walk(api, f"/v1/sweeps/{sweep_id}/runs")]
    for run, mean in zip(runs[:3], (-1.0, -3.0, -5.0), strict=True):
        work_on(api, run, snapshot(0, mean=9.0), snapshot(100, mean=mean), Succeeded(step=100, metrics={"l0": 1.0}))
    work_on(api, runs[3], snapshot(0, mean=9.0), Succeeded(step=100, metrics={"l0": 1.0}))
    return sweep_id, runs


def read(answer: Any) -> BiasCurvesRead:
    assert answer.status_code == 200, answer.text
    return BiasCurvesRead.model_validate(answer.json())


def test_a_sweep_tells_its_biases_against_the_coefficient_with_their_spread_over_seeds(api: Api) -> None:
    sweep_id, runs = seeds_at_two_coefficients(api)
    found = read(api.get(f"/v1/sweeps/{sweep_id}/biases"))
    (curve,) = found.curves
    first, second = curve.points
    assert (curve.family, first.x, second.x, found.left_out) == ("prolu ste", 0.001, 0.002, 1)
    assert [str(run) for run in first.run_ids] == runs[:2]
    mean = first.numbers["mean"]
    assert (mean.mean, mean.std, mean.low, mean.high, mean.n) == (-2.0, 2**0.5, -3.0, -1.0, 2)
    assert len(found.edges) == 25
    assert abs(sum(second.shares) - 1) < 1e-9
    numbers_alone = read(api.get(f"/v1/sweeps/{sweep_id}/biases", bins=0))
    assert numbers_alone.edges == []
    assert numbers_alone.curves[0].points[0].numbers == first.numbers, "whether the documents are opened or not"


def test_any_runs_are_told_against_any_field_and_of_any_latents(api: Api) -> None:
    seeds_at_two_coefficients(api)
    body = {
        "filter": "set.sparsity.coefficient = 0.001",
        "x": "spec.sae.kind",
        "by": "none",
        "latents": "dead",
        "bins": 3,
    }
    found = read(api.post("/v1/results:biases", body))
    assert [(curve.family, [point.x for point in curve.points]) for curve in found.curves] == [(None, ["prolu"])]
    assert found.latents == "dead"


def test_a_run_that_refers_to_a_finished_one_is_counted_with_that_ones_biases_and_checkpoints(api: Api) -> None:
    first = api.post("/v1/sweeps", sweep_body(1)).json()["id"]
    (run,) = [run["id"] for run in walk(api, f"/v1/sweeps/{first}/runs")]
    work_on(api, run, snapshot(100, mean=-1.0), checkpoint(100, final=True), Succeeded(step=100, metrics={"l0": 1.0}))
    again = api.post("/v1/sweeps", {**sweep_body(1), "reuse": True}).json()["id"]
    (reused,) = [run["id"] for run in walk(api, f"/v1/sweeps/{again}/runs")]
    for asked in ({}, {"bins": 0}, {"latents": "dead"}):
        found = read(api.get(f"/v1/sweeps/{again}/biases", **asked))
        assert ([str(one) for one in found.curves[0].points[0].run_ids], found.left_out) == ([reused], 0)
    for of in ({"run_id": reused}, {"sweep_id": again}):
        (kept,) = api.get("/v1/checkpoints", **of).json()["items"]
        assert (kept["run_id"], kept["step"]) == (run, 100)


def test_what_cannot_be_asked_is_refused_where_it_stands(quick_api: Api) -> None:
    for body, pointer in (({"x": "spec.sae"}, "/x"), ({"by": "nobody"}, "/by"), ({"bins": 201}, "/bins")):
        answer = quick_api.post("/v1/results:biases", body)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
