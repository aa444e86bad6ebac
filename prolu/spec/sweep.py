"""A sweep: one base run and the dimensions along which it is varied, or the space that is searched.

The language only; `service.domain.expansion` turns it into runs.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from prolu.spec.base import Integer, Plain, Spec, Version, refusal
from prolu.spec.dimensions import MOST_VALUES, GridValues
from prolu.spec.search import RandomSpec, SearchSpec
from prolu.spec.stopping import EarlyStopping
from prolu.spec.text import Label, Name, SpecPath

Seed = Annotated[Integer, Field(ge=0, lt=2**63)]


class Variant(Spec):
    """One named alternative: places that are set together, and a grid of its own."""

    name: Label
    """Label of the alternative; becomes part of the run's name and groups results."""
    set: dict[SpecPath, Plain] = {}
    """Values by path, such as `sae.kind: relu`; by default none."""
    grid: dict[SpecPath, GridValues] = {}
    """Lists or series of values by path that hold for this alternative only, such as its own coefficients; by default none."""


class SweepSpec(Spec):
    """Every alternative with every combination of the grid, every point, every draw and every seed; or a search.

    Each resulting run is validated, and runs once.
    """

    version: Version = 1
    """Version of the job language; 1 is the default and the only one."""
    name: Name = ""
    """Label for people, at most 200 characters, by default empty."""
    base: dict[str, Plain]
    """A run, which may leave out what the variants and the grid set."""
    variants: Annotated[list[Variant], Field(max_length=1_000)] = []
    """Alternatives; by default none, which means the base alone."""
    grid: dict[SpecPath, GridValues] = {}
    """Lists or series of values by path, combined with every alternative; by default none."""
    points: Annotated[list[dict[SpecPath, Plain]], Field(max_length=10_000)] = []
    """Settings by path that belong together, combined with every alternative and the grid; by default none."""
    random: RandomSpec | None = None
    """Draws from distributions, combined with every alternative, the grid and the points; by default none."""
    seeds: Annotated[list[Seed], Field(max_length=MOST_VALUES)] = []
    """Train every point once with each of these as `training.seed`, so that results have an error; by default once, as it is."""
    search: SearchSpec | None = None
    """Have a sampler choose the points by what earlier ones achieved, instead of all of the above; by default not."""
    early_stopping: EarlyStopping | None = None
    """End runs early that are worse than others at the same step; by default every run is trained to its end."""
    max_concurrent: Annotated[Integer, Field(ge=1, le=1_000_000)] | None = None
    """At most so many runs of this sweep train at once; no limit by default."""

    @model_validator(mode="after")
    def _searches_alone(self) -> Self:
        if self.search is not None:
            for name in ("variants", "grid", "points", "random", "seeds"):
                if getattr(self, name):
                    raise refusal(
                        "cannot stand beside search, which chooses every point; put it into search.space", name
                    )
        return self

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        first: dict[int, int] = {}
        for index, seed in enumerate(self.seeds):
            if seed in first:
                raise refusal(f"is {seed}, as is seeds.{first[seed]}; remove one of the two", "seeds", index)
            first[seed] = index
        return self
