"""How a sweep grows, and how a run becomes another."""

from __future__ import annotations

from typing import Any

import pytest

from prolu.spec import RunSpec, SpecError, SweepSpec
from service.domain.errors import Invalid
from service.domain.expansion import change, expand
from service.domain.growth import Present, growth
from tests.service.store.specs import DOCUMENT, run_spec


def sweep(**changes: Any) -> SweepSpec:
    return SweepSpec.model_validate({"base": DOCUMENT, **changes})


def present(spec: SweepSpec) -> list[Present]:
    return [Present(point.index, point.digest, point.variant, point.set) for point in expand(spec)]


def coefficients(*values: float) -> dict[str, Any]:
    return {"grid": {"sparsity.coefficient": list(values)}}


def test_new_values_are_added_wherever_the_description_puts_them() -> None:
    grown = growth(expand(sweep(**coefficients(0.5, 0.1, 0.7, 0.2))), present(sweep(**coefficients(0.1, 0.2))))
    assert [point.set for point in grown.added] == [{"sparsity.coefficient": 0.5}, {"sparsity.coefficient": 0.7}]
    assert grown.described_anew == {}


def test_the_same_description_adds_nothing() -> None:
    same = sweep(**coefficients(0.1, 0.2), variants=[{"name": "a"}])
    assert growth(expand(same), present(same)).added == []


def test_seeds_that_have_the_present_one_among_them_describe_it_anew() -> None:
    grown = growth(expand(sweep(seeds=[0, 1])), present(sweep()))
    assert [point.set for point in grown.added] == [{"training.seed": 1}]
    assert grown.described_anew == {0: {"training.seed": 0}}


def test_points_that_the_description_lacks_are_named() -> None:
    old = sweep(**coefficients(0.1, 0.2), variants=[{"name": "a"}, {"name": "b", "set": {"sae.d_sae": 64}}])
    new = sweep(**coefficients(0.1, 0.3), variants=[{"name": "a"}, {"name": "c", "set": {"sae.d_sae": 64}}])
    with pytest.raises(Invalid) as refused:
        growth(expand(new), present(old))
    assert "lacks 3 of the sweep's points" in refused.value.sentence
    assert "Point 1 (sparsity.coefficient=0.2) of a; Point 2 (" in refused.value.sentence
    assert refused.value.mistakes[0].location == ("spec",)


def test_a_lack_of_very_many_points_is_told_in_short() -> None:
    with pytest.raises(Invalid, match="; and 5 more"):
        growth(expand(sweep(**coefficients(0.5))), present(sweep(**coefficients(*range(1, 16)))))


def test_a_changed_run_is_the_other_with_what_is_set() -> None:
    document = run_spec(name="one").model_dump(mode="json")
    changed = change(document, {"sparsity.coefficient": 0.5, "sae.d_sae": 64}, name="two")
    assert changed == RunSpec.model_validate(
        {
            **DOCUMENT,
            "name": "two",
            "sparsity": {"kind": "l1", "coefficient": 0.5},
            "sae": {"kind": "prolu", "d_sae": 64},
        }
    )
    assert change(document, {}, name="one") == run_spec(name="one")


def test_another_kind_leaves_behind_what_only_the_former_has() -> None:
    document = run_spec(sae={"kind": "prolu", "d_sae": 32, "estimator": {"kind": "ste"}}).model_dump(mode="json")
    assert change(document, {"sae.kind": "relu"}, name="").sae.kind == "relu"


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"sparsity.coefficient": -1.0}, ("set", "sparsity.coefficient")),
        ({"training": {"steps": 0}}, ("set", "training", "steps")),
        ({"sae.kind": "topk"}, ("set",)),
        ({"no.such": 1}, ("set", "no.such")),
        ({"name": "two"}, ("set", "name")),
        ({"version": 1}, ("set", "version")),
    ],
)
def test_a_mistake_points_at_what_was_set(changes: dict[str, Any], place: tuple[str, ...]) -> None:
    with pytest.raises(SpecError) as refused:
        change(run_spec().model_dump(mode="json"), changes, name="")
    assert refused.value.mistakes[0].location == place
