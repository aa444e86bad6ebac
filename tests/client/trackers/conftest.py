"""A run of four steps with numbers that can be told apart, as the trackers are to show it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import pytest

from prolu.client import Client
from prolu.spec.report import MetricPoint, Succeeded
from tests.client.desk import RUN, Desk, snapshot


@dataclass(frozen=True)
class Told:
    """A run, and the desk that tells more of it."""

    id: UUID
    desk: Desk

    def tell(self, *steps: int) -> None:
        """A batch's metrics at steps, and biases at every fiftieth."""
        for step in steps:
            values = {"l0": step / 2, "fvu": 0.5}
            self.desk.report(self.id, MetricPoint(split="train", step=step, tokens=10 * step, values=values))
            if step % 50 == 0:
                self.desk.report(self.id, snapshot(step, -1.0))

    def end(self) -> None:
        """Held-out metrics at the last step, and the end."""
        held_out = MetricPoint(split="held_out", step=100, tokens=1000, values={"l0": 8.0, "fvu": 0.25})
        self.desk.report(self.id, held_out, Succeeded(step=100, metrics={"l0": 8.0, "fvu": 0.25}))


@pytest.fixture
def live(client: Client, desk: Desk) -> Told:
    """A run that trains, and has told steps 0 to 75."""
    run = client.runs.submit({**RUN, "name": "a / odd name"})
    client.runs.tag(run.id, "baseline", "figure:3")
    client.runs.note(run.id, "the **one** with the long warm-up")
    desk.claim()
    told = Told(run.id, desk)
    told.tell(0, 25, 50, 75)
    return told


@pytest.fixture
def ended(live: Told) -> Told:
    """The same, when it has succeeded at step 100."""
    live.tell(100)
    live.end()
    return live
