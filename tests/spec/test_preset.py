"""A preset sizes a sweep: it lays its parts over the base, and its grids over those of the alternatives it names."""

from __future__ import annotations

import copy

import pytest

from prolu.spec import Preset, SpecError, SweepSpec, named_preset, preset_names, unused_grids, validate, with_preset

SWEEP = {
    "base": {
        "data": {"kind": "synthetic", "d_in": 16},
        "sae": {"d_sae": 32, "decoder_norm": "unit"},
        "training": {"steps": 10, "batch_size": 8},
    },
    "variants": [
        {"name": "a", "set": {"sae.kind": "relu"}, "grid": {"sparsity.coefficient": [1.0], "training.seed": [0, 1]}},
        {"name": "b", "grid": {"sae.k": [1]}},
    ],
}


def _preset(**parts):
    return validate({"description": "a test's", **parts}, Preset)


def test_the_base_keeps_what_the_preset_does_not_name():
    sized = with_preset(SWEEP, _preset(base={"sae": {"d_sae": 64}, "training": {"steps": 99}}))
    assert sized["base"]["sae"] == {"d_sae": 64, "decoder_norm": "unit"}
    assert sized["base"]["training"] == {"steps": 99, "batch_size": 8}
    assert sized["base"]["data"] == SWEEP["base"]["data"]


def test_a_part_of_another_kind_replaces_the_whole_part():
    sized = with_preset(SWEEP, _preset(base={"data": {"kind": "shards", "path": "x"}}))
    assert sized["base"]["data"] == {"kind": "shards", "path": "x"}


def test_only_what_an_alternative_varies_takes_the_values_of_the_preset():
    grids = {"a": {"sparsity.coefficient": [2.0, 3.0], "sae.d_sae": [5]}, "c": {"sae.k": [9]}}
    a, b = with_preset(SWEEP, _preset(grids=grids))["variants"]
    assert a["grid"] == {"sparsity.coefficient": [2.0, 3.0], "training.seed": [0, 1]}
    assert b == SWEEP["variants"][1]


def test_what_only_a_short_run_needs_is_left_to_its_default():
    sweep = {**SWEEP, "variants": [{"name": "a", "set": {"sae.kind": "relu", "sae.d_sae": 4}}, {"name": "b"}]}
    a, b = with_preset(sweep, _preset(without={"a": ["sae.d_sae", "sae.k"], "b": ["sae.k"]}))["variants"]
    assert a == {"name": "a", "set": {"sae.kind": "relu"}}
    assert b == {"name": "b"}


@pytest.mark.parametrize(
    ("grids", "unused"),
    [
        ({"c": {"sparsity.coefficient": [9.0]}, "a": {"sae.k": [9]}}, ["c", "a"]),
        ({"c": {"sparsity.coefficient": [9.0]}, "a": {"sparsity.coefficient": [9.0]}}, []),
        ({}, []),
    ],
    ids=["none applies", "one applies", "there are none"],
)
def test_grids_are_unused_only_if_none_of_the_preset_applies(grids, unused):
    assert unused_grids(SWEEP, _preset(grids=grids)) == unused


def test_a_sweep_whose_alternatives_vary_nothing_leaves_no_grid_unused():
    bare = {**SWEEP, "variants": [{"name": "a"}, {"name": "b", "grid": {}}]}
    assert unused_grids(bare, _preset(grids={"c": {"sae.k": [9]}})) == []


def test_the_sweep_itself_stays_as_it_is():
    before = copy.deepcopy(SWEEP)
    with_preset(SWEEP, _preset(base={"sae": {"d_sae": 64}}, grids={"a": {"sparsity.coefficient": [2.0]}}))
    assert before == SWEEP


@pytest.mark.parametrize("name", preset_names())
def test_every_named_preset_is_valid_and_sizes_a_sweep_that_still_means_runs(name):
    preset = named_preset(name)
    bare = {"base": {"sae": {"kind": "prolu"}, "sparsity": {"kind": "l1", "coefficient": 1e-3}}}
    assert validate(with_preset(bare, preset), SweepSpec).base["sae"]["d_sae"] > 0


def test_an_unknown_preset_is_answered_with_the_known_ones():
    with pytest.raises(SpecError, match=r"There is no preset 'pots'; known are .*post"):
        named_preset("pots")
