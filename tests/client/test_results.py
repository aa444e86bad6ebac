"""Results are rows that keep their names and types on the way into a file."""

import csv
import io
import json
from pathlib import Path
from uuid import UUID

import pyarrow.parquet
import pytest
from rich.console import Console

from prolu.client import Results, SeedResults
from prolu.client.columns import with_error
from prolu.client.wire import ResultRow
from tests.client.pictured import estimate, group, result


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


def printed(results: Results | SeedResults, *, everything: bool = False) -> str:
    console = Console(file=io.StringIO(), width=300)
    console.print(results.table(title="demo", everything=everything))
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


MEASURED = Results(
    [
        result(
            None,
            {"kl": 0.1, "l0": 8.0, "fvu": 0.25, "ce_loss_score": 0.9, "mmcs": 0.5},
            bias={"fraction_negative": 0.9, "median": -1.5},
        )
    ]
)
SEEDS = SeedResults(
    [
        group(
            "b",
            {"l0": estimate(12.345, 0.0456), "fvu": estimate(0.25)},
            point=2,
            set={"sparsity.coefficient": 2e-3},
            bias={"fraction_negative": estimate(0.9, 0.01)},
        ),
        group("a", {}, point=0, set={"sparsity.coefficient": 1e-3}, states={"running": 2}),
        group("b", {"l0": estimate(7.0, 0.0)}, point=4, set={"sparsity.coefficient": 4e-3}),
    ]
)


def test_the_table_shows_the_main_metrics_and_everything_if_asked() -> None:
    short, long = printed(MEASURED), printed(MEASURED, everything=True)
    for name in ("l0", "fvu", "ce_loss_score", "b < 0"):
        assert name in short
    for name in ("kl", "mmcs", "median b"):
        assert name not in short
        assert name in long
    assert "dead_fraction" not in long


def test_a_metric_that_no_run_has_takes_no_column() -> None:
    assert "ce_loss_score" not in printed(RESULTS)


def test_over_seeds_each_number_has_its_error() -> None:
    assert [row.point for row in SEEDS] == [0, 2, 4]
    text = printed(SEEDS)
    assert "12.345 ± 0.046" in text
    assert "[12.299, 12.391]" in text
    assert "90.0 ± 1.0 %" in text
    assert "0 of 2" in text
    assert SEEDS.are_repeated


def test_over_seeds_a_caption_says_what_the_intervals_are_worth() -> None:
    worth = "95 % bootstrap interval, too narrow for few seeds: of 2 or 3 it is only their range"
    assert f"mean ± standard error [{worth}]" in " ".join(printed(SEEDS).split())
    assert worth not in printed(SeedResults([group("a", {"l0": estimate(1.0)})])), "one seed has none"
    compared = SeedResults([group("a", {}, differences={"l0": estimate(1.0, 0.1)})])
    console = Console(file=io.StringIO(), width=300)
    console.print(compared.differences_table("b"))
    assert isinstance(console.file, io.StringIO)
    text = " ".join(console.file.getvalue().split())
    assert f"this minus b at equal settings, seed by seed; ± standard error [{worth}]" in text


def test_what_was_compared_is_presented_as_differences_even_in_part() -> None:
    rows = [group("a", {}, differences={"l0": estimate(1.0, 0.1)}), group("b", {"l0": estimate(7.0)}, point=1)]
    table, lack = SeedResults(rows, against="b")[:].present("demo")
    assert (table.title, lack) == ("demo", None)
    assert "Δ l0" in [column.header for column in table.columns]
    plain, _ = SeedResults(rows).present()
    assert "Δ l0" not in [column.header for column in plain.columns]


def test_a_comparison_that_found_no_counterpart_says_what_to_do() -> None:
    _, lack = SeedResults([group("a", {})], against="b").present()
    assert lack is not None
    assert lack.startswith("no run that succeeded has the settings and the seed of one of b; wait for more, or")
    assert SeedResults([group("a", {})]).present()[1] is None


@pytest.mark.parametrize(
    ("mean", "error", "text"),
    [
        (12.345, 0.0456, "12.345 ± 0.046"),
        (12.345, None, "12.35"),
        (1234.5, 321.0, "1234 ± 321"),
        (0.5, 0.0, "0.5 ± 0"),
        (0.5, 1e-12, "0.5 ± 1.0e-12"),
    ],
)
def test_a_number_is_written_to_two_digits_of_its_error(mean: float, error: float | None, text: str) -> None:
    assert with_error(estimate(mean, error)) == text


def test_over_seeds_records_have_mean_error_and_interval_in_columns(tmp_path: Path) -> None:
    SEEDS.to_parquet(tmp_path / "s.parquet")
    first, second, _ = pyarrow.parquet.read_table(tmp_path / "s.parquet").to_pylist()
    assert first["metrics.l0.mean"] is None
    assert second["metrics.l0.mean"] == 12.345
    assert second["metrics.l0.low"] == pytest.approx(12.345 - 0.0456)
    assert (second["metrics.fvu.n"], second["metrics.fvu.standard_error"], second["metrics.fvu.low"]) == (1, None, None)
    assert second["spec.sparsity.coefficient"] == 2e-3
    assert (second["seeds"], second["runs"], second["succeeded"]) == ("[0, 1]", 2, 2)
    SEEDS.to_csv(tmp_path / "s.csv")
    SEEDS.to_json(tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text())[1]["seeds"] == [0, 1]


def test_results_without_a_row_keep_their_columns(tmp_path: Path) -> None:
    none = Results([])
    none.to_csv(tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text().split() == ["run_id,point,name,variant,state,step"]
    assert none.to_arrow().column_names == ["run_id", "point", "name", "variant", "state", "step"]
