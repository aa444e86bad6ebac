"""What a run asks of the cluster."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from prolu.spec.base import Integer, Number, Spec, UnsignedZero, refusal


def _in_hundredths(gpus: float) -> float:
    """Ray refuses finer fractions than it can count, so what could never start is refused here."""
    if not 0 <= gpus <= 1 or gpus != round(gpus, 2):
        raise refusal(f"must be 0, or 0.01 to 1 in hundredths; got {gpus}")
    return gpus


GpuShare = Annotated[
    Number, UnsignedZero, AfterValidator(_in_hundredths), Field(json_schema_extra={"minimum": 0, "maximum": 1})
]


GpuType = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Seconds = Annotated[Number, Field(ge=0.1, le=1e9)]


class ResourcesSpec(Spec):
    """Reserved for each rank of the run, on one node; the number of CPUs is also the number of its torch threads."""

    ranks: Annotated[Integer, Field(ge=1, le=256)] = 1
    """Workers that train the run together, each on an equal part of every batch; they start at once or not at all. Default 1."""
    gpus: GpuShare = 0.0
    """Share of a GPU, in hundredths; 0 trains on the CPU. Default 0, so that a laptop works."""
    gpu_type: GpuType | None = None
    """Only GPUs of this type, as Ray names it in `accelerator_type`, such as `A100` or `H100`; by default any."""
    cpus: Annotated[Integer, Field(ge=1, le=1_024)] = 1
    """CPU cores, and torch threads: part of what makes a run repeatable to the bit. Default 1."""
    memory_gb: Annotated[Number, Field(gt=0, le=65_536)] = 2.0
    """Memory the node must have free, in GiB. Default 2."""


class LimitsSpec(Spec):
    """How long a run may take before it is ended; not part of the digest, since it changes no weight."""

    run_seconds: Seconds | None = None
    """Time that one attempt may train; it then checkpoints, and the run fails with `timeout`. No limit by default."""
    start_seconds: Seconds | None = None
    """Time that one attempt may take from its claim to its first report; it then counts as lost. The service's own by default."""
    no_progress_seconds: Seconds | None = None
    """Time that one attempt may report nothing new before it is ended with `timeout`. The service's own by default."""
