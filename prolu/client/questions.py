"""`client.results`: questions about any runs at once, chosen by a filter."""

from __future__ import annotations

from prolu.client.frontiers import Frontier
from prolu.client.http import Http
from prolu.client.wire import FrontierRead, FrontierRequest, Seeds
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
