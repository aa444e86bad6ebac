"""What a run asks of the cluster."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from prolu.spec.base import Integer, Number, Spec, refusal


def _in_hundredths(gpus: float) -> float:
    """Ray refuses finer fractions than it can count, so what could never start is refused here."""
    if not 0 <= gpus <= 1 or gpus != round(gpus, 2):
        raise refusal(f"must be 0, or 0.01 to 1 in hundredths; got {gpus}")
    return gpus


GpuShare = Annotated[Number, AfterValidator(_in_hundredths), Field(json_schema_extra={"minimum": 0, "maximum": 1})]


class ResourcesSpec(Spec):
    """Reserved for the run on one node; the number of CPUs is also the number of torch threads."""

    gpus: GpuShare = 0.0
    """Share of a GPU, in hundredths; 0 trains on the CPU. Default 0, so that a laptop works."""
    cpus: Annotated[Integer, Field(ge=1, le=1_024)] = 1
    """CPU cores, and torch threads: part of what makes a run repeatable to the bit. Default 1."""
    memory_gb: Annotated[Number, Field(gt=0, le=65_536)] = 2.0
    """Memory the node must have free, in GiB. Default 2."""
