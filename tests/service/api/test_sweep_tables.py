"""The tables of a sweep on both databases: results, results over seeds, and the last biases of every run."""

from __future__ import annotations

from typing import Any

import pytest

from prolu.client.wire import Page, ResultRow, SeedGroupRead, SparsityLevel, SweepBiasRead
from prolu.spec.report import Succeeded
from tests.fixtures_api import Api
from tests.service.api.test_runs import walk
from tests.service.api.work import sweep_body, work_on
from tests.service.store.specs import full_snapshot, metric, snapshot


def submitted(api: Api, **changes: Any) -> tuple[str, list[str]]:
    """A sweep and its runs, by point."""
    answer = api.post("/v1/sweeps", sweep_body(**changes))
    assert answer.status_code == 201, answer.text
    sweep_id = answer.json()["id"]
    return sweep_id, [run["id"] for run in walk(api, f"/v1/sweeps/{sweep_id}/runs")]


def test_results_are_one_row_per_run_with_metrics_and_the_last_biases(api: Api) -> None:
    sweep_id = api.post("/v1/sweeps", sweep_body(3)).json()["id"]
    first, second, _ = (run["id"] for run in walk(api, f"/v1/sweeps/{sweep_id}/runs"))
    work_on(api, first, snapshot(0, mean=9.0), snapshot(100, mean=-0.25), Succeeded(step=100, metrics={"fvu": 0.5}))
    work_on(api, second, snapshot(0, mean=1.0))
    rows = [ResultRow.model_validate(row) for row in walk(api, f"/v1/sweeps/{sweep_id}/results", limit=2)]
    assert [row.point for row in rows] == [0, 1, 2]
    assert [row.state for row in rows] == ["succeeded", "running", "queued"]
    assert rows[0].metrics == {"fvu": 0.5}
    assert rows[0].bias["mean"] == -0.25
    assert rows[0].bias["fraction_negative"] == 0.9375
    assert rows[0].set == {"sparsity.coefficient": 0.001}
    assert (rows[1].bias, rows[2].bias, rows[2].metrics) == ({}, {}, {}), "what was not trained has no result"
    assert Page[ResultRow].model_validate(api.get(f"/v1/sweeps/{sweep_id}/results").json()).next_cursor is None


def test_results_over_seeds_are_one_row_per_group_with_error_and_interval(api: Api) -> None:
    sweep_id, runs = submitted(api, values=2, seeds=[5, 6, 7])
    for run, l0 in zip(runs[:2], (10.0, 14.0), strict=True):
        work_on(api, run, snapshot(100, mean=-l0), Succeeded(step=100, metrics={"l0": l0}))
    work_on(api, runs[2], metric(1))
    path = f"/v1/sweeps/{sweep_id}/results_over_seeds"
    first, second = (SeedGroupRead.model_validate(row) for row in walk(api, path, limit=1))
    assert (first.point, first.set, first.seeds) == (0, {"sparsity.coefficient": 0.001}, [5, 6, 7])
    assert [str(run) for run in first.run_ids] == runs[:3]
    assert first.states == {"succeeded": 2, "running": 1}
    assert first.level == SparsityLevel(kind="coefficient", value=0.001)
    l0 = first.metrics["l0"]
    assert (l0.mean, l0.standard_error, l0.interval, l0.n) == (12.0, 2.0, (10.0, 14.0), 2)
    assert first.bias["mean"].mean == -12.0
    assert first.bias["fraction_negative"].standard_error == 0.0
    assert (second.point, second.states, second.metrics, second.bias) == (3, {"queued": 3}, {}, {})


def test_a_grid_over_the_seed_is_grouped_too_wherever_it_stands(api: Api) -> None:
    sweep_id, runs = submitted(api, grid={"training.seed": [1, 2], "sparsity.coefficient": [0.1, 0.2]})
    rows = [SeedGroupRead.model_validate(row) for row in walk(api, f"/v1/sweeps/{sweep_id}/results_over_seeds")]
    assert [[str(run) for run in row.run_ids] for row in rows] == [runs[::2], runs[1::2]]


def test_a_single_seed_has_a_mean_and_no_error(api: Api) -> None:
    sweep_id, (run,) = submitted(api, values=1)
    work_on(api, run, Succeeded(step=100, metrics={"l0": 3.0}))
    (row,) = walk(api, f"/v1/sweeps/{sweep_id}/results_over_seeds")
    assert row["metrics"]["l0"] == {"mean": 3.0, "standard_error": None, "interval": None, "n": 1}
    assert row["seeds"] == []


def test_the_difference_of_two_variants_is_told_seed_by_seed_across_pages(api: Api) -> None:
    variants = [{"name": name, "set": {"sae.kind": name}} for name in ("relu", "prolu")]
    sweep_id, runs = submitted(api, values=2, seeds=[0, 1], variants=variants)
    fvu = {"relu": [0.5, 0.25, 0.75, 0.5], "prolu": [0.25, 0.125, 0.5]}
    for run, value in zip(runs, fvu["relu"] + fvu["prolu"], strict=False):
        work_on(api, run, Succeeded(step=100, metrics={"fvu": value}))
    path = f"/v1/sweeps/{sweep_id}/results_over_seeds"
    rows = [SeedGroupRead.model_validate(row) for row in walk(api, path, limit=1, against="relu")]
    assert [row.variant for row in rows] == ["relu", "relu", "prolu", "prolu"]
    assert [row.differences for row in rows[:2]] == [{}, {}]
    first, second = (row.differences["fvu"] for row in rows[2:])
    assert (first.mean, first.interval, first.n) == (-0.1875, (-0.25, -0.125), 2)
    assert (second.mean, second.standard_error, second.n) == (-0.25, None, 1)
    assert all(row["differences"] == {} for row in walk(api, path)), "nobody asked"


