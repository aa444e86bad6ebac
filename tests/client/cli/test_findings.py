"""`prolu results`, `biases`, `diagnostics`, `download`: what was found, on the screen and in files."""

import json
from pathlib import Path
from uuid import UUID

import pyarrow.parquet
import pytest

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT, OK
from tests.client.conftest import Prolu
from tests.client.desk import RUN, WEIGHTS


@pytest.mark.parametrize("suffix", ["parquet", "csv", "json"])
def test_results_go_into_a_file_of_the_wished_kind(prolu: Prolu, finished: UUID, tmp_path: Path, suffix: str) -> None:
    status, out, err = prolu("results", "last", "--output", f"r.{suffix}")
    assert (status, out) == (OK, "")
    assert f"4 rows are in r.{suffix}" in err
    if suffix == "parquet":
        assert pyarrow.parquet.read_table(tmp_path / "r.parquet")["metrics.l0"].to_pylist() == [None, 8.0, 8.0, 8.0]
    assert (tmp_path / f"r.{suffix}").stat().st_size > 100


def test_results_are_shown_as_a_table_or_as_json(prolu: Prolu, finished: UUID) -> None:
    assert "dead_fraction" in prolu("results")[1]
    assert json.loads(prolu("results", str(finished), "--json")[1])[1]["metrics.fvu"] == 0.25


def test_biases_are_drawn_in_the_terminal_for_a_run_and_for_a_sweep(
    prolu: Prolu, client: Client, finished: UUID
) -> None:
    good = str(client.sweeps.runs(finished)[1].id)
    _, out, _ = prolu("biases", good)
    assert "100.0 %" in out
    assert "at step 100" in out
    assert "█" in out
    _, out, _ = prolu("biases", str(finished), "--latents", "alive")
    assert out.count("90.0 %") == 3
    assert [snapshot["step"] for snapshot in json.loads(prolu("biases", good, "--json")[1])] == [0, 50, 100]


def test_pictures_are_written_where_they_were_wished(prolu: Prolu, finished: UUID, tmp_path: Path) -> None:
    assert prolu("biases", str(finished), "--plot", "b.png")[0] == OK
    assert prolu("results", str(finished), "--plot", "f.svg")[0] == OK
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "f.svg").read_text()


def test_without_statistics_biases_says_so(prolu: Prolu, client: Client) -> None:
    client.runs.submit(RUN)
    assert "no bias statistics yet" in prolu("biases")[2]
    assert prolu("biases", "--plot", "b.png")[0] == BAD_INPUT


def test_a_checkpoint_is_downloaded_into_a_folder_of_its_own(
    prolu: Prolu, client: Client, finished: UUID, tmp_path: Path
) -> None:
    good = client.sweeps.runs(finished)[1].id
    status, out, err = prolu("download", str(good))
    assert (status, out) == (OK, "")
    assert "checksums good" in err
    assert (tmp_path / f"prolu-{str(good)[-8:]}-step-100" / "sae.safetensors").read_bytes() == WEIGHTS + b"100"
    assert prolu("download", str(good), "half", "--step", "50")[0] == OK
    assert (tmp_path / "half" / "sae.safetensors").read_bytes() == WEIGHTS + b"50"
    status, _, err = prolu("download", str(good), "other", "--step", "51")
    assert status == BAD_INPUT
    assert "there are 50, 100" in err
