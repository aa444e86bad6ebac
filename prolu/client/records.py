"""Rows of any table on their way out: flat records, Arrow, Parquet, CSV, JSON. Knows no table in particular."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from prolu.client.errors import ProluError
from prolu.client.replacing import replacing
from prolu.client.wire.querying import text_cell

if TYPE_CHECKING:
    import pyarrow as pa


class MissingPackage(ProluError):
    """A part that the light client does not need is not installed."""


class Records(ABC):
    """A table that can be written to a file. Every record has every column, None where there is no value."""

    always: ClassVar[Sequence[str]] = ()
    """Columns that the table has without any row too."""

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """One flat mapping per row."""

    def to_arrow(self) -> pa.Table:
        """An Arrow table. A column whose values are of several types holds their JSON text.

        Raises MissingPackage without pyarrow.
        """
        pa = require("pyarrow", "Arrow and Parquet")
        records = self.records()
        columns = {
            name: _of_one_type([record[name] for record in records])
            for name in (records[0] if records else self.always)
        }
        return pa.table(columns)

    def to_polars(self) -> Any:
        """A polars DataFrame. Raises MissingPackage without polars or pyarrow."""
        polars = require("polars", "polars frames")
        return polars.from_arrow(self.to_arrow())

    def to_pandas(self) -> Any:
        """A pandas DataFrame. Raises MissingPackage without pandas or pyarrow."""
        require("pandas", "pandas frames")
        return self.to_arrow().to_pandas()

    def save(self, path: str | Path) -> None:
        """Write the kind of file that the path ends in: .parquet, .csv or .json. Raises ValueError, MissingPackage."""
        writers = {".parquet": self.to_parquet, ".csv": self.to_csv, ".json": self.to_json}
        ending = Path(path).suffix
        if ending not in writers:
            raise ValueError(f"The path must end in {', '.join(writers)}; got {str(path)!r}.")
        writers[ending](path)

    def to_parquet(self, path: str | Path) -> None:
        """Write a Parquet file. Raises MissingPackage without pyarrow."""
        table = self.to_arrow()
        import pyarrow.parquet

        with replacing(path) as beside:
            pyarrow.parquet.write_table(table, beside)

    def to_csv(self, path: str | Path) -> None:
        """Write a CSV file with a header; lists and mappings as JSON text, and a `'` before a text that begins as a formula."""
        records = self.records()
        with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(records[0] if records else self.always))
            writer.writeheader()
            writer.writerows({name: _cell(value) for name, value in record.items()} for record in records)

    def to_json(self, path: str | Path) -> None:
        """Write a JSON array of flat records."""
        with replacing(path) as beside:
            beside.write_text(json.dumps(self.records(), indent=2) + "\n", encoding="utf-8")


def require(package: str, purpose: str) -> Any:
    """A package that is imported only when it is needed. Raises MissingPackage, which says what to do."""
    try:
        return import_module(package)
    except ModuleNotFoundError:
        raise MissingPackage(
            f"For {purpose} {package} is needed, which is not installed; run pip install {package}, or write CSV or JSON."
        ) from None


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
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    return text_cell(value) if isinstance(value, str) else value
