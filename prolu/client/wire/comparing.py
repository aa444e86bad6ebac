"""Runs against each other: the Pareto frontier of each family, series of metrics, biases against
a field, and a few runs side by side."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from prolu.client.wire.base import Request, Wire
from prolu.client.wire.results import SeedEstimate, SparsityLevel
from prolu.client.wire.runs import RunState
from prolu.spec.base import Flag, Integer
from prolu.spec.pareto import Goal

FilterText = Annotated[str, Field(max_length=4000)]
Path = Annotated[str, Field(min_length=1, max_length=200)]
Seeds = Literal["each", "mean"]
MetricName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]


class FrontierRequest(Request):
    """Which runs, which two numbers of them, and how they are divided and averaged."""

    filter: FilterText = ""
    """Which runs, in the filter language; by default all. Only those that succeeded and are not superseded count."""
    x: Path = "metrics.l0"
    """Path of one number."""
    y: Path = "metrics.fvu"
    """Path of the other; every run has an fvu, and those on language models a ce_loss_score too."""
    x_goal: Goal | None = None
    """Which way x is better; null is what is known of it: lower of l0 and fvu, higher of ce_loss_score, and so on."""
    y_goal: Goal | None = None
    """The same for y."""
    by: Path = "family"
    """What each frontier is of: a `family` (kind of autoencoder and its gradient), the runs of one value of a path, or `none`."""
    seeds: Seeds = "each"
    """A point for each run, or for the mean of runs that differ in `training.seed` (and name and limits) alone."""
    dominated: Flag = False
    """Whether points that others of their family better come along."""


class FrontierAxis(Wire):
    """A number, and which way is better."""

    path: str
    """Its path."""
    goal: Goal
    """Which way is better."""


class FrontierPoint(Wire):
    """A run, or the mean of runs that differ in their seed alone."""

    run_ids: list[UUID]
    """The run, or all of them."""
    name: str
    """Label of the first."""
    level: SparsityLevel | None
    """What decides how sparse it becomes."""
    x: float
    """One number."""
    y: float
    """The other."""
    x_estimate: SeedEstimate | None = None
    """How sure x is; null where runs stand singly."""
    y_estimate: SeedEstimate | None = None
    """How sure y is."""
    dominated: bool
    """Whether another point of its family is as good in both numbers and better in one."""
    overall: bool
    """Whether no point of any family is so."""


class FrontierFamily(Wire):
    """One frontier."""

    family: str | None
    """Kind and gradient, or the value of the path; null where runs have none there, or where nothing divides them."""
    count: int
    """Points that were looked at, dominated ones included."""
    points: list[FrontierPoint]
    """The frontier from the best x to the worst; equal points all stand. Then, if asked for, the dominated ones likewise."""


class FrontierRead(Wire):
    """The Pareto frontier of each family."""

    x: FrontierAxis
    """One number."""
    y: FrontierAxis
    """The other."""
    by: str
    """What each frontier is of."""
    seeds: Seeds
    """Whether runs stand singly, or as means over seeds."""
    families: list[FrontierFamily]
    """By name."""
    left_out: int
    """Runs that succeeded but lack one of the numbers, or have one that is not finite."""


class SeriesRequest(Request):
    """Which runs, and what of their metrics."""

    run_ids: Annotated[list[UUID], Field(max_length=50)] = []
    """The runs; or leave them out and give a filter."""
    filter: FilterText = ""
    """Which runs, in the filter language, if they are not named: at most 50."""
    names: Annotated[list[MetricName], Field(min_length=1, max_length=20)] = ["l0", "fvu"]
    """Metrics."""
    split: Literal["train", "held_out"] | None = None
    """Only training batches, or only evaluations."""
    from_step: Annotated[Integer, Field(ge=0, lt=2**63)] | None = None
    """Not before this step."""
    to_step: Annotated[Integer, Field(ge=0, lt=2**63)] | None = None
    """Not after this step."""
    points: Annotated[Integer, Field(ge=5, le=5000)] = 200
    """At most so many points of each series: both ends, and the smallest and largest value of equal spans of steps."""


class MetricSeries(Wire):
    """One metric of one run over its steps."""

    run_id: UUID
    """The run."""
    run_name: str
    """Its label."""
    name: str
    """The metric."""
    split: Literal["train", "held_out"]
    """One training batch each, or the whole evaluation set."""
    steps: list[int]
    """Optimizer steps done, rising."""
    values: list[float | None]
    """The value at each step; null is a gap, where it was not finite or not measured."""
    measured: int
    """Points that there are in all, of which these are some."""


class SeriesRead(Wire):
    """Metrics over steps, to be drawn together."""

    series: list[MetricSeries]
    """By run as asked for (the newest first, by filter), then by metric and split; without those of which nothing is known."""


class BiasesRequest(Request):
    """Which runs, against what their biases are told, and how they are divided."""

    filter: FilterText = ""
    """Which runs, in the filter language; by default all. Only those that succeeded and are not superseded count."""
    x: Path = "spec.sparsity.coefficient"
    """Path of what the biases are told against: a number, a text or a flag."""
    by: Path = "family"
    """What each curve is of: a `family` (kind of autoencoder and its gradient), the runs of one value of a path, or `none`."""
    latents: Literal["all", "alive", "dead"] = "all"
    """Which latents."""
    bins: Annotated[Integer, Field(ge=0, le=200)] = 24
    """Bins of the histograms; 0 leaves them out, which takes far less reading."""


class Spread(Wire):
    """A number over several runs."""

    mean: float
    """Arithmetic mean."""
    std: float | None
    """Sample standard deviation; null for one run, where it is unknown."""
    low: float
    """Smallest."""
    high: float
    """Largest."""
    n: int
    """Runs that have the number."""


class BiasCurvePoint(Wire):
    """The biases of the runs of a family at one value."""

    x: bool | int | float | str | None
    """The value; null of runs that have none there."""
    run_ids: list[UUID]
    """The runs, oldest first: repetitions with other seeds, and whatever else differs between them."""
    numbers: dict[str, Spread]
    """fraction_negative, fraction_zero, fraction_positive, mean, std, min, max and median of b_enc in the last snapshots."""
    shares: list[float]
    """Share of the latents in each bin of `edges`, as a mean over the runs; empty without bins."""


class BiasCurve(Wire):
    """The biases of a family against the values."""

    family: str | None
    """Kind and gradient, or the value of the path; null where runs have none there, or where nothing divides them."""
    points: list[BiasCurvePoint]
    """By rising value."""


class BiasCurvesRead(Wire):
    """Bias statistics against a field."""

    x: str
    """Path of the field."""
    by: str
    """What each curve is of."""
    latents: Literal["all", "alive", "dead"]
    """Which latents."""
    edges: list[float]
    """Edges of all histograms, equally spaced over all biases; empty without bins."""
    curves: list[BiasCurve]
    """By name."""
    left_out: int
    """Runs that succeeded without a snapshot after the first step."""


class CompareRequest(Request):
    """Which runs to lay side by side."""

    run_ids: Annotated[list[UUID], Field(min_length=2, max_length=10)]
    """The runs, each once; all are compared with the first."""
    bins: Annotated[Integer, Field(ge=0, le=200)] = 24
    """Bins of the histograms of biases; 0 leaves them out."""


class ComparedRun(Wire):
    """A run among others."""

    id: UUID
    """Identity."""
    name: str
    """Label."""
    owner: str
    """Who submitted it."""
    state: RunState
    """Where it is in its life."""


class SpecDifference(Wire):
    """A place of the spec where the runs are not all alike."""

    path: str
    """The place, in the filter language."""
    values: list[Any]
    """What stands there, by run; null also where a run's kind of part has no such place."""


class MetricComparison(Wire):
    """A number of each run."""

    path: str
    """Its path: a final metric, or a number of the biases."""
    values: list[float | None]
    """By run; null where a run has none."""
    differences: list[float | None]
    """Each value minus the first run's; null where either is missing."""


class ComparedBiases(Wire):
    """The distribution of b_enc in the last snapshot of a run."""

    step: int
    """Step of the snapshot."""
    shares: list[float]
    """Share of the latents in each bin."""


class ComparisonRead(Wire):
    """Runs side by side; every list by run is in the order in which they were named."""

    runs: list[ComparedRun]
    """The runs."""
    spec: list[SpecDifference]
    """Where their specs differ, in the order of the language; names apart, which label and train nothing."""
    numbers: list[MetricComparison]
    """Final metrics, then numbers of the biases, that any of them has."""
    edges: list[float]
    """Edges of all histograms of biases; empty without bins, or if no run has a snapshot."""
    biases: list[ComparedBiases | None]
    """By run; null without a snapshot after the first step."""
