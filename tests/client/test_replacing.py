"""A file that is there stays what it is until another one is whole."""

from pathlib import Path

import pytest

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT
from prolu.client.errors import Invalid
from prolu.client.replacing import replacing
from tests.client.conftest import Prolu


def test_what_breaks_off_leaves_the_file_that_was_there_and_nothing_beside_it(tmp_path: Path) -> None:
    kept = tmp_path / "rows.csv"
    kept.write_text("precious")

    def write_half() -> None:
        with replacing(kept) as beside:
            beside.write_text("half")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        write_half()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("rows.csv", "precious")]


def test_what_is_whole_takes_the_place_behind_a_link_and_keeps_its_mode(tmp_path: Path) -> None:
    kept, link = tmp_path / "rows.csv", tmp_path / "latest.csv"
    kept.write_text("old")
    kept.chmod(0o640)
    link.symlink_to(kept)
    with replacing(link) as beside:
        beside.write_text("new")
        assert kept.read_text() == "old"
    assert link.is_symlink()
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("new", 0o640)


@pytest.mark.parametrize("option", ["--parquet", "--output"])
def test_a_question_that_is_refused_destroys_no_file(prolu: Prolu, client: Client, tmp_path: Path, option: str) -> None:
    kept = tmp_path / "kept.parquet"
    kept.write_bytes(b"precious")
    assert prolu("results", "--filter", "metrics.l0 <", option, str(kept))[0] == BAD_INPUT
    with pytest.raises(Invalid):
        client.results.download(kept, "metrics.l0 <")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("kept.parquet", b"precious")]
