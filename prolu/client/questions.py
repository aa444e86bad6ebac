"""`client.results`: questions about any runs at once, chosen by a filter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal
from uuid import UUID

from prolu.client.bias_curves import BiasCurves
from prolu.client.frontiers import Frontier
from prolu.client.http import Http, path_id
from prolu.client.replacing import replacing
from prolu.client.tables import ResultTable
from prolu.client.wire import (
    BiasCurvesRead,
    BiasesRequest,
    FrontierRead,
    FrontierRequest,
    ResultColumn,
    ResultsPage,
    ResultsQuery,
    Seeds,
    SeriesRead,
    SeriesRequest,
)
from prolu.spec import validate
from prolu.spec.pareto import Goal

_PAGE = 5_000


class Questions:
    """What all runs of the lab together can tell."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def query(
        self, filter: str = "", *, order_by: str = "", fields: Sequence[str] | None = None, limit: int | None = None
    ) -> ResultTable:
        """A row for each run that a filter finds; all of them unless `limit` says how many. Raises SpecError, Invalid.

            client.results.query('state = "succeeded" AND metrics.l0 <= 50', order_by="metrics.fvu", fields=["id", "metrics.*"])

        `order_by` names paths, each with `desc` if it falls; `fields` what to show, by default what tells runs apart, metrics and
        biases. The reference of the filter language is in the documentation.
        """
        columns: Sequence[ResultColumn] = ()
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            size = _PAGE if limit is None else min(_PAGE, limit - len(items))
            body = _question(filter, order_by, fields, limit=size, cursor=cursor)
            page = self._http.post("/v1/results:query", ResultsPage, body)
            columns, cursor = page.columns, page.next_cursor
            items += page.items
            if cursor is None or len(items) == limit:
                return ResultTable.read(columns, items)

    def download(
        self,
        path: str | Path,
        filter: str = "",
        *,
        order_by: str = "",
        fields: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> None:
        """The same as a file that the service writes, of the kind that `path` ends in: .parquet, .csv or .arrow (a stream).

        However many rows there are, they are not held in memory; a file that is there stays until all have come. Raises
        ValueError, SpecError, Invalid, ConnectionFailed.

        Example: `client.results.download("all.parquet", 'state = "succeeded"', fields=["id", "spec.*", "metrics.*"])`.
        """
        formats: dict[str, Literal["parquet", "csv", "arrow"]] = {
            ".parquet": "parquet",
            ".csv": "csv",
            ".arrow": "arrow",
        }
        ending = Path(path).suffix
        if ending not in formats:
            raise ValueError(f"The path must end in {', '.join(formats)}; got {str(path)!r}.")
        with replacing(path) as beside, beside.open("wb") as file:
            self.write(file, formats[ending], filter, order_by=order_by, fields=fields, limit=limit)

    def write(
        self,
        file: IO[bytes],
        kind: Literal["parquet", "csv", "arrow"],
        filter: str = "",
        *,
        order_by: str = "",
        fields: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> None:
        """The same into an open file; `kind` is parquet, csv or arrow. Raises SpecError, Invalid, ConnectionFailed.

        Example: `client.results.write(sys.stdout.buffer, "csv", "metrics.l0 <= 50")`.
        """
        body = _question(filter, order_by, fields, limit=limit, cursor=None)
        with self._http.stream_answer("/v1/results:query", body, {"format": kind}) as answer:
            for chunk in answer.iter_bytes():
                file.write(chunk)

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
        """The Pareto frontier of each family of the runs that a filter finds, over any two numbers. Raises SpecError, Invalid.

            client.results.frontier('spec.data.kind = "language_model"', y="metrics.ce_loss_score", seeds="mean")

        `by` is `family` (kind of autoencoder and gradient), a path, or `none`; `seeds="mean"` makes one point of repetitions.
        """
        body = validate(
            {
                "filter": filter,
                "x": x,
                "y": y,
                "x_goal": x_goal,
                "y_goal": y_goal,
                "by": by,
                "seeds": seeds,
                "dominated": dominated,
            },
            FrontierRequest,
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
        """Metrics over steps of at most 50 runs, named or found by a filter; each in at most so many points.

        Both ends of a series stay, and of equal spans of steps the smallest and the largest value; None is a gap.
        Raises SpecError, Invalid, NotFound.

        Example: `client.results.series([run.id], names=["l0"], split="train").series[0].values`.
        """
        body = validate(
            {
                "run_ids": [path_id(run) for run in runs],
                "filter": filter,
                "names": [*names],
                "split": split,
                "from_step": from_step,
                "to_step": to_step,
                "points": points,
            },
            SeriesRequest,
        )
        return self._http.post("/v1/results:series", SeriesRead, body)

    def biases(
        self,
        filter: str = "",
        *,
        x: str = "spec.sparsity.coefficient",
        by: str = "family",
        latents: Literal["all", "alive", "dead"] = "all",
        bins: int = 24,
    ) -> BiasCurves:
        """The last biases of the runs that a filter finds, against a field: numbers with their spread, histograms on equal bins.

            client.results.biases('spec.sae.kind = "prolu"', x="spec.sae.d_sae", by="none").to_arrow()

        With `bins=0`, of all latents, they are numbers alone, of up to 50,000 runs. Raises SpecError, Invalid.
        """
        body = validate({"filter": filter, "x": x, "by": by, "latents": latents, "bins": bins}, BiasesRequest)
        return BiasCurves(self._http.post("/v1/results:biases", BiasCurvesRead, body))


def _question(
    filter: str, order_by: str, fields: Sequence[str] | None, *, limit: int | None, cursor: str | None
) -> ResultsQuery:
    chosen = None if fields is None else [*fields]
    return validate(
        {"filter": filter, "order_by": order_by, "fields": chosen, "limit": limit, "cursor": cursor}, ResultsQuery
    )
