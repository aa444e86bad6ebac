"""Searches: points that are drawn at random, or that a sampler chooses by what earlier points achieved."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from prolu.spec.base import Integer, Spec, refusal
from prolu.spec.dimensions import Space
from prolu.spec.text import Label

MOST_TRIALS = 10_000
SamplerSeed = Annotated[Integer, Field(ge=0, lt=2**63)]


class RandomSpec(Spec):
    """Points drawn from distributions, the same for ever: a draw follows from seed, number and path, and from no other draw."""

    space: Space
    """Distributions by path."""
    count: Annotated[Integer, Field(ge=1, le=MOST_TRIALS)]
    """Number of different draws; more of them leave those before as they are."""
    seed: SamplerSeed = 0
    """Another seed gives other draws. Default 0."""


class Objective(Spec):
    """A final held-out metric, and which way is better."""

    metric: Label
    """Name of the metric, such as `l0` or `ce_loss_score`."""
    goal: Literal["minimize", "maximize"]
    """Which way is better."""


class SearchSpec(Spec):
    """Points that a sampler chooses one after another, each by what those before it achieved."""

    kind: Literal["tpe", "nsga2", "motpe", "random"]
    """Sampler: `tpe` for one objective, `motpe` (its form for several) or `nsga2` for trade-offs, `random` to compare with."""
    space: Space
    """Distributions by path."""
    objectives: Annotated[list[Objective], Field(min_length=1, max_length=4)]
    """What is to become small or large; with several, the search is for their Pareto front."""
    trials: Annotated[Integer, Field(ge=1, le=MOST_TRIALS)]
    """Points in all; an extension may raise it."""
    parallel: Annotated[Integer, Field(ge=1, le=1_000)] = 1
    """Points that are open at once: asked for, and not ended. Default 1, with which every choice knows all results before it."""
    startup: Annotated[Integer, Field(ge=2, le=MOST_TRIALS)] = 10
    """Points drawn at random before any is chosen; of nsga2, the size of each generation. Default 10."""
    seed: SamplerSeed = 0
    """Another seed makes other choices. Default 0."""

    @model_validator(mode="after")
    def _fits_its_objectives(self) -> Self:
        metrics = [objective.metric for objective in self.objectives]
        for index, metric in enumerate(metrics):
            if metrics.index(metric) != index:
                where = f"objectives.{metrics.index(metric)}"
                raise refusal(f"is {metric!r}, as is that of {where}; remove one", "objectives", index, "metric")
        if self.kind == "tpe" and len(metrics) > 1:
            raise refusal(f"is 'tpe', for one objective, and there are {len(metrics)}; write motpe or nsga2", "kind")
        if self.kind == "motpe" and len(metrics) == 1:
            raise refusal("is 'motpe', for several objectives, and there is one; write tpe", "kind")
        return self
