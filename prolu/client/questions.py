"""`client.results`: questions about any runs at once, chosen by a filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from prolu.client.frontiers import Frontier
from prolu.client.http import Http
from prolu.client.wire import FrontierRead, FrontierRequest, Seeds, SeriesRead, SeriesRequest
from prolu.spec.pareto import Goal


class Questions:
    """What all runs of the lab together can tell."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def frontier(
        self,
        filter: str = "",
        *,
        x: str = "metrics.l0",
        y: str = "metrics.fvu",
        x_goal: Goal | None = None,
        y_goal: Goal | None = None,
        by: str = "family",
        seeds: Seeds = "each",
        dominated: bool = False,
    ) -> Frontier:
        """The Pareto frontier of each family of the runs that a filter finds, over any two numbers. Raises Invalid.

            client.results.frontier('spec.data.kind = "language_model"', y="metrics.ce_loss_score", seeds="mean")

        `by` is `family` (kind of autoencoder and gradient), a path, or `none`; `seeds="mean"` makes one point of repetitions.
        """
        body = FrontierRequest(
            filter=filter, x=x, y=y, x_goal=x_goal, y_goal=y_goal, by=by, seeds=seeds, dominated=dominated
        )
        return Frontier(self._http.post("/v1/results:frontier", FrontierRead, body))

    def series(
        self,
        runs: Sequence[UUID | str] = (),
        *,
        filter: str = "",
        names: Sequence[str] = ("l0", "fvu"),
        split: Literal["train", "held_out"] | None = None,
        from_step: int | None = None,
        to_step: int | None = None,
        points: int = 200,
    ) -> SeriesRead:
        """Metrics over steps of at most 50 runs, named or found by a filter; each in at most so many points. Raises NotFound.

        Both ends of a series stay, and of equal spans of steps the smallest and the largest value; None is a gap.
        """
        body = SeriesRequest(
            run_ids=[UUID(str(run)) for run in runs],
            filter=filter,
            names=[*names],
            split=split,
            from_step=from_step,
            to_step=to_step,
            points=points,
        )
        return self._http.post("/v1/results:series", SeriesRead, body)
