"""Whatever a document holds, the answer is a spec or sentences that point at it; never another exception."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from prolu.client.wire import RunCreate, SweepCreate
from prolu.spec import Mistake, RunSpec, SpecError, SweepSpec, validate
from prolu.spec.mistakes import MOST_MISTAKES

_FIELDS = ["data", "sae", "sparsity", "training", "name", "version", "base", "variants", "grid", "set", "corpus"]
_TAGS = [
    "kind",
    "l1",
    "prolu",
    "relu",
    "ste",
    "synthetic",
    "language_model",
    "text",
    "python_docs",
    "[key]",
    "a/b",
    "~",
]
_WORDS = st.sampled_from([*_FIELDS, *_TAGS, "estimator", "optimizer", "d_sae", "coefficient", "steps"])
_ODD = st.sampled_from([b"x", (1, 2), {1}, object(), datetime(2026, 1, 1, tzinfo=UTC), 10**400, "\ud800", "\x00"])
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | _WORDS | _ODD
_KEYS = _WORDS | st.text(max_size=4) | st.integers() | st.booleans() | st.none() | st.tuples(st.integers())
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=15,
)


def _places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, item in pairs for place in _places(item, (*here, key)))]


def _as_text(place: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(str(part) for part in place)  # pydantic writes a key that is no text, such as None, as text


def _check_answer(document: Any, model: type[BaseModel]) -> None:
    mistakes: tuple[Mistake, ...] = ()
    try:
        validate(document, model)
    except SpecError as error:
        mistakes = error.mistakes
    known = {_as_text(place) for place in _places(document)}
    for mistake in mistakes:
        location = _as_text(mistake.location)
        assert location in known or location[:-1] in known, "points outside the document"
        assert mistake.sentence.endswith((".", "?"))
        assert mistake.sentence.isprintable()
        json.dumps(mistake.path + mistake.pointer)
    assert len(mistakes) <= MOST_MISTAKES + 1


@pytest.mark.parametrize("model", [RunSpec, SweepSpec, RunCreate, SweepCreate])
@given(document=st.dictionaries(_KEYS, _VALUES, max_size=5))
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_document_is_answered(model, document):
    _check_answer(document, model)


@given(data=st.data())
@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    deadline=None,
)
def test_one_odd_value_anywhere_in_a_good_run_is_answered(data, run):
    document = json.loads(json.dumps(run))
    place = data.draw(st.sampled_from([place for place in _places(document) if place]))
    around = document
    for key in place[:-1]:
        around = around[key]
    if data.draw(st.booleans()):
        around[place[-1]] = data.draw(_VALUES)
    elif isinstance(around, dict):
        around[data.draw(_KEYS)] = data.draw(_VALUES)
    _check_answer(document, RunSpec)
