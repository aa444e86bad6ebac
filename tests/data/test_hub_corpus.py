"""Datasets of the hub: plain data files of the dataset itself, and nothing else. What the hub would say is built by hand."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset_builder

from prolu.data.hub_corpus import open_hub_dataset, pinned_commit, stream
from prolu.data.places import DataError
from prolu.spec import HubCorpus

SPEC = HubCorpus(dataset="someone/something")


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    pq.write_table(pa.table({"text": ["one", None, "two"], "n": [1, 2, 3]}), tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def test_without_the_hub_a_dataset_is_refused_at_once() -> None:
    with pytest.raises(
        DataError, match=r"data\.corpus\.dataset is 'someone/something', but this service does not reach the hub"
    ):
        open_hub_dataset(SPEC, online=False)


def test_rows_are_streamed_in_order(parquet: Path) -> None:
    builder = load_dataset_builder("parquet", data_files={"train": str(parquet)}, cache_dir=str(parquet.parent))
    assert list(stream(builder, SPEC)) == ["one", "two"]


def test_a_column_or_split_that_does_not_exist_is_named(parquet: Path) -> None:
    builder = load_dataset_builder("parquet", data_files={"train": str(parquet)}, cache_dir=str(parquet.parent))
    for field in ("body", "n"):
        with pytest.raises(DataError, match=rf"field is '{field}', but the rows of someone/something have n, text"):
            list(stream(builder, SPEC.model_copy(update={"field": field})))
    with pytest.raises(DataError, match=r"data\.corpus\.split is 'test'"):
        list(stream(builder, SPEC.model_copy(update={"split": "test"})))


@pytest.mark.parametrize("line", [b'{"text": "bad \\ud800 half"}', b'{"text": "bad \xff byte"}'])
def test_rows_that_are_no_text_are_refused(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "one"}\n' + line + b"\n")
    files = {"train": str(tmp_path / "a.jsonl")}
    builder = load_dataset_builder("json", data_files=files, cache_dir=str(tmp_path))
    with pytest.raises(DataError, match=r"'someone/something', which cannot be read after row [01]: "):
        list(stream(builder, SPEC))


def test_a_dataset_that_names_a_file_of_this_machine_is_refused(parquet: Path) -> None:
    builder = load_dataset_builder("parquet", data_files={"train": str(parquet)}, cache_dir=str(parquet.parent))
    with pytest.raises(DataError, match="which is not its own"):
        pinned_commit(builder, "someone/something")


def test_a_reader_that_decodes_objects_is_refused(parquet: Path) -> None:
    builder = load_dataset_builder("webdataset", data_files={"train": str(parquet)}, cache_dir=str(parquet.parent))
    with pytest.raises(DataError, match="in the format webdataset; only csv, json, parquet, text are read"):
        pinned_commit(builder, "someone/something")


def test_the_commit_is_that_of_the_files(parquet: Path) -> None:
    builder = load_dataset_builder("parquet", data_files={"train": str(parquet)}, cache_dir=str(parquet.parent))
    builder.config.data_files = {"train": ["hf://datasets/someone/something@0123abc/data/a.parquet"]}
    assert pinned_commit(builder, "someone/something") == "0123abc"


def test_the_name_of_a_reader_is_not_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text("not for training")
    with pytest.raises(DataError, match=r"data\.corpus\.dataset is 'text'"):
        open_hub_dataset(HubCorpus(dataset="text"), online=True)
