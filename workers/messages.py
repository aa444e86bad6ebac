"""What the dispatcher and an actor say to each other: plain values, so that both sides may be of different versions.

Reports travel as JSON text and are validated where they arrive. Knows neither Ray nor torch nor SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import TypeAdapter

from prolu.spec.report import Report

_REPORTS: TypeAdapter[Report] = TypeAdapter(Report)


class Attempt(NamedTuple):
    """One try at a run; every message names it."""

    run_id: str
    epoch: int

    def __str__(self) -> str:
        return f"{self.run_id}/e{self.epoch}"


class Assignment(NamedTuple):
    """What an actor is to train."""

    attempt: Attempt
    spec: str
    """The RunSpec as JSON."""
    resume_from: str | None
    """Folder of a checkpoint below the artifact root; None starts from scratch."""


class Surroundings(NamedTuple):
    """What an actor may touch on its node, by the operator's settings; no credentials of ours among it."""

    artifact_root: str
    cache_dir: str
    data_roots: tuple[str, ...]
    hub_online: bool
    orphan_seconds: float


class Message(NamedTuple):
    """One report of one attempt; `seq` counts from 1 within the attempt."""

    attempt: Attempt
    seq: int
    report: str
    """The Report as JSON."""


class Reply(NamedTuple):
    """An actor's answer to a poll."""

    node: str
    messages: list[Message]
    nodes: tuple[str, ...] = ()
    """Of a gang, the nodes of its ranks as far as they have answered, in order of ranks; else empty."""
    devices: tuple[tuple[str, ...], ...] = ()
    """The GPUs that Ray gave each rank, as far as they have answered, in order of ranks."""


class ChoreOrder(NamedTuple):
    """A small job on a checkpoint."""

    kind: str
    """`export` or `recompute`."""
    format: str
    """For which library it is exported; empty for other kinds."""
    artifact_root: str
    checkpoint: str
    """Folder of the checkpoint below the artifact root."""
    target: str
    """Folder below the artifact root that only this attempt writes to."""


class ChoreAnswer(NamedTuple):
    """What came of it."""

    outcome: Literal["done", "failed", "lost"]
    """Whether it is done, cannot be done, or may be tried again."""
    told: str
    """What was made, as JSON; or why not, in a sentence."""


# The highest seq of each attempt that the database holds; an actor forgets messages up to it.
Acks = Mapping[Attempt, int]


def write_report(report: Report) -> str:
    """Turn a report into the JSON of a message."""
    return _REPORTS.dump_json(report).decode()


def read_report(text: str) -> Report:
    """Turn the JSON of a message into a report. Raises pydantic.ValidationError for anything else."""
    return _REPORTS.validate_json(text)
