"""What a run asks of the cluster."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from prolu.spec.base import Integer, Number, Spec


class ResourcesSpec(Spec):
    """Reserved for the run on one node; the number of CPUs is also the number of torch threads."""

    gpus: Annotated[Number, Field(ge=0, le=1)] = 0.0
    """Share of a GPU; 0 trains on the CPU. Default 0, so that a laptop works."""
    cpus: Annotated[Integer, Field(ge=1, le=1_024)] = 1
    """CPU cores, and torch threads: part of what makes a run repeatable to the bit. Default 1."""
    memory_gb: Annotated[Number, Field(gt=0, le=65_536)] = 2.0
    """Memory the node must have free, in GiB. Default 2."""
