"""The results of a sweep as rows: to look at, to compute with, to keep in a file.

    Results       a row per run
    SeedResults   a row per group of runs that differ in their seed alone, with errors

Columns are named by one grammar everywhere: `spec.sparsity.coefficient` (what the sweep set), `metrics.l0`,
`bias.fraction_negative`; over seeds each number is four: `metrics.l0.mean`, `.standard_error`, `.low`, `.high`, and `.n`.
Where a variant was compared with another, so is `differences.l0`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from prolu.client.columns import (
    INTERVAL,
    coloured,
    heading,
    percent,
    percent_with_error,
    safe,
    setting_heading,
    shown,
    shown_biases,
    shown_metrics,
    telling_settings,
    with_error,
    with_interval,
)
from prolu.client.records import Records, evened
from prolu.client.wire import ResultRow, SeedEstimate, SeedGroupRead

if TYPE_CHECKING:
    from rich.table import Table


class Results(Records, Sequence[ResultRow]):
    """Rows of a sweep's results, in the order of its points, or as they come if they were `ordered` by something else."""

    always = ("run_id", "point", "name", "variant", "state", "step")

    def __init__(self, rows: Sequence[ResultRow], *, ordered: bool = False) -> None:
        self._rows = [*rows] if ordered else sorted(rows, key=lambda row: row.point)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> ResultRow: ...
    @overload
    def __getitem__(self, index: slice) -> Results: ...
    def __getitem__(self, index: int | slice) -> ResultRow | Results:
        return Results(self._rows[index], ordered=True) if isinstance(index, slice) else self._rows[index]

    def __iter__(self) -> Iterator[ResultRow]:
        return iter(self._rows)

    def records(self) -> list[dict[str, Any]]:
        """One flat mapping per run; every mapping has every column, None where a run has no value."""
        return evened([_flat_run(row) for row in self._rows])

    def table(self, title: str | None = None, *, everything: bool = False) -> Table:
        """A rich table: what was set, the state, the main metrics, and the share of negative biases; or all there is."""
        settings = telling_settings(self._rows)
        metrics = shown_metrics((row.metrics for row in self._rows), everything=everything)
        biases = shown_biases((row.bias for row in self._rows), everything=everything)
        table = _begun(title, self._rows, settings)
        table.add_column("state")
        for name in (*metrics, *map(heading, biases)):
            table.add_column(name, justify="right")
        for row in self._rows:
            numbers = [shown(row.metrics.get(name)) for name in metrics]
            numbers += [_bias_cell(name, row.bias.get(name)) for name in biases]
            table.add_row(*_place(row, self._rows, settings), _state(row), *numbers)
        return table

    def present(self, title: str | None = None, *, everything: bool = False) -> tuple[Table, str | None]:
        """The table, and None: only a comparison, of `SeedResults`, may lack what was asked for."""
        return self.table(title, everything=everything), None


