"""Samplers as functions of their trials, the front, and what of a space is tried for size."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prolu.spec import SearchSpec, SpecError, SweepSpec, validate
from service.domain.search import Asked, Trial, ask, front, probes

BASE: dict[str, Any] = {
    "data": {"kind": "synthetic"},
    "sae": {"kind": "prolu", "d_sae": 64},
    "sparsity": {"kind": "l1", "coefficient": 0.001},
    "training": {"steps": 10},
}
SPACE: dict[str, Any] = {
    "sparsity.coefficient": {"kind": "log_uniform", "low": 1e-4, "high": 1e-1},
    "sae.d_sae": {"kind": "integer", "low": 16, "high": 64, "step": 16},
    "sae.kind": {"kind": "choice", "values": ["prolu", "relu"]},
    "sae.estimator.kind": {"kind": "choice", "values": ["ste", "relu_like"], "when": {"sae.kind": "prolu"}},
}
ONE = [{"metric": "l0", "goal": "minimize"}]
TWO = [*ONE, {"metric": "ce_loss_score", "goal": "maximize"}]
KINDS = [("tpe", ONE), ("nsga2", TWO), ("motpe", TWO), ("random", ONE)]


def search(kind: str, objectives: list[dict[str, str]], **changes: Any) -> SearchSpec:
    document = {"kind": kind, "objectives": objectives, "space": SPACE, "trials": 50, "startup": 5, **changes}
    return SearchSpec.model_validate(document)


def answered(number: int, asked: Asked, values: list[float] | None, state: Any = "complete") -> Trial:
    return Trial(number, state, asked.params, asked.distributions, asked.attributes, values)


def off(asked: Asked) -> float:
    """How far a coefficient is from the best one, 0.01, in orders of magnitude."""
    return abs(math.log10(asked.set["sparsity.coefficient"]) + 2)


def searched(spec: SearchSpec, trials: int) -> list[Asked]:
    known: list[Trial] = []
    answers = []
    for number in range(trials):
        answer = ask(spec, BASE, known)
        answers.append(answer)
        known.append(answered(number, answer, [off(answer), -off(answer)][: len(spec.objectives)]))
    return answers


@pytest.mark.parametrize(("kind", "objectives"), KINDS)
def test_a_sampler_chooses_within_its_space_and_what_a_person_would_write(kind: str, objectives: Any) -> None:
    for answer in searched(search(kind, objectives), 14):
        assert 1e-4 <= answer.set["sparsity.coefficient"] <= 1e-1
        assert answer.set["sparsity.coefficient"] == float(f"{answer.set['sparsity.coefficient']:.5e}")
        assert answer.set["sae.d_sae"] in (16, 32, 48, 64)
        assert ("sae.estimator.kind" in answer.set) == (answer.set["sae.kind"] == "prolu")


def test_tpe_comes_closer_than_chance() -> None:
    learned = [off(answer) for answer in searched(search("tpe", ONE, startup=8), 40)[20:]]
    drawn = [off(answer) for answer in searched(search("random", ONE), 40)[20:]]
    assert sorted(learned)[10] < 0.5 * sorted(drawn)[10]


def test_another_seed_makes_other_choices() -> None:
    assert ask(search("tpe", ONE), BASE, []) != ask(search("tpe", ONE, seed=1), BASE, [])


@pytest.mark.parametrize("state", ["open", "failed", "pruned"])
@pytest.mark.parametrize(("kind", "objectives"), KINDS)
def test_every_state_of_a_trial_can_be_told(kind: str, objectives: Any, state: str) -> None:
    spec = search(kind, objectives, startup=2)
    first = ask(spec, BASE, [])
    known = [answered(0, first, None, state)]
    for number in range(1, 5):
        answer = ask(spec, BASE, known)
        known.append(answered(number, answer, [1.0] * len(objectives)))
    assert ask(spec, BASE, known) == ask(spec, BASE, list(known))


def test_optuna_is_loaded_with_the_first_question_and_not_before() -> None:
    program = "import sys, workers.searching, service.api.points; print('optuna' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False"]


@pytest.mark.parametrize(
    ("values", "goals", "on_it"),
    [
        ([[1.0], [0.5], [0.5], None], ["minimize"], [False, True, True, False]),
        ([[1.0, 1.0], [2.0, 2.0], [0.5, 0.5], [3.0, 1.5]], ["minimize", "maximize"], [True, True, True, False]),
        ([], ["minimize"], []),
    ],
)
def test_the_front_is_what_no_other_one_beats(values: Any, goals: Any, on_it: list[bool]) -> None:
    assert front(values, goals) == on_it


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=15))
def test_the_front_is_that_of_comparing_each_with_each(values: list[tuple[int, int]]) -> None:
    def beaten(one: tuple[int, int]) -> bool:
        return any(a <= one[0] and b >= one[1] and (a, b) != one for a, b in values)

    assert front(values, ["minimize", "maximize"]) == [not beaten(one) for one in values]


def test_a_space_is_tried_for_size_at_its_ends_and_at_every_choice() -> None:
    sweep = validate({"base": BASE, "search": {**search("tpe", ONE).model_dump()}}, SweepSpec)
    assert sweep.search is not None
    points = probes(sweep, sweep.search)
    assert {point.spec.sae.kind for point in points} == {"prolu", "relu"}
    assert {point.spec.sae.d_sae for point in points} >= {16, 64}
    broken = {**SPACE, "sae.kind": {"kind": "choice", "values": ["prolu", "relu", "topk"]}}
    with pytest.raises(SpecError) as error:
        probes(sweep, sweep.search.model_copy(update={"space": search("tpe", ONE, space=broken).space}))
    assert any(
        mistake.pointer == "/search/space/sae.kind" or "sae.k" in mistake.sentence for mistake in error.value.mistakes
    )
