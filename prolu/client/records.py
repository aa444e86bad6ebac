"""Rows of any table on their way out: flat records, Arrow, Parquet, CSV, JSON. Knows no table in particular."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prolu.client.errors import ProluError

if TYPE_CHECKING:
    import pyarrow as pa


class MissingPackage(ProluError):
    """A part that the light client does not need is not installed."""


class Records(ABC):
    """A table that can be written to a file. Every record has every column, None where there is no value."""

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """One flat mapping per row."""

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


def evened(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give every record every column that any has, in order of appearance."""
    columns = list(dict.fromkeys(name for record in records for name in record))
    return [{name: record.get(name) for name in columns} for record in records]


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
