"""No number that float32 cannot hold reaches training: every float of a run is bounded at both ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from prolu.spec import RunSpec, json_schema
from prolu.spec.base import Spec

# Bounded by another field at one end, or a number below which nothing can happen that does not happen at 1e-30.
BOUNDED_ELSEWHERE = {
    "SyntheticData.active_features",  # at most n_features; a probability
    "L0Controller.target_l0",  # at most d_sae
    "L0Controller.rate",  # the exponent of a factor
    "LanguageModelData.held_out_share",  # compared with a hash
    "ResourcesSpec.memory_gb",
}


def _numbers(schema: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "number":
            yield name, schema
        for value in schema.values():
            yield from _numbers(value, name)
    if isinstance(schema, list):
        for value in schema:
            yield from _numbers(value, name)


def _fields() -> list[tuple[str, dict[str, Any]]]:
    models = json_schema()["run"]["$defs"].items()
    fields = [
        (f"{model}.{field}", part) for model, made in models for field, part in made.get("properties", {}).items()
    ]
    return [found for name, part in fields for found in _numbers(part, name)]


def _first(schema: dict[str, Any], *names: str) -> Any:
    return next((schema[name] for name in names if name in schema), None)


def test_every_float_of_a_run_is_within_float32_at_both_ends() -> None:
    fields = _fields()
    assert len(fields) > 20
    for name, schema in fields:
        if name not in BOUNDED_ELSEWHERE:
            low, high = _first(schema, "minimum"), _first(schema, "maximum", "exclusiveMaximum")
            assert low is not None, name
            assert low == 0 or abs(low) >= 1e-30, name
            assert high is not None, name
            assert high <= 1e30, name


def test_what_is_bounded_elsewhere_is_there() -> None:
    assert {name for name, _ in _fields()} >= BOUNDED_ELSEWHERE


def _keys(schema: Any) -> Iterator[str]:
    """The keywords of a schema; names of fields and of models are none."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            yield key
            named = key in ("properties", "$defs", "mapping")
            yield from _keys([*value.values()] if named else [] if key in ("default", "examples") else value)
    if isinstance(schema, list):
        for value in schema:
            yield from _keys(value)


def test_bounds_are_written_as_json_schema_has_them_so_that_editors_check_them() -> None:
    keys = set(_keys(json_schema()))
    assert keys >= {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    assert keys.isdisjoint({"ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length"})


def test_every_number_that_may_be_zero_has_one_zero() -> None:
    zeros = []
    for model in _all_of(Spec):
        for name, field in model.model_fields.items():
            if not any(schema.get("type") == "number" for _, schema in _numbers(_schema_of(model, name), "")):
                continue
            try:
                value = TypeAdapter(field.rebuild_annotation()).validate_python(-0.0)
            except ValidationError:
                continue
            zeros.append(name)
            assert math.copysign(1.0, value) == 1.0, f"{model.__name__}.{name}"
    assert {"coefficient", "gpus", "beta1", "w_m"} <= set(zeros)


def _all_of(model: type[Spec]) -> Iterator[type[Spec]]:
    for child in model.__subclasses__():
        yield child
        yield from _all_of(child)


def _schema_of(model: type[Spec], field: str) -> Any:
    return model.model_json_schema()["properties"].get(field, {})


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "sae",
            {"kind": "jumprelu", "d_sae": 8, "initial_threshold": 1e300},
            "initial_threshold must be at most 1000000",
        ),
        ("sae", {"kind": "jumprelu", "d_sae": 8, "bandwidth": 1e-300}, "bandwidth must be at least 1e-06; got 1e-300."),
        ("sae", {"kind": "relu", "d_sae": 8, "decoder_init_norm": 1e38}, "decoder_init_norm must be at most 1000000"),
        (
            "sae",
            {"kind": "gated", "d_sae": 8, "auxiliary_coefficient": 1e39},
            "auxiliary_coefficient must be at most 1e+30",
        ),
        ("data", {"kind": "synthetic", "noise_std": 1e300}, "noise_std must be at most 1000000; got 1e+300."),
        ("sparsity.coefficient", 1e39, "coefficient must be at most 1e+30; got 1e+39."),
        ("training.optimizer.learning_rate", 1e39, "learning_rate must be at most 1e+30; got 1e+39."),
        ("training.optimizer.epsilon", 1e-46, "epsilon must be at least 1e-30; got 1e-46."),
        ("training.gradient_clip_norm", 1e-46, "gradient_clip_norm must be at least 1e-30; got 1e-46."),
    ],
)
def test_a_number_beyond_float32_is_refused_at_submission(path, value, sentence, edit, mistakes) -> None:
    ((pointer, said),) = mistakes(edit(path, value), RunSpec)
    assert pointer.startswith("/" + path.replace(".", "/"))
    assert f".{sentence}" in said


def test_a_controller_begins_with_what_float32_can_tell_from_nothing(edit, mistakes) -> None:
    document = edit("sparsity", {"kind": "l1", "coefficient": 1e-46, "controller": {"target_l0": 4.0}})
    ((pointer, said),) = mistakes(document, RunSpec)
    assert pointer == "/sparsity/coefficient"
    assert said.startswith("sparsity.coefficient is 1e-46, and a controller only multiplies it")
