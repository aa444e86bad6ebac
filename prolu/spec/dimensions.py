"""What a place in a run is varied over: the lists and series of a grid, and the distributions that are drawn from.

Any of them may hold only `when` other places have certain values. The language only; `service.domain.expansion` counts
series out and draws.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from prolu.spec.base import LARGEST, LEAST, Integer, Plain, Spec, refusal
from prolu.spec.mistakes import kind_of
from prolu.spec.text import SpecPath

MOST_VALUES = 1_000

When = dict[SpecPath, Plain]


def _numeric(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refusal(f"must be a number; got {kind_of(value)}")
    if not -LARGEST <= value <= LARGEST:
        raise refusal(f"must be from {-LARGEST:g} to {LARGEST:g}; got {str(value)[:40]}")
    return value + 0


# A number that stays what was written: 8 is a whole number, for fields that want one, and 8.0 is not.
Numeric = Annotated[
    Any,
    AfterValidator(_numeric),
    WithJsonSchema({"type": "number", "minimum": -LARGEST, "maximum": LARGEST}),
]


class Values(Spec):
    """A list of values, as in a plain list, that may hold only under a condition."""

    kind: Literal["values"] = "values"
    """A list, with a condition."""
    values: Annotated[list[Plain], Field(min_length=1, max_length=MOST_VALUES)]
    """The values, in order."""
    when: When = {}
    """Values of other places with which this holds, one or a list of each; elsewhere it sets nothing. By default everywhere."""


class Geometric(Spec):
    """start, start * factor, start * factor^2, ...: `count` values, to 6 significant digits; whole ones stay whole."""

    kind: Literal["geometric"] = "geometric"
    """A geometric series."""
    start: Numeric
    """First value, greater than 0."""
    factor: Numeric | None = None
    """Each value over the one before it, greater than 0; give this or `stop`. By default what leads to `stop`."""
    stop: Numeric | None = None
    """Last value, greater than 0; give this or `factor`. By default where `factor` leads."""
    count: Annotated[Integer, Field(ge=2, le=MOST_VALUES)]
    """Number of values."""
    when: When = {}
    """Values of other places with which this holds, one or a list of each; elsewhere it sets nothing. By default everywhere."""

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if (self.factor is None) == (self.stop is None):
            given = "neither" if self.factor is None else "both"
            raise refusal(f"must have factor or stop; got {given}")
        for name in ("start", "factor", "stop"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise refusal(f"must be greater than 0; got {value}", name)
        if self.factor == 1:
            raise refusal("is 1, with which all values are the same; choose another", "factor")
        if self.stop == self.start:
            raise refusal(f"is {self.stop}, as is start; choose another", "stop")
        if self.factor is not None:
            last = math.log10(self.start) + (self.count - 1) * math.log10(self.factor)
            if not math.log10(LEAST) <= last <= math.log10(LARGEST):
                raise refusal(f"leads to about 1e{last:.0f}; lower count, or choose another factor", "count")
        return self


class Range(Spec):
    """start, start + step, ...: up to `stop`, which belongs to it if the steps meet it."""

    kind: Literal["range"] = "range"
    """An arithmetic series."""
    start: Numeric
    """First value."""
    stop: Numeric
    """No value lies beyond this."""
    step: Numeric = 1
    """Each value minus the one before it. Default 1."""
    when: When = {}
    """Values of other places with which this holds, one or a list of each; elsewhere it sets nothing. By default everywhere."""

    @model_validator(mode="after")
    def _gets_there(self) -> Self:
        if self.step == 0:
            raise refusal("is 0, with which no value follows; choose another", "step")
        steps = (self.stop - self.start) / self.step
        if steps < 0:
            raise refusal(f"leads away from stop ({self.stop}); change its sign", "step")
        if steps >= MOST_VALUES:
            raise refusal(f"makes more than {MOST_VALUES} values; choose a larger one", "step")
        return self


def _form(value: Any) -> str | None:
    """Tell a plain list from the mappings that have a kind; whatever is neither is judged as a list."""
    if isinstance(value, Values | Geometric | Range):
        return value.kind
    if not isinstance(value, dict):
        return "list"
    return None if "kind" not in value else str(value["kind"])


_List = Annotated[list[Plain], Field(min_length=1, max_length=MOST_VALUES)]
GridValues = Annotated[
    Annotated[_List, Tag("list")]
    | Annotated[Values, Tag("values")]
    | Annotated[Geometric, Tag("geometric")]
    | Annotated[Range, Tag("range")],
    Discriminator(_form),
]


class Uniform(Spec):
    """Any number between two, each as likely as the others; 6 significant digits."""

    kind: Literal["uniform"] = "uniform"
    """A uniform distribution."""
    low: Numeric
    """Least value."""
    high: Numeric
    """Largest value, greater than `low`."""
    when: When = {}
    """Values of other places with which this holds, one or a list of each; elsewhere it sets nothing. By default everywhere."""

    @model_validator(mode="after")
    def _is_wide(self) -> Self:
        _require_width(self.low, self.high)
        return self


class LogUniform(Spec):
    """Any number between two, each order of magnitude as likely as the others; 6 significant digits."""

    kind: Literal["log_uniform"] = "log_uniform"
    """A uniform distribution of the logarithm."""
    low: Numeric
    """Least value, greater than 0."""
    high: Numeric
    """Largest value, greater than `low`."""
    when: When = {}
    """Values of other places with which this holds, one or a list of each; elsewhere it sets nothing. By default everywhere."""

    @model_validator(mode="after")
    def _is_wide(self) -> Self:
        if self.low <= 0:
            raise refusal(f"must be greater than 0; got {self.low}", "low")
        _require_width(self.low, self.high)
        return self


class IntegerBetween(Spec):
    """Any whole number between two, in steps, each as likely as the others."""

    kind: Literal["integer"] = "integer"
    """A uniform distribution of whole numbers."""
    low: Annotated[Integer, Field(ge=-(2**53), le=2**53)]
    """Least value."""
    high: Annotated[Integer, Field(ge=-(2**53), le=2**53)]
    """Largest value, greater than `low`, and a whole number of steps above it."""
    step: Annotated[Integer, Field(ge=1, le=2**53)] = 1
    """Values are `low` plus multiples of this. Default 1."""
    when: When = {}
    """Values of other places with which this holds, one or a list of each; elsewhere it sets nothing. By default everywhere."""

    @model_validator(mode="after")
    def _is_wide(self) -> Self:
        _require_width(self.low, self.high)
        if (self.high - self.low) % self.step:
            nearest = self.high - (self.high - self.low) % self.step
            raise refusal(f"is {self.high}, between two steps of {self.step}; write {nearest}", "high")
        return self


class Choice(Spec):
    """One of a list, each as likely as the others."""

    kind: Literal["choice"] = "choice"
    """A choice from a list."""
    values: Annotated[list[Plain], Field(min_length=1, max_length=MOST_VALUES)]
    """What is chosen from: numbers, texts, or whole mappings."""
    when: When = {}
    """Values of other places with which this holds, one or a list of each; elsewhere it sets nothing. By default everywhere."""

    @model_validator(mode="after")
    def _differ(self) -> Self:
        for index, value in enumerate(self.values):
            if (first := self.values.index(value)) != index and type(self.values[first]) is type(value):
                raise refusal(f"is the same as values.{first}; remove one of the two", "values", index)
        return self


Distribution = Annotated[Uniform | LogUniform | IntegerBetween | Choice, Field(discriminator="kind")]
Space = Annotated[dict[SpecPath, Distribution], Field(min_length=1, max_length=100)]


def _require_width(low: float, high: float) -> None:
    if low >= high:
        raise refusal(f"must be greater than low ({low}); got {high}", "high")