def test_variants_are_compared_at_the_same_level_alone_wherever_it_is_written(api: Api) -> None:
    variants = [
        {"name": "one", "set": {"sae.kind": "prolu"}, "grid": {"sparsity.coefficient": [0.5]}},
        {"name": "other", "set": {"sae.kind": "relu"}, "grid": {"sparsity.coefficient": [0.25]}},
        {"name": "base", "set": {"sae.kind": "prolu_hybrid"}},
    ]
    base = {**sweep_body()["spec"]["base"], "sparsity": {"kind": "l1", "coefficient": 0.5}}
    sweep_id, runs = submitted(api, base=base, grid={}, variants=variants)
    for run in runs:
        work_on(api, run, Succeeded(step=100, metrics={"fvu": 0.5}))
    rows = walk(api, f"/v1/sweeps/{sweep_id}/results_over_seeds", against="one")
    assert [(row["variant"], [*row["differences"]]) for row in rows] == [("one", []), ("other", []), ("base", ["fvu"])]


def test_a_variant_that_the_sweep_has_not_is_refused_by_name(api: Api) -> None:
    variants = [{"name": name, "set": {"sae.kind": name}} for name in ("relu", "prolu")]
    sweep_id, _ = submitted(api, values=1, variants=variants)
    answer = api.get(f"/v1/sweeps/{sweep_id}/results_over_seeds", against="topk")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "query:against"
    assert "is 'topk', which is no variant of this sweep; its variants are relu, prolu." in answer.json()["detail"]
    plain, _ = submitted(api, values=1)
    answer = api.get(f"/v1/sweeps/{plain}/results_over_seeds", against="topk")
    assert "it has none; leave against out" in answer.json()["detail"]


def test_the_last_biases_of_every_run_come_in_one_query(api: Api) -> None:
    sweep_id, runs = submitted(api, values=4)
    work_on(api, runs[0], snapshot(0, mean=1.0), full_snapshot(100))
    work_on(api, runs[2], snapshot(0, mean=2.0), snapshot(50, mean=3.0))
    work_on(api, runs[3], metric(1))
    rows = [SweepBiasRead.model_validate(row) for row in walk(api, f"/v1/sweeps/{sweep_id}/bias_statistics", limit=1)]
    assert [(row.point, row.step, str(row.run_id)) for row in rows] == [(0, 100, runs[0]), (2, 50, runs[2])]
    assert rows[0].statistics == full_snapshot(100).statistics
    assert rows[1].statistics.all.bias.mean == 3.0
    assert rows[1].set == {"sparsity.coefficient": 0.003}
    assert rows[1].level == SparsityLevel(kind="coefficient", value=0.003)


def test_without_histograms_the_answer_is_short_and_keeps_every_number(api: Api) -> None:
    sweep_id, (run,) = submitted(api, values=1)
    work_on(api, run, full_snapshot(100))
    path = f"/v1/sweeps/{sweep_id}/bias_statistics"
    whole, brief = api.get(path), api.get(path, histograms="false")
    statistics = SweepBiasRead.model_validate(brief.json()["items"][0]).statistics
    assert len(brief.content) < len(whole.content)
    assert statistics.all.bias.quantiles == {"0.5": -0.5}
    assert statistics.change == full_snapshot(100).statistics.change
    assert statistics.all.bias.histogram.counts == []
    assert (statistics.density, statistics.bias_by_frequency, statistics.bias_by_decoder_norm) == (None, None, None)


@pytest.mark.parametrize(
    ("sae", "sparsity", "level"),
    [
        ({"kind": "topk", "d_sae": 32, "k": 4}, {"kind": "none"}, SparsityLevel(kind="k", value=4)),
        (
            {"kind": "prolu", "d_sae": 32},
            {"kind": "l1", "coefficient": 0.5, "controller": {"target_l0": 20.0}},
            SparsityLevel(kind="target_l0", value=20.0),
        ),
        (
            {"kind": "prolu", "d_sae": 32},
            {"kind": "sqrt_l1", "coefficient": 0},
            SparsityLevel(kind="coefficient", value=0.0),
        ),
    ],
    ids=["topk", "controller", "zero"],
)
def test_what_decides_the_sparsity_is_told_for_every_kind(
    api: Api, sae: dict[str, Any], sparsity: dict[str, Any], level: SparsityLevel
) -> None:
    base = {**sweep_body()["spec"]["base"], "sae": sae, "sparsity": sparsity}
    sweep_id, (run,) = submitted(api, base=base, grid={})
    work_on(api, run, snapshot(1))
    for table in ("results", "results_over_seeds", "bias_statistics"):
        (row,) = walk(api, f"/v1/sweeps/{sweep_id}/{table}")
        assert SparsityLevel.model_validate(row["level"]) == level
