"""Training tells of itself in a few sentences, and hands every report on as it was."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from prolu.data.synthetic import SyntheticSource
from prolu.spec.run import RunSpec
from prolu.training import CheckpointStore
from tests.training.conftest import SpecMaker
from tests.training.running import run, stop_at


@pytest.fixture
def tell(source: SyntheticSource, store: CheckpointStore, caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """Train, and give the sentences."""
    caplog.set_level(logging.INFO, "prolu.training")

    def told(spec: RunSpec, **options: Any) -> list[str]:
        run(spec, source, store, **options)
        return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]

    return told


def test_evaluations_and_checkpoints_are_told_with_their_steps_and_then_the_end(
    make_spec: SpecMaker, tell: Callable[..., list[str]]
):
    told = tell(make_spec())
    assert [line.split(":")[0] for line in told] == [f"INFO Step {step}" for step in (10, 15, 20, 30, 30, 40, 40, 40)]
    assert "evaluated on held-out activations: l0 " in told[1]
    assert told[0].startswith("INFO Step 10: a checkpoint of ")
    assert told[0].endswith("is in runs/a/e1/step-10.")
    assert told[-1] == "INFO Step 40: every step is done."


def test_a_stop_is_told_with_its_reason(make_spec: SpecMaker, tell: Callable[..., list[str]]):
    told = tell(make_spec(), should_stop=stop_at(5))
    assert told[-1] == "INFO Step 5: stopped, as it was asked to (pause)."


def test_a_resample_is_told_with_how_many_latents_it_moved(make_spec: SpecMaker, tell: Callable[..., list[str]]):
    resampling = {"every_steps": 10, "samples": 64, "lr_warmup_steps": 2}
    told = tell(make_spec(training={"resampling": resampling}))
    (line,) = [line for line in told if "latents have been resampled" in line and line.startswith("INFO Step 12:")]
    assert "latents have been resampled since the last training metrics." in line


def test_a_failure_is_told_as_an_error(make_spec: SpecMaker, tell: Callable[..., list[str]]):
    told = tell(make_spec(training={"optimizer": {"kind": "adam", "learning_rate": 1e30}}))
    assert told[-1].startswith("ERROR Step ")
    assert "failed (nan_loss): " in told[-1]