class SeedResults(Records, Sequence[SeedGroupRead]):
    """Groups of a sweep's runs that differ in their seed alone, in the order of their first points.

    `against` names the variant with which the service compared the others, if it was asked to.
    """

    always = ("point", "variant", "seeds", "runs", "succeeded")

    def __init__(self, rows: Sequence[SeedGroupRead], *, against: str | None = None) -> None:
        self._rows = sorted(rows, key=lambda row: row.point)
        self._against = against

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> SeedGroupRead: ...
    @overload
    def __getitem__(self, index: slice) -> SeedResults: ...
    def __getitem__(self, index: int | slice) -> SeedGroupRead | SeedResults:
        if isinstance(index, slice):
            return SeedResults(self._rows[index], against=self._against)
        return self._rows[index]

    def __iter__(self) -> Iterator[SeedGroupRead]:
        return iter(self._rows)

    @property
    def are_repeated(self) -> bool:
        """Whether any group has more than one run."""
        return any(len(row.run_ids) > 1 for row in self._rows)

    def records(self) -> list[dict[str, Any]]:
        """One flat mapping per group; every mapping has every column, None where a group has no value."""
        return evened([_flat_group(row) for row in self._rows])

    def table(self, title: str | None = None, *, everything: bool = False) -> Table:
        """A rich table: what was set, how many seeds are done, each number as mean ± standard error, and metrics' intervals."""
        settings = telling_settings(self._rows)
        metrics = shown_metrics((row.metrics for row in self._rows), everything=everything)
        biases = shown_biases((row.bias for row in self._rows), everything=everything)
        table = _begun(title, self._rows, settings)
        for name in ("seeds", *metrics, *map(heading, biases)):
            table.add_column(name, justify="right")
        if any(estimate.interval for row in self._rows for estimate in row.metrics.values()):
            table.caption = f"mean ± standard error [{INTERVAL}]"
        for row in self._rows:
            done, runs = row.states.get("succeeded", 0), len(row.run_ids)
            numbers = [with_interval(row.metrics.get(name)) for name in metrics]
            numbers += [_bias_estimate(name, row.bias.get(name)) for name in biases]
            table.add_row(
                *_place(row, self._rows, settings), str(done) if done == runs else f"{done} of {runs}", *numbers
            )
        return table

    def differences_table(self, against: str, title: str | None = None, *, everything: bool = False) -> Table:
        """A rich table of the rows that were compared: the difference of each metric, with its interval on the line below."""
        compared = [row for row in self._rows if row.differences]
        settings = telling_settings(self._rows)
        metrics = shown_metrics((row.differences for row in compared), everything=everything)
        table = _begun(title, compared, settings)
        table.add_column("seeds", justify="right")
        for name in metrics:
            table.add_column(f"Δ {name}", justify="right")
        table.caption = f"this minus {safe(against)} at equal settings, seed by seed; ± standard error [{INTERVAL}]"
        for row in compared:
            pairs = max(estimate.n for estimate in row.differences.values())
            numbers = [with_interval(row.differences.get(name)) for name in metrics]
            table.add_row(*_place(row, compared, settings), str(pairs), *numbers)
        return table

    def present(self, title: str | None = None, *, everything: bool = False) -> tuple[Table, str | None]:
        """The table that was asked for, of differences where there is a variant `against`, and a sentence on what it lacks."""
        if self._against is None:
            return self.table(title, everything=everything), None
        table = self.differences_table(self._against, title, everything=everything)
        if any(row.differences for row in self._rows):
            return table, None
        return table, (
            f"no run that succeeded has the settings and the seed of one of {safe(self._against)}; wait for more, or "
            "give the variants the same grid or the same target L0"
        )


def _begun(title: str | None, rows: Sequence[ResultRow | SeedGroupRead], settings: Sequence[str]) -> Table:
    """A table with the columns that say which row it is."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("#", justify="right", style="dim")
    if any(row.variant is not None for row in rows):
        table.add_column("variant")
    for name in settings:
        table.add_column(setting_heading(name), justify="right")
    return table


def _place(
    row: ResultRow | SeedGroupRead, rows: Sequence[ResultRow | SeedGroupRead], settings: Sequence[str]
) -> list[str]:
    cells = [str(row.point)]
    if any(other.variant is not None for other in rows):
        cells.append(safe(row.variant or ""))
    return cells + [safe(shown(row.set.get(name))) for name in settings]


def _bias_cell(name: str, value: float | None) -> str:
    return percent(value) if name.startswith("fraction_") else shown(value)


def _bias_estimate(name: str, value: SeedEstimate | None) -> str:
    return percent_with_error(value) if name.startswith("fraction_") else with_error(value)


def _state(row: ResultRow) -> str:
    """The state, and whether the run was trained here, and to its end."""
    if row.reused_from is not None:
        return f"{coloured(row.state)} (reused)"
    return "stopped early" if row.stopped_early is not None and row.state == "cancelled" else coloured(row.state)


def _flat_run(row: ResultRow) -> dict[str, Any]:
    return {
        "run_id": str(row.run_id),
        "point": row.point,
        "name": row.name,
        "variant": row.variant,
        "state": row.state,
        "step": row.step,
        **({} if row.reused_from is None else {"reused_from": str(row.reused_from)}),
        **({} if row.stopped_early is None else {"stopped_early": row.stopped_early}),
        **{f"spec.{name}": value for name, value in row.set.items()},
        **{f"metrics.{name}": value for name, value in row.metrics.items()},
        **{f"bias.{name}": value for name, value in row.bias.items()},
    }


def _flat_group(row: SeedGroupRead) -> dict[str, Any]:
    flat: dict[str, Any] = {
        "point": row.point,
        "variant": row.variant,
        "seeds": row.seeds,
        "runs": len(row.run_ids),
        "succeeded": row.states.get("succeeded", 0),
        **{f"spec.{name}": value for name, value in row.set.items()},
    }
    for kind, numbers in (("metrics", row.metrics), ("bias", row.bias), ("differences", row.differences)):
        for name, estimate in numbers.items():
            low, high = estimate.interval or (None, None)
            flat |= {
                f"{kind}.{name}.mean": estimate.mean,
                f"{kind}.{name}.standard_error": estimate.standard_error,
                f"{kind}.{name}.low": low,
                f"{kind}.{name}.high": high,
                f"{kind}.{name}.n": estimate.n,
            }
    return flat
