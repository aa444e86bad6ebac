"""Frontiers of a sweep and of any runs, on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from prolu.client.wire import FrontierRead
from prolu.spec.report import Failed, Succeeded
from tests.fixtures_api import Api
from tests.service.api.test_runs import walk
from tests.service.api.work import submit, sweep_body, work_on
from tests.service.store.specs import snapshot

VARIANTS = [
    {"name": "relu", "set": {"sae.kind": "relu"}},
    {"name": "bent", "set": {"sae.kind": "relu", "sae.gradient": "ste"}},
    {"name": "ste", "set": {"sae.kind": "prolu"}},
]


def done(api: Api, measured: list[tuple[float, float]], **changes: Any) -> tuple[str, list[str]]:
    """A sweep whose first runs succeeded with these l0 and fvu."""
    sweep_id = api.post("/v1/sweeps", sweep_body(**changes)).json()["id"]
    runs = [run["id"] for run in walk(api, f"/v1/sweeps/{sweep_id}/runs")]
    for run, (l0, fvu) in zip(runs, measured, strict=False):
        work_on(api, run, snapshot(100, mean=-l0), Succeeded(step=100, metrics={"l0": l0, "fvu": fvu}))
    return sweep_id, runs


def of_sweep(api: Api, sweep_id: str, **params: Any) -> FrontierRead:
    answer = api.get(f"/v1/sweeps/{sweep_id}/frontier", **params)
    assert answer.status_code == 200, answer.text
    return FrontierRead.model_validate(answer.json())


def of_any(api: Api, **body: Any) -> FrontierRead:
    answer = api.post("/v1/results:frontier", body)
    assert answer.status_code == 200, answer.text
    return FrontierRead.model_validate(answer.json())


def test_a_sweep_has_a_frontier_for_each_kind_and_gradient(api: Api) -> None:
    measured = [(10.0, 0.5), (20.0, 0.6), (9.0, 0.4), (30.0, 0.3), (8.0, 0.9)]
    sweep_id, runs = done(api, measured, values=2, variants=VARIANTS)
    found = of_sweep(api, sweep_id)
    assert [(front.family, front.count) for front in found.families] == [("prolu ste", 1), ("relu", 2), ("relu ste", 2)]
    prolu, relu, bent = found.families
    assert [str(point.run_ids[0]) for point in relu.points] == [runs[0]]
    assert [(point.x, point.y, point.overall) for point in bent.points] == [(9.0, 0.4, True), (30.0, 0.3, True)]
    assert (prolu.points[0].level.value, prolu.points[0].overall) == (0.001, True)  # type: ignore[union-attr]
    assert (found.x.path, found.x.goal, found.y.goal, found.left_out) == ("metrics.l0", "lower", "lower", 0)
    whole = of_sweep(api, sweep_id, dominated=True, by="none", filter='spec.sae.kind = "relu"')
    assert [(point.x, point.dominated) for point in whole.families[0].points] == [
        (9.0, False),
        (30.0, False),
        (10.0, True),
        (20.0, True),
    ]


def test_runs_that_lack_a_number_are_counted_and_those_that_did_not_succeed_are_not(api: Api) -> None:
    sweep_id, runs = done(api, [(10.0, 0.5)], values=3)
    work_on(api, runs[1], Succeeded(step=100, metrics={"l0": 3.0}))
    work_on(api, runs[2], Failed(step=1, failure_class="nan_loss", message="no", traceback_tail=""))
    found = of_sweep(api, sweep_id)
    assert ([front.count for front in found.families], found.left_out) == ([1], 1)


def test_seeds_are_averaged_wherever_the_repetitions_were_submitted(api: Api) -> None:
    sweep_id, runs = done(api, [(10.0, 0.5), (14.0, 0.25)], values=1, seeds=[5, 6])
    again = submit(api, name="again", training={"steps": 100, "seed": 7}, sparsity={"kind": "l1", "coefficient": 0.001})
    work_on(api, again["id"], Succeeded(step=100, metrics={"l0": 12.0, "fvu": 0.75}))
    (point,) = of_sweep(api, sweep_id, seeds="mean").families[0].points
    assert ([str(run) for run in point.run_ids], point.x, point.y) == (runs, 12.0, 0.375)
    assert point.x_estimate is not None
    assert (point.x_estimate.n, point.x_estimate.interval) == (2, (10.0, 14.0))
    (point,) = of_any(api, seeds="mean").families[0].points
    assert (len(point.run_ids), point.x, point.y) == (3, 12.0, 0.5)


def test_any_two_numbers_and_any_division_are_possible(api: Api) -> None:
    done(api, [(10.0, 0.5), (20.0, 0.6)], values=2)
    found = of_any(
        api,
        x="bias.mean",
        x_goal="higher",
        y="spec.sparsity.coefficient",
        y_goal="lower",
        by="set.sparsity.coefficient",
    )
    assert [(front.family, front.points[0].x) for front in found.families] == [("0.001", -10.0), ("0.002", -20.0)]
    assert of_any(api, filter='name = "nobody"').families == []


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        ({"filter": "metrics.l0 <"}, "/filter", "ends here"),
        ({"x": "metrics.lo"}, "/x", "did you mean metrics"),
        ({"y": "bias.mean"}, "/y_goal", "lower or higher"),
        ({"by": "spec.sae"}, "/by", "no single value"),
        ({"seeds": "some"}, "/seeds", "each"),
    ],
)
def test_what_cannot_be_asked_is_refused_where_it_stands(
    quick_api: Api, body: dict[str, Any], pointer: str, said: str
) -> None:
    answer = quick_api.post("/v1/results:frontier", body)
    assert answer.status_code == 422
    (item,) = answer.json()["errors"]
    assert item["pointer"] == pointer
    assert said in item["detail"]


def test_a_parameter_that_says_nothing_is_named_and_a_missing_sweep_is_missing(quick_api: Api) -> None:
    sweep_id = quick_api.post("/v1/sweeps", sweep_body()).json()["id"]
    answer = quick_api.get(f"/v1/sweeps/{sweep_id}/frontier", filter="state = nothing")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "query:filter")
    assert quick_api.get("/v1/sweeps/0199c9d8-0000-7000-8000-000000000000/frontier").status_code == 404
