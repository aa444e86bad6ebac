"""Runs side by side, on both databases."""

from __future__ import annotations

from prolu.client.wire import ComparisonRead
from prolu.spec.report import Succeeded
from tests.fixtures_api import Api
from tests.service.api.work import submit, work_on
from tests.service.store.specs import snapshot


def test_runs_are_compared_with_the_first_in_spec_metrics_and_biases(api: Api) -> None:
    first = submit(api, name="a")["id"]
    second = submit(api, name="b", sparsity={"kind": "l1", "coefficient": 0.5})["id"]
    third = submit(api, name="c")["id"]
    work_on(api, first, snapshot(0, mean=9.0), snapshot(100, mean=-1.0), Succeeded(step=100, metrics={"l0": 10.0}))
    work_on(api, second, snapshot(50, mean=-2.0), Succeeded(step=100, metrics={"l0": 4.0}))
    answer = api.post("/v1/runs:compare", {"run_ids": [first, second, third]})
    assert answer.status_code == 200, answer.text
    found = ComparisonRead.model_validate(answer.json())
    assert [(run.name, run.state) for run in found.runs] == [("a", "succeeded"), ("b", "succeeded"), ("c", "queued")]
    assert [one.path for one in found.spec] == ["spec.sparsity.coefficient"]
    numbers = {one.path: one for one in found.numbers}
    assert numbers["metrics.l0"].differences == [0.0, -6.0, None]
    assert numbers["bias.mean"].values == [-1.0, -2.0, None]
    assert [one and one.step for one in found.biases] == [100, 50, None]
    assert [one and round(sum(one.shares), 9) for one in found.biases] == [1.0, 1.0, None]
    without = api.post("/v1/runs:compare", {"run_ids": [first, second], "bins": 0}).json()
    assert (without["edges"], without["biases"][0]["shares"]) == ([], [])


def test_what_cannot_be_compared_is_refused(quick_api: Api) -> None:
    run = submit(quick_api)["id"]
    for ids in ([run], [run, run], [run] * 11, ["x", run]):
        assert quick_api.post("/v1/runs:compare", {"run_ids": ids}).status_code == 422, ids
    missing = "0199c9d8-0000-7000-8000-000000000000"
    assert quick_api.post("/v1/runs:compare", {"run_ids": [run, missing]}).status_code == 404
