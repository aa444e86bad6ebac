"""Results are rows that keep their names and types on the way into a file."""

import csv
import io
import json
from pathlib import Path
from uuid import UUID

import pyarrow.parquet
from rich.console import Console

from prolu.client import Results
from prolu.client.wire import ResultRow


def row(point: int, variant: str | None, state: str = "succeeded", **more: object) -> ResultRow:
    fields: dict[str, object] = {
        "run_id": UUID(int=point),
        "point": point,
        "name": f"run {point}",
        "variant": variant,
        "state": state,
        "set": {},
        "step": 10,
        "metrics": {},
        "bias": {},
        **more,
    }
    return ResultRow.model_validate(fields)


RESULTS = Results(
    [
        row(1, "b", set={"sae.kind": "prolu", "sparsity.coefficient": 2e-3}, state="failed"),
        row(
            0,
            "a",
            set={"sae.kind": "relu", "sparsity.coefficient": 1},
            metrics={"l0": 12.5, "fvu": 0.25, "dead_fraction": 0.0},
            bias={"fraction_negative": 0.875, "median": -0.5},
        ),
        row(2, "b", set={"sae.kind": "prolu", "sparsity.coefficient": 4e-3}, state="running"),
    ]
)


def printed(results: Results) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(results.table(title="demo"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_rows_stand_in_the_order_of_their_points() -> None:
    assert [result.point for result in RESULTS] == [0, 1, 2]
    assert RESULTS[0].variant == "a"
    assert len(RESULTS[1:]) == 2


def test_records_are_flat_and_every_one_has_every_column() -> None:
    first, second, _ = RESULTS.records()
    assert first["spec.sparsity.coefficient"] == 1
    assert first["metrics.l0"] == 12.5
    assert first["bias.fraction_negative"] == 0.875
    assert list(first) == list(second)
    assert second["metrics.l0"] is None


def test_parquet_gives_back_the_records(tmp_path: Path) -> None:
    RESULTS.to_parquet(tmp_path / "r.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "r.parquet")
    assert table.to_pylist() == [
        {**record, "spec.sparsity.coefficient": float(record["spec.sparsity.coefficient"])}
        for record in RESULTS.records()
    ]


def test_values_of_several_types_in_one_column_become_json_text() -> None:
    mixed = Results([row(0, None, set={"x": 1}), row(1, None, set={"x": "one"}), row(2, None, set={"x": [1]})])
    assert mixed.to_arrow()["spec.x"].to_pylist() == ["1", '"one"', "[1]"]


def test_csv_and_json_have_the_same_columns(tmp_path: Path) -> None:
    RESULTS.to_csv(tmp_path / "r.csv")
    RESULTS.to_json(tmp_path / "r.json")
    with (tmp_path / "r.csv").open() as file:
        from_csv = [*csv.DictReader(file)]
    from_json = json.loads((tmp_path / "r.json").read_text())
    assert list(from_csv[0]) == list(from_json[0])
    assert from_csv[0]["metrics.l0"] == "12.5"


def test_an_empty_sweep_can_be_written_too(tmp_path: Path) -> None:
    Results([]).to_csv(tmp_path / "r.csv")
    Results([]).to_parquet(tmp_path / "r.parquet")
    assert printed(Results([]))


def test_the_table_shows_settings_that_tell_runs_of_a_variant_apart_and_no_others() -> None:
    text = printed(RESULTS)
    assert "coefficient" in text
    assert "kind" not in text
    assert "87.5 %" in text
    assert "failed" in text


def test_the_table_takes_names_from_the_sweep_as_text_not_as_markup() -> None:
    assert "[red]x[/red]" in printed(Results([row(0, "[red]x[/red]")]))
