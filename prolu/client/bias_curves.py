"""Bias statistics against a field, as the service found them: to look at, to compute with, to keep in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from prolu.client.columns import percent, safe, shown
from prolu.client.histograms import sparkline
from prolu.client.records import Records, evened
from prolu.client.wire import BiasCurve, BiasCurvePoint, BiasCurvesRead, Spread

if TYPE_CHECKING:
    from rich.table import Table

_SHARES = ("fraction_negative", "fraction_zero", "fraction_positive")
_COLUMNS = {
    "b < 0": "fraction_negative",
    "b = 0": "fraction_zero",
    "slack b > 0": "fraction_positive",
    "min": "min",
    "median": "median",
    "mean": "mean",
    "max": "max",
}


class BiasCurves(Records, Sequence[BiasCurve]):
    """A curve for each family; `read` is the answer as it came, with the edges of all histograms."""

    def __init__(self, read: BiasCurvesRead) -> None:
        self.read = read

    def __len__(self) -> int:
        return len(self.read.curves)

    @overload
    def __getitem__(self, index: int) -> BiasCurve: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[BiasCurve]: ...
    def __getitem__(self, index: int | slice) -> BiasCurve | Sequence[BiasCurve]:
        return self.read.curves[index]

    def __iter__(self) -> Iterator[BiasCurve]:
        return iter(self.read.curves)

    def records(self) -> list[dict[str, Any]]:
        """One flat mapping per family and value: `bias.mean.mean`, `.std`, `.low`, `.high`, `.n`, and the shares by bin."""
        return evened([self._record(curve, point) for curve in self for point in curve.points])

    def table(self, title: str | None = None) -> Table:
        """A rich table: a row per family and value, numbers as mean ± standard deviation over the runs, and histograms."""
        from rich.table import Table

        edges = self.read.edges
        table = Table(title=title, title_justify="left", header_style="bold")
        for name in ("family", safe(self.read.x)):
            table.add_column(name)
        for name in ("runs", *_COLUMNS):
            table.add_column(name, justify="right")
        if edges:
            table.add_column(f"{edges[0]:.3g} to {edges[-1]:.3g}")
        for curve in self:
            for point in curve.points:
                numbers = [_cell(name, point.numbers.get(name)) for name in _COLUMNS.values()]
                cells = [safe(curve.family or ""), safe(shown(point.x)), str(len(point.run_ids)), *numbers]
                table.add_row(*cells, *([sparkline(point.shares)] if edges else []))
        table.caption = "mean ± standard deviation over runs"
        return table

    def _record(self, curve: BiasCurve, point: BiasCurvePoint) -> dict[str, Any]:
        record: dict[str, Any] = {"family": curve.family, self.read.x: point.x, "run_ids": [*map(str, point.run_ids)]}
        for name, spread in point.numbers.items():
            record |= {f"bias.{name}.{part}": value for part, value in spread.model_dump().items()}
        return {**record, "edges": self.read.edges, "shares": point.shares}


def _cell(name: str, spread: Spread | None) -> str:
    if spread is None:
        return "-"
    if name in _SHARES:
        mean = percent(spread.mean)
        return mean if spread.std is None else f"{mean} ± {100 * spread.std:.1f}"
    return f"{spread.mean:.3g}" if spread.std is None else f"{spread.mean:.3g} ± {spread.std:.1g}"
