"""Series of metrics on both databases: spans, names, thinned, of several runs."""

from __future__ import annotations

from typing import Any

from prolu.client.wire import MetricRead, SeriesRead
from prolu.spec.report import MetricPoint
from tests.fixtures_api import Api
from tests.service.api.work import submit, work_on


def point(step: int, split: Any = "train", **values: float) -> MetricPoint:
    return MetricPoint(split=split, step=step, tokens=step * 10, values=values)


def trained(api: Api, name: str = "one") -> str:
    """A run of 100 points, with a spike at step 42, a gap at 60, and two evaluations."""
    run: str = submit(api, name=name)["id"]
    numbers = {step: {"l0": 500.0 if step == 42 else 100.0 - step, "fvu": 0.5} for step in range(1, 101)}
    numbers[60] = {"l0": float("nan"), "fvu": 0.5}
    work_on(
        api,
        run,
        *(point(step, **values) for step, values in numbers.items()),
        point(50, "held_out", l0=7.0),
        point(100, "held_out", l0=6.0),
    )
    return run


def read(api: Api, run: str, **params: Any) -> list[MetricRead]:
    answer = api.get(f"/v1/runs/{run}/metrics", **params)
    assert answer.status_code == 200, answer.text
    return [MetricRead.model_validate(item) for item in answer.json()["items"]]


def test_a_span_of_a_run_is_read_with_the_metrics_that_are_named(api: Api) -> None:
    run = trained(api)
    found = read(api, run, names="l0", from_step=41, to_step=43)
    assert [(one.step, one.values) for one in found] == [(41, {"l0": 59.0}), (42, {"l0": 500.0}), (43, {"l0": 57.0})]
    both = read(api, run, names=["l0", "fvu"], from_step=100, split="train")
    assert [one.values for one in both] == [{"l0": 0.0, "fvu": 0.5}]


def test_a_thinned_series_keeps_spike_gap_and_ends_as_whole_points(api: Api) -> None:
    run = trained(api)
    found = read(api, run, names="l0", points=12, split="train")
    assert len(found) <= 12
    by_step = {one.step: one.values for one in found}
    assert by_step[42] == {"l0": 500.0}
    assert by_step[60] == {}
    assert {1, 100} <= by_step.keys()
    assert [one.split for one in read(api, run, points=12)].count("held_out") == 2


def test_several_runs_are_read_at_once_with_gaps_as_nulls(api: Api) -> None:
    first, second = trained(api, "a"), trained(api, "b")
    answer = api.post("/v1/results:series", {"run_ids": [second, first], "names": ["l0", "kl"], "points": 12})
    found = SeriesRead.model_validate(answer.json()).series
    assert [(one.run_name, one.name, one.split, one.measured) for one in found] == [
        ("b", "l0", "held_out", 2),
        ("b", "l0", "train", 100),
        ("a", "l0", "held_out", 2),
        ("a", "l0", "train", 100),
    ]
    train = found[1]
    assert (train.steps[0], train.steps[-1], max(value for value in train.values if value is not None)) == (
        1,
        100,
        500.0,
    )
    assert train.values[train.steps.index(60)] is None
    by_filter = api.post("/v1/results:series", {"filter": 'name = "a"', "split": "held_out", "names": ["l0"]}).json()
    assert [(one["steps"], one["values"]) for one in by_filter["series"]] == [([50, 100], [7.0, 6.0])]


def test_what_cannot_be_drawn_is_refused(quick_api: Api) -> None:
    missing = "0199c9d8-0000-7000-8000-000000000000"
    assert quick_api.post("/v1/results:series", {"run_ids": [missing]}).status_code == 404
    for body in ({"names": ["a'b"]}, {"points": 4}, {"filter": "l0 <"}, {"names": []}):
        assert quick_api.post("/v1/results:series", body).status_code == 422, body
    for number in range(51):
        submit(quick_api, name=f"many {number}")
    answer = quick_api.post("/v1/results:series", {"filter": 'name:"many"'})
    assert "more than 50 runs" in answer.json()["detail"]
