"""What every tracker must do: open a book for a run, say how far it is written, take rows, and be closed.

A book that is opened again goes on where it stopped. So an export can be repeated, or broken off, without a point twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from prolu.client.errors import ProluError
from prolu.client.trackers.rows import Row
from prolu.client.wire import RunRead

# What the parts of a spec that are no numbers of their own are written as.
Parameter = str | int | float | bool


@dataclass(frozen=True)
class Subject:
    """A run as trackers know it."""

    run: RunRead
    sweep: str | None
    """Name of its sweep, which groups runs; None where it belongs to none."""
    url: str
    """Address of the run at the service."""

    @property
    def title(self) -> str:
        """What people call it: its name, and the end of its id, which tells namesakes apart."""
        label = self.run.name or self.run.variant or "run"
        return f"{label} {str(self.run.id)[-8:]}"

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The spec as hyperparameters by path, such as `sparsity.coefficient`; lists as JSON, without what is null."""
        return dict(sorted(_flat("", self.run.spec.model_dump(mode="json", exclude={"name"}))))

    @property
    def facts(self) -> dict[str, str]:
        """What else is known of it, by name: what it is, and how it is now."""
        run = self.run
        now = {"state": run.state, "message": run.message, "stopped_early": run.stopped_early}
        return self.lasting_facts | {name: value for name, value in now.items() if value is not None}

    @property
    def lasting_facts(self) -> dict[str, str]:
        """What will never be otherwise of it, by name."""
        run = self.run
        said = {
            "run_id": str(run.id),
            "sweep_id": run.sweep_id,
            "variant": run.variant,
            "owner": run.owner,
            "digest": run.digest,
            "url": self.url,
            "reused_from": run.reused_from,
        }
        return {name: str(value) for name, value in said.items() if value is not None}


class ExportFailed(ProluError):
    """The tracker did not take what was to be exported; the sentence is its own."""


class Book(Protocol):
    """The part of a tracker that one run is written into."""

    @property
    def place(self) -> str:
        """Where it is, for people."""

    @property
    def last_step(self) -> int:
        """Step of the last row that is in it; -1 of none."""

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows beyond `last_step`, by step, durably."""

    def close(self, subject: Subject) -> None:
        """Say how the run is now, and let go. One that has not ended can be opened again."""


class Tracker(Protocol):
    """Somewhere that runs can be exported to."""

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What its package raises on purpose. Raises MissingPackage."""

    def open(self, subject: Subject) -> Book:
        """The book of a run: a new one, or the one that was begun before. Raises one of `failures`."""


def final_metrics(subject: Subject) -> dict[str, float]:
    """What the run came to, apart from the series: the final held-out metrics, once there are any."""
    return {f"final/{name}": value for name, value in (subject.run.metrics or {}).items()}


def _flat(path: str, value: Any) -> list[tuple[str, Parameter]]:
    if isinstance(value, Mapping):
        return [pair for name, part in value.items() for pair in _flat(f"{path}.{name}" if path else str(name), part)]
    if value is None:
        return []
    return [(path, value if isinstance(value, str | int | float | bool) else json.dumps(value, sort_keys=True))]
