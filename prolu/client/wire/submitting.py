"""What a client sends: work to submit, and wishes for work that is there."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from prolu.client.wire.base import Request
from prolu.client.wire.runs import Tier
from prolu.spec.base import Flag, Integer, Plain, refusal
from prolu.spec.resources import LimitsSpec
from prolu.spec.run import RunSpec
from prolu.spec.sweep import SweepSpec
from prolu.spec.text import Name, SpecPath

Priority = Annotated[Integer, Field(ge=0, le=100)]


class RunCreate(Request):
    """Submit one run."""

    spec: RunSpec
    """What to train."""
    priority: Priority = 50
    """0 to 100; higher goes first. Default 50."""
    tier: Tier = "normal"
    """Goes before priority: low, normal (the default) or high, which only administrators may ask for."""
    preemptible: Flag = False
    """Whether it may be stopped and put back into the queue to make room for others; false by default."""
    reuse: Flag = False
    """Whether to refer to an identical finished run, if there is one, instead of training again; false by default."""


class SweepCreate(Request):
    """Submit a sweep."""

    spec: SweepSpec
    """What to vary."""
    priority: Priority = 50
    """0 to 100, for every run of the sweep. Default 50."""
    tier: Tier = "normal"
    """Of every run of the sweep; goes before priority: low, normal (the default) or high, for administrators only."""
    preemptible: Flag = False
    """Whether its runs may be stopped and put back into the queue to make room for others; false by default."""
    reuse: Flag = False
    """Whether points refer to identical finished runs, where there are any, instead of training again; false by default."""


class PlacePatch(Request):
    """Change a run's place in the queue, or that of all runs of a sweep that have not ended; what is left out stays."""

    priority: Priority | None = None
    """0 to 100; higher goes first."""
    tier: Tier | None = None
    """Goes before priority: low, normal or high, which only administrators may ask for."""
    preemptible: Flag | None = None
    """Whether it may be stopped and put back into the queue to make room for others."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.priority is None and self.tier is None and self.preemptible is None:
            raise refusal("says nothing; give priority, tier or preemptible")
        return self


class RetryRequest(Request):
    """Try a run again that failed or was cancelled."""

    from_scratch: Flag = False
    """Whether to begin at step 0; by default it goes on from the furthest checkpoint that can be used."""
    limits: LimitsSpec | None = None
    """How long the new run may take, where that differs: what is left out or null stays as it was; by default everything."""


class RetryFailedRequest(Request):
    """Try all runs of a sweep again that failed."""

    from_scratch: Flag = False
    """Whether they begin at step 0; by default each goes on from its furthest checkpoint that can be used."""
    include_cancelled: Flag = False
    """Whether those that were cancelled are tried again too; false by default."""
    limits: LimitsSpec | None = None
    """How long the new runs may take, where that differs: what is left out or null stays as it was; by default everything."""


class CloneRequest(Request):
    """Submit a new run that is like another."""

    set: dict[SpecPath, Plain] = {}
    """What differs from the other, by path, as in a sweep; by default nothing."""
    name: Name | None = None
    """Label of the new run; by default that of the other."""
    priority: Priority | None = None
    """0 to 100; by default that of the other."""
    tier: Tier | None = None
    """Low, normal or high (administrators only); by default that of the other, as far as you may ask for it."""
    preemptible: Flag | None = None
    """Whether it may be stopped to make room for others; by default as the other."""


class SweepExtend(Request):
    """Add points to a sweep."""

    spec: SweepSpec
    """The sweep as it shall be: all its present points, in any order, and new ones; of a search, more trials."""
    reuse: Flag = False
    """Whether new points refer to identical finished runs, where there are any; false by default."""
