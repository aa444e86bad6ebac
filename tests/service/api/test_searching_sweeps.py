"""Sweeps that search, as the API takes and shows them; what the dispatcher makes of them is in `tests.workers`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from prolu.client.wire import SweepPreview, SweepRead, TrialRead
from prolu.spec.report import Succeeded
from service.domain.expansion import build
from service.domain.search import ask
from service.store import searches
from tests.fixtures_api import Api
from tests.service.api.test_runs import walk
from tests.service.api.work import sweep_body, work_on
from tests.service.store.specs import DOCUMENT

SEARCH: dict[str, Any] = {
    "kind": "motpe",
    "space": {
        "sparsity.coefficient": {"kind": "log_uniform", "low": 1e-4, "high": 1e-2},
        "sae.kind": {"kind": "choice", "values": ["prolu", "relu"]},
    },
    "objectives": [{"metric": "l0", "goal": "minimize"}, {"metric": "fvu", "goal": "minimize"}],
    "trials": 6,
    "parallel": 2,
}


def body(**changes: Any) -> dict[str, Any]:
    return {"spec": {"name": "front", "base": DOCUMENT, "search": {**SEARCH, **changes}}}


def go_on(api: Api, sweep_id: str, metrics: dict[str, float]) -> None:
    """Ask for a point, train it to these metrics, and tell of it."""
    with api.database.begin() as session:
        question = searches.question(session, UUID(sweep_id))
        assert question is not None
        answer = ask(question.search, question.sweep.base, question.trials)
        point = build(question.sweep, question.number, None, answer.settings())
        assert searches.add(session, question, answer, point, most_waiting=None)
    run = walk(api, f"/v1/sweeps/{sweep_id}/runs")[-1]
    work_on(api, run["id"], Succeeded(step=10, metrics=metrics))
    with api.database.begin() as session:
        assert searches.tell_next(session, UUID(sweep_id))


def test_a_search_is_taken_and_has_no_points_yet(api: Api) -> None:
    answer = api.post("/v1/sweeps", body())
    assert answer.status_code == 201, answer.text
    sweep = SweepRead.model_validate(answer.json())
    assert sweep.search is not None
    assert (sweep.count, sweep.states, sweep.search.state, sweep.search.trials) == (0, {}, "asking", 6)
    assert walk(api, f"/v1/sweeps/{sweep.id}/trials") == []


def test_the_preview_of_a_search_shows_what_it_asks_for_first_and_counts_its_trials(api: Api) -> None:
    preview = SweepPreview.model_validate(api.post("/v1/sweeps:preview", body()).json())
    assert (preview.count, len(preview.points), preview.refusals) == (6, 2, [])
    sweep_id = api.post("/v1/sweeps", body()).json()["id"]
    go_on(api, sweep_id, {"l0": 1.0, "fvu": 1.0})
    (trial,) = walk(api, f"/v1/sweeps/{sweep_id}/trials")
    assert trial["set"] == preview.points[0].set


def test_trials_tell_what_came_of_them_and_which_no_other_one_beats(api: Api) -> None:
    sweep_id = api.post("/v1/sweeps", body()).json()["id"]
    for l0, fvu in ((4.0, 0.2), (2.0, 0.4), (5.0, 0.3)):
        go_on(api, sweep_id, {"l0": l0, "fvu": fvu})
    trials = [TrialRead.model_validate(trial) for trial in walk(api, f"/v1/sweeps/{sweep_id}/trials", limit=2)]
    assert [(trial.number, trial.values, trial.on_front, trial.told) for trial in trials] == [
        (0, [4.0, 0.2], True, 1),
        (1, [2.0, 0.4], True, 2),
        (2, [5.0, 0.3], False, 3),
    ]
    sweep = SweepRead.model_validate(api.get(f"/v1/sweeps/{sweep_id}").json())
    assert sweep.search is not None
    assert (sweep.count, sweep.search.asked, sweep.search.open) == (3, 3, 0)


@pytest.mark.parametrize(
    ("changes", "pointer", "sentence"),
    [
        ({"kind": "tpe"}, "/spec/search/kind", "for one objective, and there are 2; write motpe or nsga2"),
        ({"space": {}}, "/spec/search/space", "at least 1"),
        (
            {"space": {"sae.d_sea": {"kind": "choice", "values": [8]}}},
            "/spec/search/space/sae.d_sea",
            "did you mean 'd_sae'?",
        ),
        (
            {"space": {"sae.d_sae": {"kind": "uniform", "low": 8, "high": 9.5}}},
            "/spec/search/space/sae.d_sae",
            "must be a whole number",
        ),
        (
            {"space": {"sae.d_sae": {"kind": "choice", "values": [8], "when": {"sae.knd": "relu"}}}},
            "/spec/search/space/sae.d_sae/when/sae.knd",
            "which neither the base nor the sweep sets",
        ),
    ],
)
def test_a_search_that_could_ask_for_no_run_is_refused_where_that_stands(
    quick_api: Api, changes: dict[str, Any], pointer: str, sentence: str
) -> None:
    for path in ("/v1/sweeps", "/v1/sweeps:preview"):
        problem = quick_api.post(path, body(**changes)).json()
        assert problem["status"] == 422
        assert problem["errors"][0]["pointer"] == pointer
        assert sentence in problem["errors"][0]["detail"]


def test_a_search_chooses_every_point_itself(quick_api: Api) -> None:
    both = body()
    both["spec"]["seeds"] = [1, 2]
    (error,) = quick_api.post("/v1/sweeps", both).json()["errors"]
    assert error["pointer"] == "/spec/seeds"
    assert "cannot stand beside search" in error["detail"]


def test_a_search_is_extended_by_trials_alone(api: Api) -> None:
    sweep_id = api.post("/v1/sweeps", body()).json()["id"]
    more = api.post(f"/v1/sweeps/{sweep_id}:extend", body(trials=9))
    assert more.json()["search"]["trials"] == 9
    other = api.post(f"/v1/sweeps/{sweep_id}:extend", body(trials=9, seed=1))
    assert (other.status_code, other.json()["errors"][0]["pointer"]) == (422, "/spec/search")


def test_only_a_search_has_trials(api: Api) -> None:
    sweep_id = api.post("/v1/sweeps", sweep_body(1)).json()["id"]
    problem = api.get(f"/v1/sweeps/{sweep_id}/trials")
    assert problem.status_code == 409
    assert "has no search" in problem.json()["detail"]
