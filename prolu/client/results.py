"""The results of a sweep as rows: to look at, to compute with, to keep in a file.

Columns are named by one grammar everywhere: `spec.sparsity.coefficient` (what the sweep set), `metrics.l0`,
`bias.fraction_negative`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from prolu.client.errors import ProluError
from prolu.client.harmless import harmless
from prolu.client.wire import ResultRow

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

_SHOWN_METRICS = ("l0", "fvu", "dead_fraction")


class MissingPackage(ProluError):
    """A part that the light client does not need is not installed."""


class Results(Sequence[ResultRow]):
    """Rows of a sweep's results, in the order of its points."""

    def __init__(self, rows: Sequence[ResultRow]) -> None:
        self._rows = sorted(rows, key=lambda row: row.point)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> ResultRow: ...
    @overload
    def __getitem__(self, index: slice) -> Results: ...
    def __getitem__(self, index: int | slice) -> ResultRow | Results:
        return Results(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __iter__(self) -> Iterator[ResultRow]:
        return iter(self._rows)

    def records(self) -> list[dict[str, Any]]:
        """One flat mapping per run; every mapping has every column, None where a run has no value."""
        flat = [_flatten(row) for row in self._rows]
        columns = list(dict.fromkeys(name for record in flat for name in record))
        return [{name: record.get(name) for name in columns} for record in flat]

    def to_arrow(self) -> pa.Table:
        """An Arrow table. A column whose values are of several types holds their JSON text.

        Raises MissingPackage without pyarrow.
        """
        try:
            import pyarrow as pa
        except ModuleNotFoundError:
            raise MissingPackage(
                "Arrow and Parquet need pyarrow, which is not installed; run pip install 'prolu[demo]', or write CSV or JSON."
            ) from None
        records = self.records()
        columns = {name: _of_one_type([record[name] for record in records]) for name in (records[0] if records else ())}
        return pa.table(columns)

    def to_parquet(self, path: str | Path) -> None:
        """Write a Parquet file. Raises MissingPackage without pyarrow."""
        table = self.to_arrow()
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, path)

    def to_csv(self, path: str | Path) -> None:
        """Write a CSV file with a header; lists and mappings as JSON text."""
        records = self.records()
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(records[0]) if records else [])
            writer.writeheader()
            writer.writerows({name: _cell(value) for name, value in record.items()} for record in records)

    def to_json(self, path: str | Path) -> None:
        """Write a JSON array of flat records."""
        Path(path).write_text(json.dumps(self.records(), indent=2) + "\n", encoding="utf-8")

    def table(self, title: str | None = None) -> Table:
        """A rich table: what was set, the state, the main metrics, and the share of negative biases."""
        from rich.table import Table

        settings = self._telling_settings()
        table = Table(title=title, title_justify="left", header_style="bold")
        table.add_column("#", justify="right", style="dim")
        if any(row.variant is not None for row in self._rows):
            table.add_column("variant")
        for name in settings:
            table.add_column(_safe(name.rpartition(".")[2]), justify="right")
        table.add_column("state")
        for name in (*_SHOWN_METRICS, "b < 0", "median b"):
            table.add_column(name, justify="right")
        for row in self._rows:
            cells = [str(row.point)]
            if any(other.variant is not None for other in self._rows):
                cells.append(_safe(row.variant or ""))
            cells += [_safe(_shown(row.set.get(name))) for name in settings]
            cells.append(f"[{_COLOURS.get(row.state, 'default')}]{row.state}[/]")
            cells += [_shown(row.metrics.get(name)) for name in _SHOWN_METRICS]
            cells += [_percent(row.bias.get("fraction_negative")), _shown(row.bias.get("median"))]
            table.add_row(*cells)
        return table

    def _telling_settings(self) -> list[str]:
        """What was set to more than one value among the runs of one variant, or by a sweep without variants."""
        values: dict[tuple[str, str | None], set[str]] = {}
        for row in self._rows:
            for name, value in row.set.items():
                values.setdefault((name, row.variant), set()).add(json.dumps(value, sort_keys=True))
        telling = {name for (name, variant), seen in values.items() if variant is None or len(seen) > 1}
        return [name for name in dict.fromkeys(name for row in self._rows for name in row.set) if name in telling]


_COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}


def _flatten(row: ResultRow) -> dict[str, Any]:
    return {
        "run_id": str(row.run_id),
        "point": row.point,
        "name": row.name,
        "variant": row.variant,
        "state": row.state,
        "step": row.step,
        **{f"spec.{name}": value for name, value in row.set.items()},
        **{f"metrics.{name}": value for name, value in row.metrics.items()},
        **{f"bias.{name}": value for name, value in row.bias.items()},
    }


def _of_one_type(values: list[Any]) -> list[Any]:
    present = [value for value in values if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        whole = all(isinstance(value, int) for value in present)
        return values if whole else [None if value is None else float(value) for value in values]
    if len({type(value) for value in present}) == 1 and not isinstance(present[0], dict | list):
        return values
    return [None if value is None else json.dumps(value, sort_keys=True) for value in values]


def _cell(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _safe(text: str) -> str:
    """Text from elsewhere, safe as markup and for the terminal."""
    from rich.markup import escape

    return escape(harmless(text))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
