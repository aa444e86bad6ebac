"""What a client sends to submit work."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from prolu.client.wire.base import Request
from prolu.spec.base import Integer
from prolu.spec.run import RunSpec
from prolu.spec.sweep import SweepSpec

Priority = Annotated[Integer, Field(ge=0, le=100)]


class RunCreate(Request):
    """Submit one run."""

    spec: RunSpec
    """What to train."""
    priority: Priority = 50
    """0 to 100; higher goes first. Default 50."""


class SweepCreate(Request):
    """Submit a sweep."""

    spec: SweepSpec
    """What to vary."""
    priority: Priority = 50
    """0 to 100, for every run of the sweep. Default 50."""
