"""Early stopping: by which rule runs of a sweep end before their last step, because others are better at the same step."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prolu.spec.base import Integer, Spec
from prolu.spec.text import Label

Steps = Annotated[Integer, Field(ge=1, lt=2**63)]


class Asha(Spec):
    """Asynchronous successive halving: of the runs that have come to a rung, the best 1/reduction_factor go on."""

    kind: Literal["asha"] = "asha"
    """Asynchronous successive halving."""
    metric: Label
    """Name of a metric of the series, such as `loss` or `l0`."""
    goal: Literal["minimize", "maximize"]
    """Which way is better."""
    split: Literal["train", "held_out"] = "held_out"
    """Which series is judged; by default `held_out`, which needs `training.evaluate_every_steps`."""
    min_steps: Steps
    """Steps of the first rung; each of the others lies at `reduction_factor` times the one before."""
    reduction_factor: Annotated[Integer, Field(ge=2, le=100)] = 3
    """Default 3, by Li et al. (arXiv 1810.05934): of three runs that have come to a rung, one goes on."""


class Median(Spec):
    """The median rule: a run ends whose best value so far is worse than the median of the others' means up to that step."""

    kind: Literal["median"] = "median"
    """The median rule of Golovin et al. 2017 (Vizier)."""
    metric: Label
    """Name of a metric of the series, such as `loss` or `l0`."""
    goal: Literal["minimize", "maximize"]
    """Which way is better."""
    split: Literal["train", "held_out"] = "held_out"
    """Which series is judged; by default `held_out`, which needs `training.evaluate_every_steps`."""
    min_steps: Steps = 1
    """No run is judged before this step. Default 1."""
    min_runs: Annotated[Integer, Field(ge=1, le=10_000)] = 5
    """No run is judged before so many others have succeeded. Default 5."""


EarlyStopping = Annotated[Asha | Median, Field(discriminator="kind")]
