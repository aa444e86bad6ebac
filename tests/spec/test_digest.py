"""The digest is the identity of a run: it ignores what does not train, and never changes by accident."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prolu.spec import RunSpec, canonical_json, digest_of, parse, validate


def test_the_digest_is_what_it_was_in_the_first_version():
    """Stored runs are found by this value: a change of defaults or form needs a new `version` of the language."""
    document = {
        "data": {"kind": "synthetic"},
        "sae": {"kind": "prolu", "d_sae": 128},
        "sparsity": {"kind": "l1", "coefficient": 0.001},
        "training": {"steps": 10},
    }
    assert validate(document, RunSpec).digest() == "efd25a9a210d338f8123ccd74b81e327e65948019b4e6fc501cc1a1e868f9ced"


def test_the_name_is_no_part_of_the_digest(edit, run):
    assert validate(edit("name", "another"), RunSpec).digest() == validate(run, RunSpec).digest()


def test_the_limits_are_no_part_of_it(edit, run):
    limited = validate(edit("limits.run_seconds", 60.0), RunSpec)
    assert limited.digest() == validate(run, RunSpec).digest()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("training.seed", 1),
        ("data.seed", 1),
        ("sae.estimator", {"kind": "relu_like"}),
        ("sae.d_sae", 1153),
        ("sparsity.coefficient", 0.0011),
        ("resources.cpus", 2),
        ("resources.ranks", 2),
        ("resources.gpu_type", "A100"),
        ("training.checkpoint_every_steps", 999),
    ],
)
def test_everything_else_is_part_of_it(path, value, edit, run):
    assert validate(edit(path, value), RunSpec).digest() != validate(run, RunSpec).digest()


def test_defaults_written_out_change_nothing(run):
    spec = validate(run, RunSpec)
    assert validate(spec.model_dump(mode="json"), RunSpec).digest() == spec.digest()


def test_a_whole_number_where_a_number_belongs_is_the_same_number(edit):
    assert validate(edit("sparsity.coefficient", 1), RunSpec).digest() == (
        validate(edit("sparsity.coefficient", 1.0), RunSpec).digest()
    )


def test_negative_zero_is_zero(edit):
    assert validate(edit("sparsity.coefficient", -0.0), RunSpec).digest() == (
        validate(edit("sparsity.coefficient", 0.0), RunSpec).digest()
    )


def test_the_order_of_fields_changes_nothing(run):
    def reordered(value):
        if not isinstance(value, dict):
            return value
        items = [(key, reordered(item)) for key, item in value.items()]
        return dict(sorted(items, reverse=True))

    assert validate(reordered(run), RunSpec).digest() == validate(run, RunSpec).digest()


def test_yaml_and_json_of_the_same_run_have_the_same_digest(run):
    assert validate(parse(json.dumps(run, indent="\t")), RunSpec).digest() == validate(run, RunSpec).digest()


def test_the_data_digest_sees_the_data_alone(edit, run):
    assert validate(edit("sae.d_sae", 7), RunSpec).data_digest() == validate(run, RunSpec).data_digest()
    assert validate(edit("data.seed", 7), RunSpec).data_digest() != validate(run, RunSpec).data_digest()


def test_another_process_computes_the_same_digest(run):
    program = (
        "import json, sys; from prolu.spec import RunSpec, validate; "
        "print(validate(json.load(sys.stdin), RunSpec).digest())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(run),
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "5"},
    )
    assert answer.stdout.strip() == validate(run, RunSpec).digest()


def test_canonical_json_refuses_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()))
def test_canonical_json_reads_back_as_what_was_written(value):
    assert json.loads(canonical_json(value)) == value
    assert digest_of(value) == digest_of(dict(reversed(value.items())))
