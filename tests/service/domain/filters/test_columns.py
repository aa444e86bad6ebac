"""Every path that there is has one type, and those of the spec are those of the job language."""

import pytest

from prolu.spec import RunSpec
from service.domain.bias_summary import summarise
from service.domain.filters import Misread, column, columns, parse_order, select_columns
from service.domain.filters.columns import BIASES, METRICS
from tests.service.store.specs import DOCUMENT, snapshot


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("spec.sparsity.coefficient", "number"),
        ("spec.sparsity.controller.target_l0", "number"),
        ("spec.sae.k", "integer"),
        ("spec.sae.estimator.kernel.epsilon", "number"),
        ("spec.data.corpus.path", "text"),
        ("spec.training.compile", "boolean"),
        ("spec.version", "integer"),
        ("spec.exports", "texts"),
        ("spec.sae.prefixes", "list"),
        ("tags", "texts"),
        ("spec.training.resampling", "mapping"),
        ("set.sae.kind", "text"),
        ("metrics.l0", "number"),
        ("created_at", "time"),
        ("id", "identity"),
    ],
)
def test_a_path_has_the_type_of_what_stands_there(name, kind):
    found = column(name)
    assert found is not None
    assert found.kind == kind


def test_a_union_has_the_choices_of_all_its_members():
    found = column("spec.sae.kind")
    assert found is not None
    assert {"relu", "prolu", "topk", "matryoshka_batch_topk"} <= set(found.choices)


def test_every_place_of_a_stored_spec_has_a_path():
    stored = RunSpec.model_validate(DOCUMENT).model_dump(mode="json")
    places = [("spec", stored)]
    while places:
        path, value = places.pop()
        if isinstance(value, dict):
            places.extend((f"{path}.{name}", inner) for name, inner in value.items())
        assert path == "spec" or path in columns()


def test_the_biases_are_those_that_a_snapshot_is_summarised_to():
    assert set(summarise(snapshot(1).statistics)) == set(BIASES)


def test_an_order_is_keys_with_their_ways():
    keys = parse_order("metrics.fvu desc, name ,id ASC")
    assert [(key.column.name, key.descending) for key in keys] == [
        ("metrics.fvu", True),
        ("name", False),
        ("id", False),
    ]
    assert parse_order("") == ()


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("metrics.fv", 0, "did you mean metrics.fvu"),
        ("name, ", 6, "no path between the commas"),
        ("name down", 5, "`asc`, `desc` or nothing; got 'down'"),
        ("name, name desc", 6, "named twice"),
        ("spec.sae", 0, "no single value"),
        ("id,name,state,tier,point,epoch", 0, "at most 5"),
        ("x" * 2_000, 1_000, "at most 5 paths"),
    ],
)
def test_a_wrong_order_is_refused_with_its_place(text, at, words):
    with pytest.raises(Misread, match="order_by, column") as refused:
        parse_order(text)
    assert refused.value.at == at
    assert words in refused.value.sentence


def test_a_star_stands_for_everything_below():
    names = [one.name for one in select_columns(["name", "bias.*", "bias.mean"])]
    assert names == ["name", *(f"bias.{name}" for name in BIASES)]
    assert {f"metrics.{name}" for name in METRICS} <= {one.name for one in select_columns(None)}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([], "there is none"),
        (["metric.*"], "'metric.*' is not a path"),
        (["id", "spec.sae"], "column 5: spec.sae is no single value"),
        (["spec.*", "set.*"], "more than 200 columns"),
        (["x"] * 100_000, "not a path"),
    ],
)
def test_a_wrong_selection_is_refused(fields, words):
    with pytest.raises(Misread) as refused:
        select_columns(fields)
    assert words in refused.value.sentence
