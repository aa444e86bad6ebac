"""Any runs by a filter, from Python and from the command line: rows with types, frames, files, and clear refusals."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prolu.client import Client
from prolu.client.errors import Invalid
from prolu.client.records import MissingPackage
from tests.client.conftest import Prolu
from tests.client.desk import RUN, Desk

FIELDS = ["id", "name", "created_at", "metrics.l0", "spec.sae.k"]


@pytest.fixture
def two_runs(client: Client, desk: Desk) -> None:
    """One that has succeeded, and one that waits."""
    run = client.runs.submit({**RUN, "name": "done"})
    desk.claim()
    desk.train(run.id)
    client.runs.submit({**RUN, "name": "-waits"})


def test_rows_are_typed_and_in_the_order_that_was_asked_for(client: Client, two_runs: None) -> None:
    found = client.results.query(order_by="name", fields=FIELDS)
    assert [row["name"] for row in found] == ["-waits", "done"]
    assert found[0]["metrics.l0"] is None
    assert isinstance(found[1]["metrics.l0"], float)
    assert found[1]["created_at"] <= datetime.now(UTC)
    table = found.to_arrow()
    assert table.schema.types == [pa.string(), pa.string(), pa.timestamp("us", "UTC"), pa.float64(), pa.int64()]
    assert found.to_polars()["name"].to_list() == list(found.to_pandas()["name"]) == ["-waits", "done"]


def test_pages_are_followed_to_the_limit_and_no_further(client: Client, two_runs: None) -> None:
    assert len(client.results.query(limit=1)) == 1
    assert len(client.results.query("metrics.l0:*")) == 1
    assert len(client.results.query('name = "nobody"')) == 0


def test_a_file_that_the_service_writes_has_the_rows_of_the_table(
    client: Client, two_runs: None, tmp_path: Path
) -> None:
    found = client.results.query(order_by="name", fields=FIELDS)
    client.results.download(tmp_path / "all.parquet", order_by="name", fields=FIELDS)
    found.save(tmp_path / "saved.parquet")
    assert pq.read_table(tmp_path / "all.parquet") == pq.read_table(tmp_path / "saved.parquet")
    found.save(tmp_path / "saved.csv")
    assert "'-waits" in (tmp_path / "saved.csv").read_text()  # no spreadsheet takes it for a formula
    with pytest.raises(ValueError, match=r"must end in .parquet, .csv, .json; got"):
        found.save(tmp_path / "x.xlsx")


def test_a_wrong_filter_raises_with_its_place(client: Client) -> None:
    with pytest.raises(Invalid, match=r"column 1: 'metrics\.l00' is not a path; did you mean metrics\.l0"):
        client.results.query("metrics.l00 < 3")


def test_without_the_package_a_frame_says_which_is_missing(
    client: Client, two_runs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingPackage, match="polars is needed, which is not installed; run pip install polars"):
        client.results.query().to_polars()


def test_the_command_prints_tables_json_and_csv_of_any_runs(prolu: Prolu, two_runs: None) -> None:
    status, printed, _ = prolu("results", "--filter", 'state = "succeeded"', "--fields", "id,name,metrics.*")
    assert (status, "done" in printed, "-waits" in printed, "metrics.l0" in printed) == (0, True, False, True)
    status, printed, _ = prolu("results", "--order-by", "name desc", "--fields", "name", "--json")
    assert (status, json.loads(printed)) == (0, [{"name": "done"}, {"name": "-waits"}])
    status, printed, _ = prolu("results", "--fields", "name", "--order-by", "name", "--csv")
    assert (status, printed.split()) == (0, ["name", "'-waits", "done"])


def test_the_command_writes_files_of_any_runs(prolu: Prolu, two_runs: None, tmp_path: Path) -> None:
    status, _, said = prolu("results", "--order-by", "name", "--parquet", "all.parquet", "-o", "all.csv")
    assert status == 0, said
    assert pq.read_table(tmp_path / "all.parquet")["name"].to_pylist() == ["-waits", "done"]
    names = [line["name"] for line in csv.DictReader(io.StringIO((tmp_path / "all.csv").read_text()))]
    assert names == ["'-waits", "done"]


def test_the_command_tells_where_a_filter_goes_wrong(prolu: Prolu) -> None:
    status, _, said = prolu("results", "--filter", "metrics.l0 <")
    assert (status, "filter, column 13: it ends here; expected a text in quotes" in said) == (2, True)
    assert prolu("results", "--filter", "state:*", "--over-seeds")[0] == 2
    assert prolu("results", "--filter", "state:*", "-o", "x.xlsx")[0] == 2
