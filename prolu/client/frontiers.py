"""Pareto frontiers, as the service found them: to look at, to compute with, to keep in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from prolu.client.columns import safe, shown, with_error
from prolu.client.drawing import scatter
from prolu.client.levels import in_words
from prolu.client.records import Records
from prolu.client.wire import FrontierFamily, FrontierPoint, FrontierRead

if TYPE_CHECKING:
    from rich.table import Table


class Frontier(Records, Sequence[FrontierFamily]):
    """The frontier of each family; `read` is the answer as it came."""

    def __init__(self, read: FrontierRead) -> None:
        self.read = read

    def __len__(self) -> int:
        return len(self.read.families)

    @overload
    def __getitem__(self, index: int) -> FrontierFamily: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FrontierFamily]: ...
    def __getitem__(self, index: int | slice) -> FrontierFamily | Sequence[FrontierFamily]:
        return self.read.families[index]

    def __iter__(self) -> Iterator[FrontierFamily]:
        return iter(self.read.families)

    def records(self) -> list[dict[str, Any]]:
        """One flat mapping per point, in the order of the answer; numbers are named by their paths."""
        return [self._record(front, point) for front in self for point in front.points]

    def table(self, title: str | None = None) -> Table:
        """A rich table: family, level and both numbers of each point; `*` marks those that no family betters."""
        from rich.table import Table

        table = Table(title=title, title_justify="left", header_style="bold")
        table.add_column("family")
        table.add_column("sparsity")
        for axis in (self.read.x, self.read.y):
            table.add_column(f"{axis.path} ({axis.goal} is better)", justify="right")
        table.add_column("runs", justify="right")
        table.add_column("", justify="left")
        for front in self:
            for point in front.points:
                mark = "dominated" if point.dominated else "*" if point.overall else ""
                numbers = (self._number(point.x, point.x_estimate), self._number(point.y, point.y_estimate))
                cells = (safe(front.family or ""), in_words(point.level), *numbers, str(len(point.run_ids)), mark)
                table.add_row(*cells, style="dim" if point.dominated else None)
        table.caption = "* no point of any family is better"
        return table

    def picture(self, *, width: int = 64, height: int = 18) -> list[str]:
        """The same points, drawn with characters; no line without any point."""
        points = {front.family or "runs": [(point.x, point.y) for point in front.points] for front in self}
        return scatter(points, width=width, height=height, x=self.read.x.path, y=self.read.y.path)

    @staticmethod
    def _number(value: float, estimate: Any) -> str:
        return shown(value) if estimate is None else with_error(estimate)

    def _record(self, front: FrontierFamily, point: FrontierPoint) -> dict[str, Any]:
        record: dict[str, Any] = {
            "family": front.family,
            "run_ids": [str(run) for run in point.run_ids],
            "name": point.name,
            "level": None if point.level is None else point.level.kind,
            "level_value": None if point.level is None else point.level.value,
            "dominated": point.dominated,
            "overall": point.overall,
        }
        for axis, value, estimate in (
            (self.read.x.path, point.x, point.x_estimate),
            (self.read.y.path, point.y, point.y_estimate),
        ):
            record[axis] = value
            if self.read.seeds == "mean":
                low, high = (estimate.interval if estimate else None) or (None, None)
                error = estimate.standard_error if estimate else None
                record |= {f"{axis}.standard_error": error, f"{axis}.low": low, f"{axis}.high": high}
        return record
