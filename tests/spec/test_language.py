"""Promises that hold for every model of the job language: frozen, closed, described, with a true JSON Schema."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError

import prolu.client.wire as wire
import prolu.spec.report as report
from prolu.client.wire.base import Request, Wire
from prolu.spec import RunSpec, SweepSpec, json_schema, validate
from prolu.spec.base import Spec


def _below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for child in model.__subclasses__():
        if "[" not in child.__name__:
            yield child
        yield from _below(child)


for module in pkgutil.iter_modules(wire.__path__, f"{wire.__name__}."):
    import_module(module.name)  # so that a message is found even where the face forgets it

SPECS = sorted(set(_below(Spec)), key=lambda model: model.__name__)
RECORDS = sorted(set(_below(report.Record)), key=lambda model: model.__name__)
WIRES = sorted(set(_below(Wire)), key=lambda model: model.__name__)
NAMES = {"ids": lambda model: model.__name__}


def test_the_models_are_found():
    assert len(SPECS) > 15
    assert len(RECORDS) > 10
    assert len(WIRES) > 15


def test_the_wire_shows_every_message_of_its_modules():
    assert {model.__name__ for model in WIRES} - {"Request"} <= set(wire.__all__)


@pytest.mark.parametrize("model", [*SPECS, *RECORDS, *WIRES], **NAMES)
def test_every_field_is_described_in_one_line(model):
    for name, field in model.model_fields.items():
        description = field.description or ""
        assert description.endswith("."), f"{name}: {description!r}"
        assert "\n" not in description, name


@pytest.mark.parametrize("model", SPECS, **NAMES)
def test_every_default_is_told(model):
    for name, field in model.model_fields.items():
        if name != "kind" and not field.is_required():
            assert "efault" in (field.description or ""), name


@pytest.mark.parametrize("model", SPECS, **NAMES)
def test_a_default_that_is_told_as_a_number_is_the_default(model):
    for name, field in model.model_fields.items():
        told = re.search(r"Default ([0-9][0-9.e-]*?)(?=[,.]?(\s|$))", field.description or "")
        if told:
            assert float(told[1]) == field.default, name


@pytest.mark.parametrize("model", [*SPECS, *RECORDS, *WIRES], **NAMES)
def test_every_model_is_frozen(model):
    assert model.model_config["frozen"]


@pytest.mark.parametrize("model", [*SPECS, *RECORDS, *_below(Request)], **NAMES)
def test_every_model_that_a_person_or_a_run_writes_refuses_unknown_fields(model):
    assert model.model_config["extra"] == "forbid"


def test_a_spec_cannot_be_changed(run):
    spec = validate(run, RunSpec)
    with pytest.raises(ValidationError, match="frozen"):
        spec.sae.d_sae = 5  # type: ignore[misc]


@pytest.mark.parametrize("part", ["run", "sweep"])
def test_the_json_schema_is_a_valid_schema(part):
    jsonschema.Draft202012Validator.check_schema(json_schema()[part])


def test_the_json_schema_accepts_and_refuses_as_the_models_do(run, edit):
    validator = jsonschema.Draft202012Validator(json_schema()["run"])
    assert list(validator.iter_errors(run)) == []
    for path, value in [("sae.d_sae", 0), ("sae.width", 1), ("sparsity.kind", "l2"), ("name", "a\nb")]:
        assert list(validator.iter_errors(edit(path, value))), path
    sweep = {"base": run, "grid": {"sparsity.coefficient": [1e-3, 2e-3]}, "variants": [{"name": "a"}]}
    assert list(jsonschema.Draft202012Validator(json_schema()["sweep"]).iter_errors(sweep)) == []


def test_the_json_schema_carries_the_descriptions():
    schema = json_schema()["run"]["$defs"]["ProluSae"]["properties"]["d_sae"]
    assert schema["description"] == "Number of latents."


def test_a_sweep_keeps_values_of_any_plain_kind(run):
    sweep = validate({"base": run, "grid": {"sae.estimator": [{"kind": "ste"}, None, "x", 1, 0.5, True]}}, SweepSpec)
    assert sweep.grid["sae.estimator"] == [{"kind": "ste"}, None, "x", 1, 0.5, True]


def test_the_same_reports_are_read_back_from_json():
    point = report.MetricPoint(split="train", step=1, tokens=2, values={"l0": 3.0})
    assert report.MetricPoint.model_validate_json(point.model_dump_json()) == point


def test_the_job_language_and_the_wire_load_neither_torch_nor_ray_nor_sql():
    program = (
        "import sys, prolu, prolu.spec, prolu.client.wire; "
        "print([name for name in ('torch', 'ray', 'numpy', 'sqlalchemy', 'fastapi') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
