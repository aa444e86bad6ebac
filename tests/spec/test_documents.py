"""Documents as people write them: what YAML and JSON text mean, and what is refused with which words."""

from __future__ import annotations

import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from prolu.spec import RunSpec, SpecError, is_sweep, json_schema, parse, validate
from prolu.spec.base import MAX_DEPTH
from prolu.spec.document import MAX_CHARACTERS


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        (".5e-2", 0.005),
        ("-1.", -1.0),
        ("12", 12),
        ("-0", 0),
        ("true", True),
        ("null", None),
        ("", None),
        (".inf", math.inf),
        # What YAML 1.1 makes of these has surprised many people.
        ("no", "no"),
        ("off", "off"),
        ("2026-01-01", "2026-01-01"),
        ("0777", "0777"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        ("=", "="),
        ("1e", "1e"),
    ],
)
def test_a_bare_word_means_what_yaml_1_2_says(text, value):
    parsed = parse(f"key: {text}")["key"]
    assert (parsed, type(parsed)) == (value, type(value))


def test_nan_is_read_and_left_to_the_spec_to_refuse():
    assert math.isnan(parse("key: .nan")["key"])
    assert math.isnan(parse('{"key": NaN}')["key"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [1", "Not valid YAML at line 1, column 6: expected ',' or ']', but got '<stream end>'; correct it there."),
        ("a: 1\na: 2", "Not valid YAML at line 2, column 1: the key 'a' stands twice; remove one of the two."),
        (
            "a: &x 1\nb: *x",
            "Not valid YAML at line 2, column 4: aliases (*name) are not allowed; write the value out.",
        ),
        ("a: !!python/name:os.system", "Not valid YAML at line 1, column 4: tags (!name) are not allowed; remove it."),
        ("a: !!timestamp x", "Not valid YAML at line 1, column 4: tags (!name) are not allowed; remove it."),
        (
            "a:\n  ? [b]\n  : 1",
            "Not valid YAML at line 2, column 5: keys must be text; put this one in quotes or remove it.",
        ),
        ("1: a", "Not valid YAML at line 1, column 1: keys must be text; put this one in quotes or remove it."),
        ("a: 1\n--- \nb: 2", "Not valid YAML at line 2, column 1: found another document; correct it there."),
        (
            "a: " + "9" * 5000,
            "Not valid YAML at line 1, column 4: a number has 5000 digits; write a smaller one.",
        ),
        (
            "a: \x07",
            (
                "Not valid YAML: character 4 of the document is U+0007, a control character or half a surrogate pair; "
                "remove it."
            ),
        ),
        (
            "[" * 100_000,
            "Not valid YAML at line 1, column 34: lists and mappings are nested more than 32 deep; make it flatter.",
        ),
        ('{"a": 1, "a": 2}', "Not valid JSON: the key 'a' stands twice; remove one of the two."),
        (
            '{\n\t"a": 1,\n}',
            "Not valid JSON at line 3, column 1: Expecting property name enclosed in double quotes; correct it there.",
        ),
    ],
)
def test_text_that_is_no_document_is_refused_with_the_place(text, sentence):
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert str(caught.value) == sentence


def test_merge_keys_have_no_power():
    assert parse("<<: {a: 1}") == {"<<": {"a": 1}}


def test_json_with_tabs_and_surrogate_pairs_is_read():
    assert parse('{\n\t"name": "\\ud83d\\ude00"\n}') == {"name": "😀"}


def test_a_flow_mapping_of_yaml_may_look_like_json():
    assert parse('{"a": 1, b: no}') == {"a": 1, "b": "no"}


def test_a_nesting_at_the_limit_is_read():
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)


def test_a_huge_text_is_refused_before_it_is_read():
    # Whoever read it would complain of its depth.
    with pytest.raises(SpecError, match=r"has 1000001 characters; at most 1000000 are read"):
        parse("[" * (MAX_CHARACTERS + 1))


def test_the_strict_loader_leaves_the_yaml_of_the_rest_of_the_process_alone():
    parse("a: no")
    assert yaml.safe_load("a: no\nb: 2026-01-01\nc: 1e-3")["a"] is False
    assert yaml.safe_load("c: 1e-3") == {"c": "1e-3"}


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), _PLAIN, max_size=4))
def test_json_means_itself(document):
    assert parse(json.dumps(document)) == document


@given(st.text(alphabet=st.sampled_from("ab01.-:,?&*!|>'\"%@`#{}[] \n\té😀\x00\ud800e+~<="), max_size=40))
def test_parse_gives_plain_data_or_a_spec_error_for_any_text(text):
    try:
        value = parse(text)
    except SpecError as error:
        value = str(error)
    json.dumps(value)


@pytest.mark.parametrize(
    ("document", "got"),
    [(None, "nothing"), ([1], "a list"), ("text", "text"), (5, "a number"), (True, "true"), (b"x", "a bytes")],
)
def test_a_document_that_is_no_mapping_is_refused(document, got):
    with pytest.raises(SpecError, match=rf"^The document must be a mapping of fields; got {got}\.$"):
        validate(document, RunSpec)


def test_a_sweep_is_told_from_a_run_by_its_own_fields(run):
    assert is_sweep({"base": run})
    assert is_sweep({"grid": {}})
    assert not is_sweep(run)
    assert not is_sweep(["base"])


def test_the_json_schema_covers_runs_and_sweeps():
    assert set(json_schema()) == {"run", "sweep"}
