"""A sweep: one base run and the dimensions along which it is varied.

The language only; `service.domain.expansion` turns it into runs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from prolu.spec.base import Integer, Spec
from prolu.spec.run import Name

# A place in a run: `sae.estimator.kind`, `sparsity.coefficient`.
SpecPath = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$", max_length=200)]
GridValues = Annotated[list[Any], Field(min_length=1, max_length=1_000)]


class Variant(Spec):
    """One named alternative: places that are set together, and a grid of its own."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    """Label of the alternative; becomes part of the run's name and groups results."""
    set: dict[SpecPath, Any] = {}
    """Values by path, such as `sae.kind: relu`."""
    grid: dict[SpecPath, GridValues] = {}
    """Lists of values by path that hold for this alternative only, such as its own coefficients."""


class SweepSpec(Spec):
    """variants x grid: every alternative with every combination of the grid's values; each resulting run is validated."""

    version: Literal[1] = 1
    """Version of the job language."""
    name: Name = ""
    """Label for people, at most 200 characters."""
    base: dict[str, Any]
    """A run, which may leave out what the variants and the grid set."""
    variants: Annotated[list[Variant], Field(max_length=1_000)] = []
    """Alternatives; none means the base alone."""
    grid: dict[SpecPath, GridValues] = {}
    """Lists of values by path, combined with every alternative."""
    max_concurrent: Annotated[Integer, Field(ge=1)] | None = None
    """At most so many runs of this sweep train at once; no limit by default."""
