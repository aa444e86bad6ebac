"""Shards in an object store: copied once, range by range, held to the roots, and named when they cannot be used."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from moto.server import ThreadedMotoServer
from s3fs.core import S3File
from safetensors.torch import save

from prolu.data import object_store, parquet_shards
from prolu.data.object_store import ObjectPrefix
from prolu.data.places import DataError, Interrupted, Places
from prolu.data.shards import open_shards
from prolu.data.stored import StoredSource
from prolu.models.artifacts import StorageError
from prolu.spec import ShardsData
from prolu.spec.report import Progress
from prolu.spec.urls import parse_url

X = torch.arange(90.0).reshape(30, 3) + 1


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """The client of a real S3 server, found as an operator's would be: by the environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
        }.items():
            patch.setenv(name, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield fsspec.filesystem("s3")
        fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"lab-{uuid4().hex}"
    s3.mkdir(name)
    return name


def put(bucket: str, key: str, content: bytes) -> None:
    fsspec.filesystem("s3").pipe_file(f"{bucket}/{key}", content)


def npy(values: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


def parquet(values: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    others = pa.array([str(number) * 1_000 for number in range(len(values))])
    table = pa.table({"others": others, "activations": values.tolist()})
    pq.write_table(table, buffer, row_group_size=4, use_dictionary=False)
    return buffer.getvalue()


def put_shards(bucket: str) -> None:
    """Thirty rows in four shards of every kind, in name order, beside what are none."""
    put(bucket, "gpt2/a.npy", npy(X[:8].numpy().astype(np.float16)))
    put(bucket, "gpt2/b.parquet", parquet(X[8:15]))
    put(bucket, "gpt2/c/d.safetensors", save({"activations": X[15:20].bfloat16().contiguous()}))
    put(bucket, "gpt2/e.npy", npy(X[20:].numpy()))
    put(bucket, "gpt2/notes.txt", b"not a shard")
    put(bucket, "gpt2-private/z.npy", npy(X.numpy()))


Open = Callable[..., StoredSource]


@pytest.fixture
def heard() -> list[Progress]:
    return []


@pytest.fixture
def open_url(tmp_path: Path, bucket: str, heard: list[Progress]) -> Open:
    def open_it(
        path: str = "gpt2", *, eval_samples: int = 12, should_stop: Callable[[], bool] = lambda: False
    ) -> StoredSource:
        spec = ShardsData(path=f"s3://{bucket}/{path}", eval_samples=eval_samples, normalisation="none")
        places = Places.of(tmp_path / "cache", [f"s3://{bucket}/gpt2"], hub_online=False)
        return open_shards(spec, places, notify=heard.append, should_stop=should_stop)

    return open_it


def copies(tmp_path: Path) -> dict[Path, int]:
    return {
        path: path.stat().st_mtime_ns
        for path in (tmp_path / "cache" / "shards").iterdir()
        if path.suffix in (".npy", ".safetensors")
    }


def test_a_prefix_is_read_in_name_order_as_a_folder_is(bucket: str, open_url: Open) -> None:
    put_shards(bucket)
    source = open_url()
    train = source.batch(0, 18)
    assert torch.equal(train[train[:, 0].argsort()], X[:18])
    assert torch.equal(torch.cat(list(source.evaluation(5))), X[18:])


def test_the_same_files_are_the_same_data_in_a_store_and_in_a_folder(
    bucket: str, tmp_path: Path, open_url: Open
) -> None:
    put_shards(bucket)
    fsspec.filesystem("s3").get(f"{bucket}/gpt2/", str(tmp_path / "gpt2"), recursive=True)
    places = Places.of(tmp_path / "another cache", [str(tmp_path)], hub_online=False)
    spec = ShardsData(path="gpt2", eval_samples=12, normalisation="none")
    local = open_shards(spec, places, notify=lambda _: None, should_stop=lambda: False)
    assert open_url().identity == local.identity
    put(bucket, "gpt2/b.parquet", parquet(-X[8:15]))
    assert open_url().identity != local.identity


def test_names_that_begin_with_a_dot_are_not_read_unless_they_are_asked_for(bucket: str, open_url: Open) -> None:
    put_shards(bucket)
    put(bucket, "gpt2/._a.npy", b"what some systems leave beside a copy")
    put(bucket, "gpt2/.ipynb_checkpoints/b.npy", npy(X[:8].numpy()))
    assert torch.equal(torch.cat(list(open_url().evaluation(5))), X[18:])
    assert open_url().identity.startswith("30 rows in 4 files")
    assert len(open_url("gpt2/.ipynb_checkpoints", eval_samples=3).batch(0, 5)) == 5


def test_one_file_may_be_named(bucket: str, open_url: Open) -> None:
    put_shards(bucket)
    assert torch.equal(next(open_url("gpt2/e.npy", eval_samples=9).evaluation(9)), X[21:])


def test_copies_are_made_once_and_what_changed_is_copied_again(
    bucket: str, tmp_path: Path, open_url: Open, heard: list[Progress]
) -> None:
    put_shards(bucket)
    open_url()
    first = copies(tmp_path)
    assert len(first) == 4
    total = heard[0].total
    copied = [told.done for told in heard if told.total == total]
    looked_at = [told.done for told in heard[len(copied) :]]
    assert {told.phase for told in heard} == {"preparing"}
    assert (copied[0], copied[-1]) == (0, total)
    assert (looked_at[0], looked_at[-1]) == (0, heard[-1].total)
    assert (sorted(copied), sorted(looked_at)) == (copied, looked_at)
    open_url()
    assert copies(tmp_path) == first
    put(bucket, "gpt2/e.npy", npy(-X[20:].numpy()))
    assert torch.equal(torch.cat(list(open_url().evaluation(12)))[2:], -X[20:])
    again = copies(tmp_path)
    assert len(again) == 5
    assert again.items() > first.items()


def test_a_large_file_is_read_range_by_range_and_hears_a_stop(
    bucket: str, tmp_path: Path, open_url: Open, heard: list[Progress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "PIECE_BYTES", 1_000)
    put(bucket, "gpt2/a.npy", npy(np.ones((20, 3), np.float32)))
    put(bucket, "gpt2/b.npy", npy(np.ones((1_000, 3), np.float32)))
    total = 12_128 + 368
    with pytest.raises(Interrupted, match="while copying shards"):
        open_url(should_stop=lambda: bool(heard) and heard[-1].done > 5_000)
    assert heard[-1].total == total
    assert 5_000 < heard[-1].done < 7_000
    kept = copies(tmp_path)
    assert len(kept) == 1
    open_url()
    assert copies(tmp_path).items() > kept.items()


def test_of_parquet_only_the_activations_are_fetched(
    bucket: str, open_url: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "PIECE_BYTES", 4_096)
    monkeypatch.setattr(parquet_shards, "_PIECE_BYTES", 4_096)
    rows = X.repeat(4, 1)[:100]
    buffer = io.BytesIO()
    table = pa.table({"others": [bytes(20_000)] * 100, "activations": rows.tolist()})
    pq.write_table(table, buffer, compression="none", use_dictionary=False)
    put(bucket, "gpt2/a.parquet", buffer.getvalue())
    fetched: list[int] = []
    fetch = S3File._fetch_range

    def counting(self: Any, start: int, end: int) -> bytes:
        piece: bytes = fetch(self, start, end)
        fetched.append(len(piece))
        return piece

    monkeypatch.setattr(S3File, "_fetch_range", counting)
    assert torch.equal(next(open_url().evaluation(12)), rows[88:])
    assert 0 < sum(fetched) < 100_000 < 2_000_000 < len(buffer.getvalue())


@pytest.mark.parametrize("path", ["gpt2-private", "", "gpt2-private/z.npy"])
def test_nothing_outside_the_roots_is_asked_for(bucket: str, open_url: Open, path: str) -> None:
    put_shards(bucket)
    with pytest.raises(DataError, match="leads outside the data roots"):
        open_url(path)


def test_a_prefix_is_no_beginning_of_a_name(bucket: str, open_url: Open) -> None:
    put(bucket, "gpt2/layer-1/a.npy", npy(X.numpy()))
    put(bucket, "gpt2/layer-11/a.npy", npy(X.numpy()))
    with pytest.raises(DataError, match="finds 0 files"):
        open_url("gpt2/layer")


def test_a_bucket_that_is_not_there_is_said(s3: Any) -> None:
    prefix = ObjectPrefix(parse_url("s3://nobody-has-this-bucket/x"), field="data.path")
    with pytest.raises(DataError, match=r"data\.path is 's3://nobody-has-this-bucket/x', .*; check the"):
        prefix.files({".npy"})


def test_a_store_that_does_not_answer_is_a_failure_of_storage(open_url: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setattr(fsspec.get_filesystem_class("s3"), "cachable", False)
    with pytest.raises(StorageError, match="Could not connect"):
        open_url()


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    bucket: str, tmp_path: Path, open_url: Open, heard: list[Progress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "PIECE_BYTES", 1_000)
    put(bucket, "gpt2/a.npy", npy(np.ones((1_000, 3), np.float32)))

    def rewrite() -> bool:
        if len(heard) == 5:
            put(bucket, "gpt2/a.npy", npy(np.zeros((1_000, 3), np.float32)))
        return False

    with pytest.raises(DataError, match=r"a\.npy changed while it was read"):
        open_url(should_stop=rewrite)
    assert copies(tmp_path) == {}


@pytest.mark.parametrize(
    ("key", "content", "sentence"),
    [
        ("z.npy", npy(np.ones((4, 5), np.float32)), r"a\.npy of width 3 and z\.npy of width 5"),
        ("z.npy", npy(np.ones((4, 3), np.int64)), r"z\.npy of type int64"),
        ("z.npy", npy(np.full((4, 3), np.nan, np.float32)), r"row 0 of z\.npy"),
        ("z.npy", b"no array", r"z\.npy, which is not a plain \.npy array"),
        ("z.safetensors", save({"acts": X}), r"z\.safetensors with the keys \['acts'\]"),
        ("z.parquet", parquet(torch.tensor([[1.0, 2.0, 3.0], [1.0, torch.nan, 3.0]])), r"row 1 of z\.parquet"),
        ("z.parquet", b"PAR1 no table PAR1", r"z\.parquet, which is not readable Parquet"),
    ],
)
def test_a_file_that_is_not_activations_is_refused_by_its_own_name(
    bucket: str, open_url: Open, key: str, content: bytes, sentence: str
) -> None:
    put(bucket, "gpt2/a.npy", npy(X.numpy()))
    put(bucket, f"gpt2/{key}", content)
    with pytest.raises(DataError, match=sentence):
        open_url()


def test_a_store_whose_client_is_not_installed_is_said() -> None:
    with pytest.raises(DataError, match=r"data\.path is 'gs://lab/x', which needs a package that is not installed"):
        ObjectPrefix(parse_url("gs://lab/x"), field="data.path")
